"""How often each function came off and how often not, over the calls of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sessions.decode import UNRETURNED
from workbench.target.roles import is_kernel_probe

if TYPE_CHECKING:
    from sessions import Session
    from sessions.part import Part

BATCH = 1 << 20


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
        members = [process for process in self.session.processes if process.run == run]
        mine = {process.index for process in members if not is_kernel_probe(process.argv)}
        total = len(self.session.calls) if until is None else until
        while self._scanned < total:
            stop = min(self._scanned + BATCH, total)
            self._count(self.session.calls.part(self._scanned, stop).of(mine).without(UNRETURNED))
            self._scanned = stop

    def _count(self, part: Part) -> None:
        failed = np.bincount(part.column("function")[part.failed], minlength=len(part.counts))
        for counts, found in ((self.ok, part.counts - failed), (self.failed, failed)):
            known = found[: self._size - 1]
            counts[: len(known)] += known
            counts[-1] += found[self._size - 1 :].sum()

    def saved(self) -> list[list[int]]:
        """[function, ok, failed] of each that was called, for resume()."""
        called = np.flatnonzero(self.ok + self.failed).tolist()
        return [[number, int(self.ok[number]), int(self.failed[number])] for number in called]

    def resume(self, run: int, scanned: int, saved: list[list[int]]) -> None:
        """Be what had been saved when `scanned` rows had been taken in, of a run."""
        self.run, self._scanned = run, scanned
        for number, ok, failed in saved:
            self.ok[number], self.failed[number] = ok, failed
