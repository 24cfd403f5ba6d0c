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
    names = (entry.name for entry in os.scandir("/proc") if entry.name.isdigit())
    return [int(name) for name in names if _is_marked(name, mark)]


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

    SIGTERM first; SIGKILL for what is there after `patience` seconds. What the kernel does not let go
    (a process in uninterruptible sleep) is waited for, since it would keep the port and the device.
    """
    members = set(marked_processes(mark))
    ports = listening_ports(members | {pid})
    ending = asyncio.ensure_future(spawner.wait(pid))
    spawner.signal(pid, signal.SIGTERM)
    for member in members:
        _signal(member, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and not (ending.done() and not _still(members, mark)):
        await asyncio.wait([ending], timeout=0.02)
        await asyncio.sleep(0 if ending.done() else 0.002)
    spawner.signal(pid, signal.SIGKILL)
    await end_strays(mark)
    exit_ = await ending
    deadline = time.monotonic() + PORT_PATIENCE_SECONDS
    while time.monotonic() < deadline and _taken(ports):
        await asyncio.sleep(0.005)
    return exit_


async def end_strays(mark: str) -> None:
    """Kill what is left of a run: what would not hear, what began late, what outlived its parent."""
    while left := marked_processes(mark):
        for pid in left:
            _signal(pid, signal.SIGKILL)
        await asyncio.sleep(0.005)


def _still(pids: Iterable[int], mark: str) -> bool:
    """Is one of these processes still of this run, and not a zombie?"""
    return any(_is_marked(pid, mark) for pid in pids)


def _is_marked(pid: int | str, mark: str) -> bool:
    try:
        environment = Path("/proc", str(pid), "environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


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
