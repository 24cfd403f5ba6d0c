"""The state at a moment, rebuilt from the snapshot before it: what the device holds, coverage, results.

A snapshot is of one run: the newest that made a call before it. A moment of an older run starts at one of
that run, or at its first call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sessions.moment import Moment
from sessions.states import INTERVAL, States
from workbench.views.coverage import Coverage
from workbench.views.device import DeviceState
from workbench.views.results import ResultCounts

if TYPE_CHECKING:
    from sessions import Session

_PROCESSES = 1 << 16
_NO_SNAPSHOT = (KeyError, TypeError, ValueError, IndexError, AttributeError)


@dataclass(frozen=True)
class State:
    """What had come of the calls of a run when some of them had been taken in."""

    device: DeviceState
    coverage: Coverage
    results: ResultCounts

    @classmethod
    def empty(cls, session: Session, run: int, scanned: int = 0) -> State:
        """Of a run that made no call in the first `scanned` rows."""
        state = cls(DeviceState(run), Coverage(run), ResultCounts(session, run))
        state.device.resume(session, run, scanned, [])
        state.coverage.resume(session, run, scanned, {"calls": [], "results": [], "requests": []})
        state.results.resume(run, scanned, [])
        return state

    def update(self, session: Session, stop: int) -> None:
        """Take in calls up to row `stop`."""
        self.device.update(session, stop)
        self.coverage.update(session, stop)
        self.results.update(stop)

    def saved(self) -> dict[str, Any]:
        """As plain JSON, for restored()."""
        return {
            "device": self.device.saved(),
            "coverage": self.coverage.saved(),
            "results": self.results.saved(),
        }

    @classmethod
    def restored(cls, session: Session, run: int, scanned: int, saved: dict[str, Any]) -> State:
        """The mirror of saved(); one of _NO_SNAPSHOT when it can't be."""
        state = cls(DeviceState(run), Coverage(run), ResultCounts(session, run))
        state.device.resume(session, run, scanned, saved["device"])
        state.coverage.resume(session, run, scanned, saved["coverage"])
        state.results.resume(run, scanned, saved["results"])
        return state


class Snapshots:
    """The snapshots of one session: builds those that are missing, answers for moments."""

    def __init__(self, session: Session, interval: int = INTERVAL) -> None:
        self.session = session
        self.interval = interval
        self.states = States(session)

    def state(self, moment: Moment, run: int | None = None) -> State:
        """The state at a moment, of a run (the newest by then unless told)."""
        wanted = moment.newest_run if run is None else run
        state = self._start(moment, wanted)
        state.update(moment, len(moment.calls))
        return state

    def _start(self, moment: Moment, run: int) -> State:
        for rows, of in self.states.before(moment.cut.settled):
            if of < run:
                return State.empty(moment, run, rows)
            saved = self.states.get(rows, run) if of == run else None
            if saved is not None:
                try:
                    return State.restored(moment, run, rows, saved)
                except _NO_SNAPSHOT:
                    self.states.forget(rows, run)
        return State.empty(moment, run)

    def missing(self, stop: int) -> int:
        """How many rows build() would go through for the moments before row `stop`; 0 of a short session,
        whose states are rebuilt as quickly without."""
        whole = stop - stop % self.interval
        return max(0, whole - self._gap()) if whole > self.interval else 0

    def _gap(self) -> int:
        """Up to which row no snapshot is missing."""
        there = {rows for rows, _ in self.states.before(len(self.session.calls))}
        row = 0
        while row + self.interval in there:
            row += self.interval
        return row

    def build(
        self,
        stop: int | None = None,
        progress: Callable[[int], object] = lambda row: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make those that are missing of the first `stop` rows; all unless told. `progress` gets the row
        reached, `stopped` says whether to leave it there."""
        session = self.session
        total = len(session.calls) if stop is None else min(stop, len(session.calls))
        runs = np.zeros(_PROCESSES, np.int64)
        state, row, newest = self._resumed(min(self._gap(), total))
        while row + self.interval <= total and not stopped():
            known = [process.run for process in session.processes]
            runs[: len(known)] = known
            process = session.calls.columns(row, row + self.interval, ("process",))["process"]
            run = max(newest, int(runs[process].max()))
            if run != newest or state is None:
                state, newest = State.empty(session, run, row), run
            row += self.interval
            state.update(session, row)
            if (row, run) not in self.states:
                self.states.put(row, run, state.saved())
            progress(row)

    def _resumed(self, stop: int) -> tuple[State | None, int, int]:
        """The last snapshot of at most `stop` rows to go on from; with its rows and run."""
        for rows, run in self.states.before(stop):
            saved = self.states.get(rows, run)
            if saved is not None:
                try:
                    return State.restored(self.session, run, rows, saved), rows, run
                except _NO_SNAPSHOT:
                    self.states.forget(rows, run)
        return None, 0, -1
