"""Where the time of a process goes until its first kernel, summed by function however short the calls."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Columns = dict[str, npt.NDArray[np.generic]]
Mask = npt.NDArray[np.bool_]

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
    """Takes in calls by whole columns; a process that has launched a kernel costs nothing more."""

    def __init__(self) -> None:
        self._of: dict[int, Startup] = {}
        self._pending = np.ones(_SIZE, bool)

    def take(self, columns: Columns, counted: Mask, launched: Mask, start: int) -> None:
        """`counted`: calls that lie in no other; `launched`: launches that succeeded; `start`: first row."""
        rows = np.flatnonzero(counted & self._pending[columns["process"]])
        if not len(rows):
            return
        process = columns["process"][rows].astype(np.int64)
        for number in np.unique(process).tolist():
            mine = rows[process == number]
            ends = np.flatnonzero(launched[mine])
            if len(ends):
                mine = mine[: ends[0]]
                self._pending[number] = False
            startup = self._of.setdefault(number, Startup())
            startup.launched |= bool(len(ends))
            if len(mine):
                _add(startup, columns, mine, start)

    def all(self) -> dict[int, Startup]:
        """process -> what is known of it now."""
        return copy.deepcopy(self._of)


def _add(startup: Startup, columns: Columns, rows: npt.NDArray[np.int64], start: int) -> None:
    time, duration = columns["time"][rows].astype(np.int64), columns["duration"][rows].astype(np.int64)
    began = int(time.min())
    startup.first_ns = began if startup.first_ns < 0 else min(startup.first_ns, began)
    startup.last_ns = max(startup.last_ns, int((time + duration).max()))
    functions, first, place = np.unique(columns["function"][rows], return_index=True, return_inverse=True)
    counts, sums = np.bincount(place), np.bincount(place, weights=duration)
    for number, function in enumerate(functions.tolist()):
        spent = startup.by_function.setdefault(function, Spent())
        spent.calls += int(counts[number])
        spent.ns += int(sums[number])
        if spent.first < 0:
            spent.first = start + int(rows[first[number]])
        mine = np.flatnonzero(place == number)
        longest = mine[int(np.argmax(duration[mine]))]
        if int(duration[longest]) > spent.longest_ns:
            spent.longest_ns, spent.longest = int(duration[longest]), start + int(rows[longest])
