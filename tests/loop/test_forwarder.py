"""The forwarder: waited for, heard, kept when nothing changed, and missed when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_SECONDS
from workbench.loop import host
from workbench.loop.host import HostForwarder
from workbench.loop.processes import LocalSpawner
from workbench.loop.status import HostStatus

FORWARDER = """
import json, os, signal, socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(os.environ["SHIMBENCH_HOST"])
listener.listen()
with open(os.environ["SHIMBENCH_HOST_STATE"], "a") as state:
    print("no json", file=state)
    print(json.dumps({"pid": os.getpid(), "clients": 0}), file=state)
signal.pause()
"""


class Heard:
    """A forwarder under watch and all that was told about it."""

    def __init__(self, tmp_path: Path) -> None:
        self.statuses: asyncio.Queue[HostStatus] = asyncio.Queue()
        self.states: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self.forwarder = HostForwarder(
            LocalSpawner(), tmp_path, tmp_path, self.statuses.put_nowait, self.states.put_nowait
        )

    async def status(self, state: str) -> HostStatus:
        while True:
            status = await asyncio.wait_for(self.statuses.get(), PATIENCE_SECONDS)
            if status.state == state:
                return status


@pytest.fixture
async def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Heard]:
    monkeypatch.setattr(host, "START_PATIENCE_SECONDS", PATIENCE_SECONDS)  # however slow the machine is
    heard = Heard(tmp_path)
    yield heard
    await heard.forwarder.stop()


async def test_a_forwarder_is_ok_once_it_listens_and_its_state_is_told(heard: Heard) -> None:
    await heard.forwarder.ensure([sys.executable, "-c", FORWARDER], 1)
    assert heard.forwarder.status == HostStatus("ok")
    state = await asyncio.wait_for(heard.states.get(), PATIENCE_SECONDS)
    assert state["clients"] == 0
    await heard.forwarder.ensure([sys.executable, "-c", FORWARDER], 2)
    os.kill(state["pid"], 0)  # the same command line: the same process goes on
    await heard.forwarder.stop()
    assert heard.forwarder.status == HostStatus("none")
    with pytest.raises(ProcessLookupError):
        os.kill(state["pid"], 0)


async def test_a_forwarder_that_dies_is_said_to_have_died(heard: Heard) -> None:
    await heard.forwarder.ensure([sys.executable, "-c", FORWARDER], 1)
    state = await asyncio.wait_for(heard.states.get(), PATIENCE_SECONDS)
    os.kill(state["pid"], signal.SIGKILL)
    assert (await heard.status("failed")).detail == "the forwarder ended: killed by SIGKILL"
    assert not heard.forwarder.running


async def test_what_a_forwarder_tells_last_is_told_although_it_is_ended_right_then(heard: Heard) -> None:
    # As when a kernel's fault ends the target, and with it the run.
    blocked = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])"
    last_words = """
signal.sigwait([signal.SIGTERM])
print(json.dumps({"event": "kernel-fault"}), file=open(os.environ["SHIMBENCH_HOST_STATE"], "a"))
"""
    program = FORWARDER.replace("signal.pause()", last_words)
    program = program.replace("listener.listen()", f"{blocked}\nlistener.listen()")
    await heard.forwarder.ensure([sys.executable, "-c", program], 1)
    await asyncio.wait_for(heard.states.get(), PATIENCE_SECONDS)
    await heard.forwarder.stop()
    assert heard.states.get_nowait() == {"event": "kernel-fault"}


async def test_a_forwarder_that_never_listens_because_it_ended_has_failed(heard: Heard) -> None:
    await heard.forwarder.ensure(["/bin/sh", "-c", "exit 3"], 1)
    assert heard.forwarder.status == HostStatus("failed", "the forwarder ended: exit status 3")


async def test_another_command_line_replaces_the_forwarder(heard: Heard) -> None:
    await heard.forwarder.ensure([sys.executable, "-c", FORWARDER], 1)
    first = (await asyncio.wait_for(heard.states.get(), PATIENCE_SECONDS))["pid"]
    await heard.forwarder.ensure([sys.executable, "-c", FORWARDER + "\n"], 2)
    second = (await asyncio.wait_for(heard.states.get(), PATIENCE_SECONDS))["pid"]
    assert first != second and heard.forwarder.status.state == "ok"
