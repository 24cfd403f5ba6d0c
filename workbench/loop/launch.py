"""Launch the target under a kept build, and end all of it again: groups, strays and ports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from workbench.loop.processes import Exit, Spawner

MARK = "SHIMBENCH_RUN"
"""Set in a target's environment, so that its processes are known whatever group they fled into."""

PATIENCE_SECONDS = 5.0
PORT_PATIENCE_SECONDS = 5.0


def target_environment(
    environ: Mapping[str, str],
    own: Mapping[str, str],
    mark: str,
    add_libraries: Callable[[Mapping[str, str]], Mapping[str, str]],
) -> dict[str, str]:
    """The user's environment, what the target's configuration sets, our mark, and our libraries first.

    `add_libraries` gets all that and answers LD_LIBRARY_PATH and LD_PRELOAD with ours put before them.
    """
    composed = {**environ, **own, MARK: mark}
    return {**composed, **add_libraries(composed)}


def marked_processes(mark: str) -> list[int]:
    """The pids whose environment carries this mark, as far as we may look."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            environment = Path(entry.path, "environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found.append(int(entry.name))
    return found


def listening_ports(pids: Iterable[int]) -> set[tuple[str, int]]:
    """The (address, TCP port) pairs these processes listen on."""
    found: set[tuple[str, int]] = set()
    for pid in pids:
        try:
            connections = psutil.Process(pid).net_connections("tcp")
        except psutil.Error:
            continue
        found.update(
            (item.laddr.ip, item.laddr.port) for item in connections if item.status == psutil.CONN_LISTEN
        )
    return found


async def stop_target(spawner: Spawner, pid: int, mark: str, patience: float = PATIENCE_SECONDS) -> Exit:
    """End the target's group and every marked process, then wait until its ports are free.

    SIGTERM first; SIGKILL for what is there after `patience` seconds.
    """
    members = set(marked_processes(mark))
    ports = listening_ports(members | {pid})
    ending = asyncio.ensure_future(spawner.wait(pid))
    spawner.signal(pid, signal.SIGTERM)
    for member in members:
        _signal(member, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and not (ending.done() and not marked_processes(mark)):
        await asyncio.wait([ending], timeout=0.02)
        if ending.done():
            await asyncio.sleep(0.01)
    spawner.signal(pid, signal.SIGKILL)
    for member in marked_processes(mark):
        _signal(member, signal.SIGKILL)
    exit_ = await ending
    deadline = time.monotonic() + PORT_PATIENCE_SECONDS
    while time.monotonic() < deadline and (marked_processes(mark) or _taken(ports)):
        await asyncio.sleep(0.01)
    return exit_


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _taken(ports: set[tuple[str, int]]) -> bool:
    """Does anybody still listen on one of these ports?"""
    if not ports:
        return False
    wanted = {port for _, port in ports}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) in wanted:
                return True
    return False
