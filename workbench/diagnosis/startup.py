"""Where the time of a process goes until its first kernel, summed by function however short the calls."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np

from sessions.part import Flags, Part

_SIZE = 1 << 16


@dataclass
class Spent:
    """Calls of one function: their number, their time in ns, the row of the first and of the longest."""

    calls: int = 0
    ns: int = 0
    first: int = -1
    longest: int = -1
    longest_ns: int = -1


@dataclass
class Startup:
    """One process up to its first launch that succeeded, or up to now. Times in ns of the session."""

    first_ns: int = -1  #: when its first call began
    last_ns: int = -1  #: when the last of these calls ended
    launched: bool = False
    by_function: dict[int, Spent] = field(default_factory=dict)

    @property
    def in_calls_ns(self) -> int:
        return sum(spent.ns for spent in self.by_function.values())

    @property
    def between_calls_ns(self) -> int:
        """Between the first and the last call, in none (of one thread; several may be in calls at once)."""
        return max(0, self.last_ns - self.first_ns - self.in_calls_ns)


class StartupTimes:
    """Takes in calls by whole parts; a process that has launched a kernel costs nothing more."""

    def __init__(self) -> None:
        self._of: dict[int, Startup] = {}
        self._pending = np.ones(_SIZE, bool)

    def take(self, part: Part, launches: Flags) -> None:
        """`part`: calls that lie in no other; `launches`: which functions, by number, launch."""
        for number in part.processes:
            if not self._pending[number]:
                continue
            mine = part.of((number,))
            launched = mine.places(launches)
            launched = launched[mine.column("result")[launched] == 0]
            startup = self._of.setdefault(number, Startup())
            stop = len(mine)
            if len(launched):
                stop = int(launched[0])
                self._pending[number] = False
                startup.launched = True
            if stop:
                _add(startup, mine, stop)

    def all(self) -> dict[int, Startup]:
        """process -> what is known of it now."""
        return copy.deepcopy(self._of)


def _add(startup: Startup, part: Part, stop: int) -> None:
    """Those before place `stop`."""
    time, duration = (
        part.column("time")[:stop].astype(np.int64),
        part.column("duration")[:stop].astype(np.int64),
    )
    began = int(time.min())
    startup.first_ns = began if startup.first_ns < 0 else min(startup.first_ns, began)
    startup.last_ns = max(startup.last_ns, int((time + duration).max()))
    functions, first, place = np.unique(
        part.column("function")[:stop], return_index=True, return_inverse=True
    )
    counts, sums = np.bincount(place), np.bincount(place, weights=duration)
    for number, function in enumerate(functions.tolist()):
        spent = startup.by_function.setdefault(function, Spent())
        spent.calls += int(counts[number])
        spent.ns += int(sums[number])
        if spent.first < 0:
            spent.first = part.row(int(first[number]))
        mine = np.flatnonzero(place == number)
        longest = int(mine[int(np.argmax(duration[mine]))])
        if int(duration[longest]) > spent.longest_ns:
            spent.longest_ns, spent.longest = int(duration[longest]), part.row(longest)
