"""What is expected of calls that never returned when they were recorded."""

from __future__ import annotations

import signal
from enum import Enum

from sessions.processes import Process

_CRASHES = frozenset(
    {
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGILL,
        signal.SIGFPE,
        signal.SIGABRT,
        signal.SIGTRAP,
        signal.SIGSYS,
    }
)
_LONG_NS = 1_000_000_000


class Expected(Enum):
    """What the call is to come to again."""

    CRASH = "crashed"
    HANG = "did not return"
    EXIT = "ended its process"
    NOTHING = "was cut off"
    """its process was ended by somebody else while it was under way: that says nothing of the call"""


def expected_of(process: Process, under_way_ns: int, threads: int) -> Expected:
    """Of a call of `process` that had been under way for so long when that ended; `threads` have called."""
    if process.signal in _CRASHES:
        return Expected.CRASH
    if under_way_ns >= _LONG_NS:
        return Expected.HANG
    if process.exit_code is not None and threads == 1:
        return Expected.EXIT
    return Expected.NOTHING
