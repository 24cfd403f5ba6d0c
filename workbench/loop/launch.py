"""Launch the target under a kept build, and end all of it again: groups, strays and ports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

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


def marked_processes(mark: str, others: Collection[int] = ()) -> list[int]:
    """The pids whose environment carries this mark, as far as we may look; `others` are known not to."""
    pids = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    return [pid for pid in pids if pid not in others and _is_marked(pid, mark)]


def listening_ports(pids: Iterable[int]) -> set[int]:
    """The TCP ports these processes listen on."""
    by_inode = {inode: port for port, inode in _listening()}
    found: set[int] = set()
    for pid in pids if by_inode else ():
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    name = str(Path(entry.path).readlink())
                    if name.startswith("socket:[") and (port := by_inode.get(name[8:-1])) is not None:
                        found.add(port)
    return found


@dataclass(frozen=True)
class Scouted:
    """What a run consists of, looked up while there is time: it takes longer than the stopping."""

    members: frozenset[int]
    """its processes"""
    others: frozenset[int]
    """processes that are none of its"""
    ports: frozenset[int]
    """what its processes listen on"""


def scout(pid: int, mark: str) -> Scouted:
    """Look at every process once. Reads /proc alone, so that any thread may do it."""
    everybody = {int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()}
    members = {each for each in everybody if _is_marked(each, mark)}
    return Scouted(
        frozenset(members),
        frozenset(everybody - members - {pid}),
        frozenset(listening_ports(members | {pid})),
    )


async def stop_target(
    spawner: Spawner,
    pid: int,
    mark: str,
    patience: float = PATIENCE_SECONDS,
    scouted: Scouted | None = None,
) -> Exit:
    """End the target's group and every marked process, then wait until its ports are free.

    SIGTERM first; SIGKILL for what is there after `patience` seconds. What the kernel does not let go
    (a process in uninterruptible sleep) is waited for, since it would keep the port and the device.
    `scouted` may be a moment old: what came since is found once the target has ended.
    """
    scouted = scouted or scout(pid, mark)
    members, ports = set(scouted.members), set(scouted.ports)
    ending = asyncio.ensure_future(spawner.wait(pid))
    spawner.signal(pid, signal.SIGTERM)
    for member in members:
        if _is_marked(member, mark):
            _signal(member, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and not (ending.done() and not _still(members, mark)):
        await asyncio.wait([ending], timeout=0.02)
        await asyncio.sleep(0 if ending.done() else 0.002)
    spawner.signal(pid, signal.SIGKILL)
    await end_strays(mark, scouted.others)
    exit_ = await ending
    deadline = time.monotonic() + PORT_PATIENCE_SECONDS
    while time.monotonic() < deadline and _taken(ports):
        await asyncio.sleep(0.005)
    return exit_


async def end_group(pid: int, patience: float = 2.0) -> None:
    """End a process group that nobody waits for: SIGTERM, and SIGKILL after `patience` seconds."""
    deadline = time.monotonic() + patience
    number = signal.SIGTERM
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while True:
            os.killpg(pid, number)
            while time.monotonic() < deadline:
                await asyncio.sleep(0.02)
                os.killpg(pid, 0)
            if number == signal.SIGKILL:
                return
            number, deadline = signal.SIGKILL, time.monotonic() + patience


async def end_strays(mark: str, others: Collection[int] = ()) -> None:
    """Kill what is left of a run: what would not hear, what began late, what outlived its parent."""
    while left := marked_processes(mark, others):
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


def _taken(ports: set[int]) -> bool:
    """Does anybody still listen on one of these ports?"""
    return bool(ports) and any(port in ports for port, _ in _listening())


def _listening() -> Iterator[tuple[int, str]]:
    """Every TCP port that is listened on here, and the inode of its socket."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for row in Path(table).read_text().splitlines()[1:]:
                fields = row.split()
                if fields[3] == "0A":
                    yield int(fields[1].rsplit(":", 1)[1], 16), fields[9]
