"""Stacks that were recorded of a process while it hung: event `stacks` {process, run, lines, threads}."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from workbench.diagnosis.facts import Facts

SHOWN = 6
POLLS_A_SECOND = 4.0
"""A thread that goes to sleep so often waits by looking again and again."""
_FRAME = re.compile(r"\s*#\d+\s+(?:0x([0-9a-f]+) in )?(?:\(anonymous namespace\)::)?(.+?)(?: \(|$)")
_LIBRARY = re.compile(r"from (\S+\.so\S*)")
_HEAD = re.compile(r"Thread (\d+)(?:.*?\b(?:LWP|process) (\d+))?")
_SYSTEM = re.compile(
    r"libc\.so|libpthread|libstdc\+\+|/sysdeps/|/nptl/|/csu/|/io/|/dlfcn/|/include/c\+\+/|/gthr|linux-vdso"
)
_OURS = re.compile(r"libcu|libnvidia|cuda")


@dataclass(frozen=True)
class Thread:
    """One thread as it stood: frames, the innermost first, and what /proc told of it (loop/threads.py)."""

    tid: int
    stack: list[str]
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        known = self.told.get("name")
        return f'{self.tid} "{known}"' if known else str(self.tid)

    @property
    def holder(self) -> int:
        """The thread that holds the lock it waits for; 0 when it waits for none."""
        return int(self.told.get("holder") or 0)

    @property
    def wakes(self) -> float:
        """How often a second it goes to sleep again."""
        return float(self.told.get("wakes") or 0)

    @property
    def cpu(self) -> float:
        """Share of a core."""
        return float(self.told.get("cpu") or 0)

    @property
    def runs(self) -> bool:
        """It never slept between two looks."""
        return bool(self.told.get("runs"))

    @property
    def place(self) -> str:
        """Where it stands, as well as is known."""
        if self.stack:
            return top_of(self.stack)
        return str(
            self.told.get("syscall") or ("code that runs" if self.told.get("state") == "R" else "a wait")
        )


def threads_of(facts: Facts, process: int) -> list[Thread]:
    """The threads of a process at the last look, its first one first; [] when nobody looked."""
    taken = _taken(facts, process)
    if not taken:
        return []
    # A look that found no frames, as while another debugger is at it, does not undo the one before.
    lines, rows = next((look for look in reversed(taken) if _threads(look[0])), taken[-1])
    stacks = {tid or number: stack for number, (tid, stack) in _threads(lines).items()}
    told = {int(row["tid"]): row for row in rows}
    known = facts.process(process)
    first = known.pid if known is not None else 0
    if first not in stacks and 1 in stacks:
        stacks[first] = stacks.pop(1)
    order = sorted({*stacks, *told}, key=lambda tid: (tid != first, tid))
    return [Thread(tid, stacks.get(tid, []), told.get(tid, {})) for tid in order]


def restless(wakes: float, runs: bool) -> bool:
    """Does a thread ask again and again instead of being woken?"""
    return wakes >= POLLS_A_SECOND or runs


def held_up(waiting: Thread, threads: list[Thread]) -> list[Thread]:
    """That thread, the one that holds what it waits for, the one that holds what that one waits for...

    The last one waits for none, or for one that stands before it.
    """
    by_id = {thread.tid: thread for thread in threads}
    chain = [waiting]
    while (holder := by_id.get(chain[-1].holder)) is not None and holder not in chain:
        chain.append(holder)
    return chain


def every_stack_of(facts: Facts, process: int) -> list[list[str]]:
    """Frames of each thread that was looked at under that process: a forwarder's workers are its own."""
    return [stack for lines, _ in _taken(facts, process) for _, stack in _threads(lines).values()]


def in_driver(facts: Facts, process: int, stack: list[str]) -> bool:
    """Does one of these frames lie in the shim, the tap or a CUDA library?"""
    known = facts.process(process)
    libraries = facts.run_event.get("libraries")
    names = (
        {PurePosixPath(str(path)).name for path in libraries.values()}
        if isinstance(libraries, dict)
        else set()
    )
    for frame in stack:
        found, library = _FRAME.match(frame), _LIBRARY.search(frame)
        paths = [library[1]] if library else []
        if known is not None and found and found[1]:
            module = known.module_at(int(found[1], 16))
            paths += [module.path] if module is not None else []
        if any(PurePosixPath(path).name in names or _OURS.search(PurePosixPath(path).name) for path in paths):
            return True
    return False


def _taken(facts: Facts, process: int) -> list[tuple[list[str], list[dict[str, Any]]]]:
    """The lines and the threads of each look."""
    events = [event for event in facts.events("stacks") if event.fields.get("process") == process]
    return [([str(line) for line in e.fields.get("lines", [])], e.fields.get("threads", [])) for e in events]


def _threads(lines: list[str]) -> dict[int, tuple[int, list[str]]]:
    """gdb's number of a thread (none where there is but one) -> its id, 0 when it is not told, and frames."""
    number, found = 1, dict[int, tuple[int, list[str]]]()
    for line in lines:
        if head := _HEAD.match(line):
            number = int(head[1])
            found[number] = int(head[2] or 0), []
        elif line.lstrip().startswith("#"):
            found.setdefault(number, (0, []))[1].append(line.strip())
    return found


def top_of(stack: list[str]) -> str:
    """The innermost frame that is not the C library's own."""
    for frame in stack:
        found, library = _FRAME.match(frame), _LIBRARY.search(frame)
        if found and not _is_system(frame):
            return found[2] + (f" in {library[1].rpartition('/')[2]}" if library else "")
    return stack[0]


def shown(stack: list[str]) -> list[str]:
    """A few frames for people: the innermost, then from the first on that is not the C library's own."""
    own = next((place for place, frame in enumerate(stack) if not _is_system(frame)), 0)
    return [*stack[: min(own, 1)], *stack[own:]][:SHOWN]


def _is_system(frame: str) -> bool:
    found = _FRAME.match(frame)
    return bool(_SYSTEM.search(frame)) or (found is not None and found[2].startswith("__"))
