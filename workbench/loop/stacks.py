"""What hangs is looked at before it is ended: the stacks of its threads become events of the session."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

from sessions.items import Pseudo
from workbench.diagnosis.limits import limit_of
from workbench.diagnosis.stacks import restless
from workbench.loop.threads import look
from workbench.panes.stacks import stacks_of

if TYPE_CHECKING:
    from sessions import InFlight, Process
    from workbench.loop.loop import Loop

MOST = 4
"""So many processes are looked at, those first whose calls have been under way for longest."""
IDLE_NS = 2_000_000_000
LINES = 400
LOOK_SECONDS = 1.0
PACE_NS = 800_000_000
"""A process that is still starting by then is slow for Ollama's refresh."""
TOO_LONG_NS, WAITING_TOO_LONG_NS = 5_000_000_000, 20_000_000_000
"""A call that takes so long hangs; one that waits for the device's work may take longer."""
_WAITS = ("cuCtxSynchronize", "cuStreamSynchronize", "cuEventSynchronize", "cuMemcpy", "cuStreamWait")


@dataclass
class _Pause:
    """Since when a process is in no call, after how long it is looked at next, and whether it was found to
    stand still."""

    since_ns: int
    look_after_ns: int = TOO_LONG_NS
    stood: bool = False


async def watch_for_hangs(loop: Loop) -> None:
    """Record the stacks of what hangs, once a process and activity, while it can still be looked at: Ollama
    kills a process whose limit runs out long before the run ends."""
    looked: set[int] = set()
    paced: set[int] = set()
    idle: dict[int, _Pause] = {}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        alive = {p.index: p for p in loop.session.processes if p.ended_ns is None and p.role == "target"}
        _record_pace(loop, [process for process in alive.values() if process.index not in paced], paced)
        flights = [flight for flight in loop.session.in_flight() if flight.process in alive]
        fresh = {f.process for f in flights if f.process not in looked and _hangs(loop, f)}
        looked |= fresh
        chosen = [alive[index] for index in fresh]
        busy = {flight.process for flight in flights if flight.function != Pseudo.DLOPEN}
        for process in alive.values():
            if process.registered and process.index not in busy and await _stands(loop, process, idle):
                chosen.append(process)
        if chosen:
            await _record(loop, chosen[:MOST])


def _record_pace(loop: Loop, processes: list[Process], done: set[int]) -> None:
    """Once a process that is still there after a while, whether it computed or waited until then: an event
    `pace` {run, process, lived_seconds, cpu_seconds, queued_seconds} of its first thread."""
    for process in processes:
        lived = loop.session.now_ns() - process.started_ns
        if lived < PACE_NS or not process.registered:
            continue
        done.add(process.index)
        with contextlib.suppress(OSError, ValueError, IndexError):
            cpu, queued = Path(f"/proc/{process.pid}/schedstat").read_text().split()[:2]
            loop.record_event(
                "pace",
                run=process.run,
                process=process.index,
                lived_seconds=round(lived / 1e9, 3),
                cpu_seconds=round(int(cpu) / 1e9, 3),
                queued_seconds=round(int(queued) / 1e9, 3),
            )


def _hangs(loop: Loop, flight: InFlight) -> bool:
    name = loop.session.schema.function_name(flight.function)
    limit = WAITING_TOO_LONG_NS if name.startswith(_WAITS) else TOO_LONG_NS
    return flight.function != Pseudo.DLOPEN and flight.age_ns > limit


async def _stands(loop: Loop, process: Process, pauses: dict[int, _Pause]) -> bool:
    """Has a process that is in no call stood still for long, in a way that a healthy one does not?

    True once a pause, `pauses`: those known of. One that looks healthy is looked at again after as long.
    """
    last = _last_activity(loop, process)
    pause = pauses.setdefault(process.index, _Pause(last))
    if pause.since_ns != last:
        pause = pauses[process.index] = _Pause(last)
    waited = loop.session.now_ns() - last
    if pause.stood or waited < pause.look_after_ns:
        return False
    pause.look_after_ns = 2 * waited
    limit = limit_of(loop.session, process)
    if limit is not None and limit.name != "model load":
        pause.stood = True
    else:
        threads = await asyncio.to_thread(look, process.pid, with_frames=False)
        # The first one may sleep in peace while threads of the shim's own wait for each other.
        held = any(thread.holder for thread in threads)
        pause.stood = held or (bool(threads) and restless(threads[0].wakes, threads[0].runs))
    return pause.stood


async def record_stacks(loop: Loop) -> None:
    """Record an event `stacks` {run, process, lines, threads, idle_seconds} for each process that seems to
    hang, and for the forwarder."""
    loop.session.refresh()
    await _record(loop, hanging(loop))


async def _record(loop: Loop, chosen: list[Process]) -> None:
    """With the forwarder's, in which the call may hang in truth: an event for each of its processes."""
    hosts = [p for p in loop.session.processes if p.role == "host" and p.ended_ns is None]
    pids = [(host, pid) for host in hosts[:2] for pid in [host.pid, *_busiest_children(host.pid)]]
    looked = [*((process, process.pid) for process in chosen), *pids] if chosen else []
    async with loop.looking:
        # Before the debugger stops them: a thread that is traced neither sleeps nor runs.
        looks = [asyncio.to_thread(look, pid, with_frames=False) for _, pid in looked]
        threads = await asyncio.gather(*looks)
        stacks = await asyncio.gather(*(stacks_of(pid) for _, pid in looked))
    now = loop.session.now_ns() if looked else 0
    for (process, pid), lines, seen in zip(looked, stacks, threads, strict=True):
        idle = (now - _last_activity(loop, process)) / 1e9
        loop.record_event(
            "stacks",
            run=process.run if process.role == "target" else loop.status.run,
            process=process.index,
            pid=pid,
            lines=lines[:LINES],
            threads=[thread.as_json() for thread in seen],
            idle_seconds=round(idle, 3),
        )


def _busiest_children(pid: int) -> list[int]:
    """The workers of a forwarder that have used the most processor time."""
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(pid).children(recursive=True)
        used = []
        for child in children:
            with contextlib.suppress(psutil.Error):
                used.append((sum(child.cpu_times()[:2]), child.pid))
        return [child for _, child in sorted(used, reverse=True)[: MOST - 1]]
    return []


def hanging(loop: Loop) -> list[Process]:
    """Living processes of the run with a call long under way, or in none and silent for a while."""
    session = loop.session
    alive = [p for p in session.processes if p.run == loop.status.run and p.role == "target"]
    alive = [process for process in alive if process.registered and process.ended_ns is None]
    if not alive:
        return []
    now = session.now_ns()
    calls = {c.process: c.started_ns for c in session.in_flight() if c.function != Pseudo.DLOPEN}
    found = []
    for process in alive:
        since = calls.get(process.index, _last_activity(loop, process))
        if now - since > IDLE_NS:
            found.append((process.index not in calls, since, process))
    return [process for _, _, process in sorted(found, key=lambda row: row[:2])[:MOST]]


def _last_activity(loop: Loop, process: Process) -> int:
    """When the newest of the last calls of a process ended, or when it began."""
    session = loop.session
    total = len(session.calls)
    start = max(0, total - 65536)
    columns = session.calls.columns(start, total, ("time", "duration", "process"))
    mine = columns["process"] == process.index
    ends = (columns["time"] + columns["duration"])[mine]
    return int(ends.max()) if len(ends) else process.started_ns
