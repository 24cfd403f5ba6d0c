"""Where a process died: the kernel's log tells the instruction of a fault, the session which file lies there.

Readable only where dmesg is (kernel.dmesg_restrict = 0, or as root); without it nothing is recorded.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sessions.format import CallFlag

if TYPE_CHECKING:
    from sessions import Process, Session
    from workbench.loop.loop import Loop

FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_TAIL_ROWS = 65536
_FAULT = re.compile(
    r"\[(?P<thread>\d+)\](?: general protection(?: fault)?|: segfault| trap [^:]*?|:? \w[\w ]*)"
    r".*?\bip:? ?(?P<ip>[0-9a-f]{4,16})\b(?:.*? in (?P<name>[^\[\s]+)\[(?:(?P<offset>[0-9a-f]+),)?)?"
)


@dataclass(frozen=True)
class Fault:
    """A line of the kernel's log: thread, instruction pointer, and the file and offset it names."""

    thread: int
    address: int
    name: str = ""
    offset: int | None = None


def parse_fault(line: str) -> Fault | None:
    """`comm[123]: segfault at 8 ip 55.. sp 7f.. error 6 in libx.so[1132,55..+1000]`; None for others."""
    found = _FAULT.search(line) if "ip" in line else None
    if found is None:
        return None
    offset = int(found["offset"], 16) if found["offset"] else None
    return Fault(int(found["thread"]), int(found["ip"], 16), found["name"] or "", offset)


def kernel_faults() -> list[Fault]:
    """All faults the kernel's log still holds, the oldest first; [] when it can't be read."""
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    found = []
    try:
        while True:
            try:
                record = os.read(log, 8192)
            except BlockingIOError:
                break
            except OSError:  # EPIPE: a record was overwritten meanwhile, go on with the next
                continue
            if not record:
                break
            fault = parse_fault(record.decode("utf-8", "replace"))
            if fault is not None:
                found.append(fault)
    finally:
        os.close(log)
    return found


async def record_crashes(loop: Loop) -> None:
    """An event `crash` {run, process, path, offset, function, line} for each process that newly died so."""
    session = loop.session
    dead = [
        process
        for process in session.processes
        if process.role == "target" and process.signal in FAULTS and process.index not in loop.crashes_told
    ]
    if not dead:
        return
    loop.crashes_told.update(process.index for process in dead)
    faults = await asyncio.to_thread(kernel_faults)
    for process in dead:
        threads = {process.pid, *_threads_inside(session, process)}
        fault = next((f for f in reversed(faults) if f.thread in threads), None)
        if fault is None:
            continue
        module = process.module_at(fault.address)
        path = module.path if module is not None else _path_of(session, process, fault.name)
        offset = fault.address - module.start if module is not None else fault.offset
        known = offset is not None
        function, line = await asyncio.to_thread(_place, path, offset or 0) if known else ("", "")
        loop.record_event(
            "crash",
            run=process.run,
            process=process.index,
            path=path,
            offset=offset,
            function=function,
            line=line,
        )


def _path_of(session: Session, process: Process, name: str) -> str:
    """The file of that name among the run's libraries; the name itself when there is none."""
    runs = [event.fields for event in session.events if event.kind == "run"]
    libraries = next((run.get("libraries") for run in runs if run.get("run") == process.run), None) or {}
    known = [process.exe, *(mapping.path for mapping in process.maps), *map(str, libraries.values())]
    return next((path for path in known if Path(path).name == name), name)


def _threads_inside(session: Session, process: Process) -> set[int]:
    """Threads that were inside a call when the process ended."""
    total = len(session.calls)
    columns = session.calls.columns(max(0, total - _TAIL_ROWS), total, ("process", "thread", "flags"))
    inside = (columns["process"] == process.index) & ((columns["flags"] & CallFlag.UNRETURNED) != 0)
    return {int(thread) for thread in columns["thread"][inside]}


def _place(path: str, offset: int) -> tuple[str, str]:
    """Function and file:line at an offset, by addr2line; empty where it is not there or knows nothing."""
    if shutil.which("addr2line") is None or not Path(path).is_file():
        return "", ""
    words = ["addr2line", "-Cfe", path, hex(offset)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "", ""
    function, line, *_ = [*done.stdout.splitlines(), "", ""]
    return "" if function.startswith("??") else function, "" if line.startswith("??") else line
