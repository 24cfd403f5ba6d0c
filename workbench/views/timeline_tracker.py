"""The timeline of a session that may still grow."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from workbench.views.log import numbered_lines
from workbench.views.timeline import Timeline
from workbench.views.timeline_assembly import Assembly
from workbench.views.timeline_tally import Counts, Tallies

if TYPE_CHECKING:
    from sessions import Session
    from sessions.moment import Moment

STEP = 1 << 18
"""Calls counted at once."""
KEPT_EVERY = 4 * STEP
"""Calls after which the counts are kept, for moments of the session."""


class TimelineTracker:
    """Counts while the session grows; `update` looks only at what is new, `timeline` puts a run together."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._begin()

    def _begin(self) -> None:
        self._lines = 0
        self._tallies = Tallies()
        self._kept: list[tuple[int, Counts]] = [(0, {})]  # by calls counted
        self._telling: list[int] = []  # lines of the log that told something
        self.scanned = 0
        """calls counted so far"""

    @property
    def lines(self) -> int:
        """Lines of the log looked at so far."""
        return self._lines

    def update(self, session: Session, stop: int | None = None, lines: int | None = None) -> bool:
        """Take in what was recorded since, calls up to row `stop` and so many `lines`; True if there was
        anything."""
        if session is not self._session:
            self._session = session
            self._begin()
        before = self.scanned, self._lines
        total = len(session.calls) if stop is None else stop
        while self.scanned < total:
            until = min(self.scanned + STEP - self.scanned % STEP, total)
            self._tallies.take_calls(session, self.scanned, until)
            self.scanned = until
            if until % KEPT_EVERY == 0:
                self._kept.append((until, self._tallies.counts()))
        total = len(session.log) if lines is None else lines
        for number, line in numbered_lines(session, self._lines, total):
            if self._tallies.take_line(session, number, line):
                self._telling.append(number)
        self._lines = total
        return before != (self.scanned, self._lines)

    def timeline(self, run: int | None = None) -> Timeline:
        """A run of the session looked at last, the newest unless told."""
        assert self._session is not None, "update first"
        return Assembly(self._session, self._tallies, run).timeline()

    def at(self, moment: Moment) -> Timeline:
        """The newest run as it was at a moment of that session, whose calls up to then have been counted."""
        session, cut = self._session, moment.cut
        assert session is not None and self.scanned >= cut.rows, "update first"
        start, counts = self._kept[bisect_right(self._kept, cut.rows, key=lambda kept: kept[0]) - 1]
        tallies = Tallies(counts)
        tallies.take_calls(moment, start, cut.rows)
        for row in cut.late[cut.late < start].tolist():  # counted with the end that they only had later
            tallies.take_calls(session, row, row + 1, -1)
            tallies.take_calls(moment, row, row + 1)
        for number in self._telling[: bisect_left(self._telling, cut.lines)]:
            tallies.take_line(moment, number, moment.log.line(number))
        return Assembly(moment, tallies, None).timeline()


def timeline_of(session: Session, run: int | None = None) -> Timeline:
    """A run of a session, the newest unless told."""
    tracker = TimelineTracker()
    tracker.update(session)
    return tracker.timeline(run)
