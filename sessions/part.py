"""Some calls in a row, as columns that several look at side by side.

Most of what looks at calls is interested in few of them. What tells that there are none (which functions
were called at all, whether any failed) is made once a part, by the cheapest operation there is for it.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sessions.calls import Calls
    from sessions.columns import Array

Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_SPREAD = 1 << 14  # thread ids that lie so close are told apart by a table


class Part:
    """Calls of one session; `place` n is the n-th of them, from 0."""

    def __init__(self, calls: Calls, start: int, stop: int) -> None:
        self.start = start
        """row of place 0; with chosen ones, of the place they are counted from"""
        self._calls = calls
        self._stop = stop
        self._base: Part | None = None
        self._chosen: Places | None = None
        self._columns: dict[str, Array] = {}

    def __len__(self) -> int:
        return self._stop - self.start if self._chosen is None else len(self._chosen)

    def column(self, name: str) -> Array:
        """A column of them, shape (len,); not to be written to."""
        found = self._columns.get(name)
        if found is None:
            if self._base is None:
                found = self._calls.columns(self.start, self._stop, (name,))[name]
            else:
                found = self._base.column(name)[self._chosen]
            self._columns[name] = found
        return found

    def pick(self, names: Collection[str], places: Places) -> dict[str, list[int]]:
        """Values of columns at few places: cheaper than whole columns where they are not read yet."""
        if not len(places):
            return {name: [] for name in names}
        unread = [name for name in names if name not in self._columns]
        picked = self._calls.pick(self.rows(places), unread)
        return {
            name: (picked[name] if name in picked else self._columns[name][places]).tolist() for name in names
        }

    def row(self, place: int) -> int:
        """The row of a place, from 0."""
        return self.start + (place if self._chosen is None else int(self._chosen[place]))

    def rows(self, places: Places) -> Places:
        """The rows of places."""
        found: Places = (places if self._chosen is None else self._chosen[places]) + self.start
        return found

    def only(self, mask: Flags) -> Part:
        """Those that the mask marks."""
        if mask.all():
            return self
        chosen = np.flatnonzero(mask)
        part = Part(self._calls, self.start, self._stop)
        part._base = self if self._base is None else self._base
        part._chosen = chosen if self._chosen is None else self._chosen[chosen]
        return part

    # What is in it

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many calls by function number, as far as there are any."""
        return np.bincount(self.column("function"))

    @cached_property
    def functions(self) -> list[int]:
        """The numbers of the functions called, ascending."""
        return np.flatnonzero(self.counts).tolist()

    @cached_property
    def processes(self) -> list[int]:
        """The processes that called, ascending."""
        column = self.column("process")
        if not len(column):
            return []
        first, last = int(column.min()), int(column.max())
        return [first] if first == last else np.flatnonzero(np.bincount(column)).tolist()

    @cached_property
    def failed(self) -> Places:
        """Places whose result is not 0."""
        return np.flatnonzero(self.column("result") != 0)

    @cached_property
    def longest(self) -> int:
        """The longest duration, in ns; 0 when there is no call."""
        return int(self.column("duration").max(initial=0))

    # Some of it

    def of(self, processes: Collection[int]) -> Part:
        """Those of some processes."""
        kept = [process for process in self.processes if process in processes]
        if len(kept) == len(self.processes):
            return self
        table = np.zeros(self.processes[-1] + 1, bool)
        table[kept] = True
        return self.only(table.take(self.column("process")))

    def without(self, flags: int) -> Part:
        """Those that have none of some flags."""
        column = self.column("flags")
        return self.only((column & flags) == 0) if column.any() else self

    def having(self, flags: int) -> Places:
        """Places of those that have one of some flags."""
        column = self.column("flags")
        return np.flatnonzero((column & flags) != 0) if column.any() else np.empty(0, np.int64)

    def places(self, table: Flags) -> Places:
        """Places whose function a table, by function number, marks."""
        found = [number for number in self.functions if table[number]]
        if not found:
            return np.empty(0, np.int64)
        function = self.column("function")
        return np.flatnonzero(function == found[0] if len(found) == 1 else table.take(function))

    def last_by_function(self) -> list[tuple[int, int]]:
        """(function number, place of its last call), for each that was called."""
        return list(zip(self.functions, _last_places(self.column("function"), self.functions), strict=True))

    def last_by_thread(self) -> list[tuple[int, int, int]]:
        """(process, thread, place of its last call), in the order of these places."""
        found = []
        for process in self.processes:
            threads, places = self.column("thread"), None
            if len(self.processes) > 1:
                places = np.flatnonzero(self.column("process") == process)
                threads = threads[places]
            for thread, place in _last_of_each(threads):
                found.append((process, thread, place if places is None else int(places[place])))
        return sorted(found, key=lambda each: each[2])


def _last_of_each(threads: npt.NDArray[np.uint32]) -> list[tuple[int, int]]:
    """(thread, where it stands last) for each different one."""
    lowest, highest = threads.min(), threads.max()
    if highest - lowest > _SPREAD:
        values: list[int] = np.unique(threads).tolist()
    else:
        values = (np.flatnonzero(np.bincount(threads - lowest)) + int(lowest)).tolist()
    return list(zip(values, _last_places(threads, values), strict=True))


def _last_places(column: Array, values: list[int]) -> list[int]:
    """Where each of some values, which all are there, stands last: mostly not far from the end."""
    found: dict[int, int] = {}
    size = 256
    while len(found) < len(values):
        first = max(len(column) - size, 0)
        end = column[first:]
        for value in values:
            if value not in found and len(places := np.flatnonzero(end == value)):
                found[value] = first + int(places[-1])
        size *= 16
    return [found[value] for value in values]
