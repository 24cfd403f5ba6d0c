"""`ollama serve` as a target: beside the user's own, on a port and with models of its own."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_PORT = 11434


def default_command(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """`ollama serve` if PATH has it."""
    program = shutil.which("ollama", path=environ.get("PATH"))
    return (program, "serve") if program else None


def is_server(command: Sequence[str]) -> bool:
    """Is this `ollama serve`, whatever its path and flags?"""
    return bool(command) and Path(command[0]).name == "ollama" and "serve" in command[1:]


def server_environment(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """What a server of ours is given where `environ` says nothing: a free port, models below `home`,
    debug output, and no requests to the outside."""
    ours = {
        "OLLAMA_HOST": f"127.0.0.1:{free_port()}",
        "OLLAMA_MODELS": str(home / "ollama" / "models"),
        "OLLAMA_DEBUG": "1",
        "OLLAMA_NO_CLOUD": "1",
    }
    return {name: value for name, value in ours.items() if name not in environ}


def server_url(environ: Mapping[str, str]) -> str:
    """Where a server with this OLLAMA_HOST is asked from this machine."""
    text = environ.get("OLLAMA_HOST", "")
    parts = urlsplit(text if "://" in text else f"http://{text}")
    host = parts.hostname or "127.0.0.1"
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"{parts.scheme or 'http'}://{f'[{host}]' if ':' in host else host}:{parts.port or DEFAULT_PORT}"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
