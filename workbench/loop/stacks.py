"""What hangs is looked at before it is ended: the stacks of its threads become events of the session."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from workbench.panes.stacks import stacks_of

if TYPE_CHECKING:
    from sessions import Process
    from workbench.loop.loop import Loop

MOST = 4
"""So many processes are looked at, those first whose calls have been under way for longest."""
IDLE_NS = 2_000_000_000
LINES = 400


async def record_stacks(loop: Loop) -> None:
    """Record an event `stacks` {run, process, lines, idle_seconds} for each process that seems to hang,
    and for the forwarder. Does nothing without gdb."""
    if shutil.which("gdb") is None:
        return
    loop.session.refresh()
    chosen = hanging(loop)
    hosts = [p for p in loop.session.processes if p.role == "host" and p.ended_ns is None]
    looked = [*chosen, *hosts[:2]] if chosen else []
    stacks = await asyncio.gather(*(stacks_of(process.pid) for process in looked))
    now = loop.session.now_ns() if looked else 0
    for process, lines in zip(looked, stacks, strict=True):
        idle = (now - _last_activity(loop, process)) / 1e9
        loop.record_event(
            "stacks",
            run=loop.status.run,
            process=process.index,
            lines=lines[:LINES],
            idle_seconds=round(idle, 3),
        )


def hanging(loop: Loop) -> list[Process]:
    """Living processes of the run with a call long under way, or in none and silent for a while."""
    session = loop.session
    alive = [p for p in session.processes if p.run == loop.status.run and p.role == "target"]
    alive = [process for process in alive if process.registered and process.ended_ns is None]
    if not alive:
        return []
    now = session.now_ns()
    calls = {call.process: call.started_ns for call in session.in_flight()}
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
