"""The timeline of a session that may still grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.views.log import numbered_lines
from workbench.views.timeline import Timeline
from workbench.views.timeline_assembly import Assembly
from workbench.views.timeline_tally import Tallies

if TYPE_CHECKING:
    from sessions import Session

BATCH = 1 << 20


class TimelineTracker:
    """Counts while the session grows; `update` looks only at what is new, `timeline` puts a run together."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._calls = self._lines = 0
        self._tallies = Tallies()

    def update(self, session: Session) -> bool:
        """Take in what was recorded since; True if there was anything."""
        if session is not self._session:
            self._session, self._calls, self._lines = session, 0, 0
            self._tallies = Tallies()
        before = self._calls, self._lines
        total = len(session.calls)
        while self._calls < total:
            stop = min(self._calls + BATCH, total)
            self._tallies.take_calls(session, self._calls, stop)
            self._calls = stop
        total = len(session.log)
        for number, line in numbered_lines(session, self._lines, total):
            self._tallies.take_line(session, number, line)
        self._lines = total
        return before != (self._calls, self._lines)

    def timeline(self, run: int | None = None) -> Timeline:
        """A run of the session looked at last, the newest unless told."""
        assert self._session is not None, "update first"
        return Assembly(self._session, self._tallies, run).timeline()


def timeline_of(session: Session, run: int | None = None) -> Timeline:
    """A run of a session, the newest unless told."""
    tracker = TimelineTracker()
    tracker.update(session)
    return tracker.timeline(run)
