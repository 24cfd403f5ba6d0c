"""A server process to drive."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SERVER = Path(__file__).parent.parent / "fixtures" / "targets" / "answering_server.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """serve("a", "b"): a server that answers these tokens; its URL. It may not listen yet."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> str:
        port = free_port()
        command = [sys.executable, str(SERVER), str(port), *words]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.kill()
        process.wait()
