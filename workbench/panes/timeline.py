"""The timeline pane: each process of a run as a bar, Ollama's passes against their limits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType

from workbench.panes.actions import bindings
from workbench.panes.format import count_text
from workbench.panes.later import later
from workbench.panes.text_lines import TextLine, TextLines
from workbench.panes.why import Target
from workbench.views.timeline_text import Row, rows
from workbench.views.timeline_tracker import STEP, TimelineTracker

if TYPE_CHECKING:
    from sessions import Session
    from sessions.moment import Moment

_SLICE = 0.03  # seconds of the processor for counting calls, before keys have their turn
_LINES = 1024  # of the log looked at between looks at the clock
_PAUSE = 0.02  # seconds until it goes on


class TimelinePane(TextLines):
    """The newest run; Enter goes to the line that tells a process's result, c to its first call."""

    where: ClassVar[str] = "timeline"
    BINDINGS: ClassVar[list[BindingType]] = bindings("timeline")
    empty = "no run yet"

    def __init__(self, session: Session, *, id: str = "timeline") -> None:
        super().__init__(id=id)
        self.session = session
        self.moment: Moment | None = None  # shown instead of now
        self._tracker = TimelineTracker()
        self._coming = False

    def show_moment(self, moment: Moment | None) -> None:
        """Show the run as it was at a moment; None: now. Drawn when it is next looked at."""
        self.moment = moment

    def show_rows(self) -> None:
        """Draw what the session knows now, as wide as the pane is; calls of a large one are counted while the
        keys go on."""
        if (self.moment or self.session).newest_run < 0:
            self.set_lines([])
            return
        wanted = len(self.session.calls) if self.moment is None else self.moment.cut.rows
        deadline = time.thread_time() + _SLICE
        while True:
            calls = min(self._tracker.scanned + STEP, wanted)
            self._tracker.update(
                self.session, calls, min(self._tracker.lines + _LINES, len(self.session.log))
            )
            if self._counted(wanted) or time.thread_time() >= deadline:
                break
        self._draw(wanted)
        if not self._counted(wanted) and not self._coming:
            self._coming = True
            later(self, _PAUSE, self._go_on)

    def _counted(self, wanted: int) -> bool:
        return self._tracker.scanned >= wanted and self._tracker.lines >= len(self.session.log)

    def _go_on(self) -> None:
        self._coming = False
        if self.display:
            self.show_rows()

    def _draw(self, wanted: int) -> None:
        width = self.scrollable_content_region.width
        if width <= 0:
            return
        counted, drawn = self._tracker.scanned, []
        looked, lines = self._tracker.lines, len(self.session.log)
        for what, done, total in (("counting calls", counted, wanted), ("reading lines", looked, lines)):
            if done < total:
                drawn.append(TextLine([(f"{what}: {count_text(done)} of {count_text(total)}", "warn")]))
        if self.moment is None or self._counted(wanted):
            timeline = self._tracker.timeline() if self.moment is None else self._tracker.at(self.moment)
            drawn += [TextLine(row.parts, row) for row in rows(timeline, width)]
        self.set_lines(drawn)

    def on_resize(self) -> None:
        """The axis fits the pane."""
        if self.lines:
            self.show_rows()
        super().on_resize()

    def target(self, kind: str) -> Target | None:
        """Where the row under the cursor comes from: its "log" line, its first "call"."""
        row = self.selected
        if not isinstance(row, Row):
            return None
        number = row.log if kind == "log" else row.call
        return None if number is None else Target("log" if kind == "log" else "call", number)

    def status(self) -> str:
        """Nothing: its first line says which run it is."""
        return ""
