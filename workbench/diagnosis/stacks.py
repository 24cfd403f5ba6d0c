"""Native stacks that were recorded of a process while it hung: event `stacks` {process, run, lines}."""

from __future__ import annotations

import re

from workbench.diagnosis.facts import Facts

SHOWN = 6
_FRAME = re.compile(r"\s*#\d+\s+(?:0x[0-9a-f]+ in )?(\S+)")
_LIBRARY = re.compile(r"from (\S+\.so\S*)")


def stack_of(facts: Facts, process: int) -> list[str]:
    """Frames of the process's first thread (gdb numbers it 1), the innermost first; [] when not taken."""
    taken = _taken(facts, process)
    return _threads(taken[-1]).get("1", []) if taken else []


def every_stack_of(facts: Facts, process: int) -> list[list[str]]:
    """Frames of each thread that was looked at under that process: a forwarder's workers are its own."""
    return [stack for lines in _taken(facts, process) for stack in _threads(lines).values()]


def _taken(facts: Facts, process: int) -> list[list[str]]:
    events = [event for event in facts.events("stacks") if event.fields.get("process") == process]
    return [[str(line) for line in event.fields.get("lines", [])] for event in events]


def _threads(lines: list[str]) -> dict[str, list[str]]:
    """gdb's number of a thread -> its frames; it numbers none where there is one."""
    number, found = "1", dict[str, list[str]]()
    for line in lines:
        if line.startswith("Thread "):
            number = line.split()[1]
        elif line.lstrip().startswith("#"):
            found.setdefault(number, []).append(line.strip())
    return found


def top_of(stack: list[str]) -> str:
    """The innermost frame that is not the C library's own."""
    for frame in stack:
        found, library = _FRAME.match(frame), _LIBRARY.search(frame)
        system = re.search(r"libc\.so|libpthread|/sysdeps/|/nptl/|/csu/|/io/|linux-vdso", frame)
        if found and not system and not found[1].startswith("__"):
            return found[1] + (f" in {library[1].rpartition('/')[2]}" if library else "")
    return stack[0]
