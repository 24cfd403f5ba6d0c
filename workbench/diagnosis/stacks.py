"""Native stacks that were recorded of a process while it hung: event `stacks` {process, run, lines}."""

from __future__ import annotations

import re

from workbench.diagnosis.facts import Facts

SHOWN = 6
_FRAME = re.compile(r"\s*#\d+\s+(?:0x[0-9a-f]+ in )?(\S+)")
_LIBRARY = re.compile(r"from (\S+\.so\S*)")


def stack_of(facts: Facts, process: int) -> list[str]:
    """Frames of the process's first thread (gdb numbers it 1), the innermost first; [] when not taken."""
    taken = [event for event in facts.events("stacks") if event.fields.get("process") == process]
    lines = [str(line) for line in taken[-1].fields.get("lines", [])] if taken else []
    mine, found = not any(line.startswith("Thread ") for line in lines), []
    for line in lines:
        if line.startswith("Thread "):
            mine = line.startswith("Thread 1 ")
        elif mine and line.lstrip().startswith("#"):
            found.append(line.strip())
    return found


def top_of(stack: list[str]) -> str:
    """The innermost frame that is not the C library's own."""
    for frame in stack:
        found, library = _FRAME.match(frame), _LIBRARY.search(frame)
        system = re.search(r"libc\.so|libpthread|/sysdeps/|/nptl/|/csu/|/io/|linux-vdso", frame)
        if found and not system and not found[1].startswith("__"):
            return found[1] + (f" in {library[1].rpartition('/')[2]}" if library else "")
    return stack[0]
