"""How often each function came off and how often not, over the calls of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sessions.decode import UNRETURNED

if TYPE_CHECKING:
    from sessions import Session

BATCH = 1 << 20
_COLUMNS = ("function", "result", "process", "flags")


class ResultCounts:
    """Counts by function number, of the newest run unless told; `ok` and `failed` have one place more, for
    what is no function of the model."""

    def __init__(self, session: Session, run: int | None = None) -> None:
        self.session = session
        self.wanted_run = run
        self.run = -1
        self._scanned = 0
        self._size = max(session.schema.functions, default=0) + 2
        self.ok = np.zeros(self._size, np.int64)
        self.failed = np.zeros(self._size, np.int64)

    def update(self, until: int | None = None) -> None:
        """Take in calls recorded since, up to row `until`."""
        run = self.session.newest_run if self.wanted_run is None else self.wanted_run
        if run != self.run:
            self.run = run
            self.ok[:] = 0
            self.failed[:] = 0
        mine = np.array([process.run == run for process in self.session.processes], bool)
        total = len(self.session.calls) if until is None else until
        while self._scanned < total:
            stop = min(self._scanned + BATCH, total)
            columns = self.session.calls.columns(self._scanned, stop, _COLUMNS)
            counted = mine[columns["process"]]
            if columns["flags"].any():
                counted &= (columns["flags"] & UNRETURNED) == 0
            self._count(columns["function"][counted], columns["result"][counted])
            self._scanned = stop

    def _count(self, function: npt.NDArray[Any], result: npt.NDArray[Any]) -> None:
        function = np.minimum(function, self._size - 1)
        failed = result != 0
        self.ok += np.bincount(function[~failed], minlength=self._size)
        self.failed += np.bincount(function[failed], minlength=self._size)

    def saved(self) -> list[list[int]]:
        """[function, ok, failed] of each that was called, for resume()."""
        called = np.flatnonzero(self.ok + self.failed).tolist()
        return [[number, int(self.ok[number]), int(self.failed[number])] for number in called]

    def resume(self, run: int, scanned: int, saved: list[list[int]]) -> None:
        """Be what had been saved when `scanned` rows had been taken in, of a run."""
        self.run, self._scanned = run, scanned
        for number, ok, failed in saved:
            self.ok[number], self.failed[number] = ok, failed
