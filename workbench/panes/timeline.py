"""The timeline pane: each process of a run as a bar, Ollama's passes against their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType

from workbench.panes.actions import bindings
from workbench.panes.lines import TextLine, TextLines
from workbench.panes.why import Target
from workbench.views.timeline_text import Row, rows
from workbench.views.timeline_tracker import TimelineTracker

if TYPE_CHECKING:
    from sessions import Session


class TimelinePane(TextLines):
    """The newest run; Enter goes to the line that tells a process's result, c to its first call."""

    where: ClassVar[str] = "timeline"
    BINDINGS: ClassVar[list[BindingType]] = bindings("timeline")
    empty = "no run yet"

    def __init__(self, session: Session, *, id: str = "timeline") -> None:
        super().__init__(id=id)
        self.session = session
        self._tracker = TimelineTracker()
        self._tracked = session
        self.note = ""  # said over the bars

    def show_rows(self) -> None:
        """Draw what the session knows now, as wide as the pane is."""
        if self.session.newest_run < 0:
            self.set_lines([])
            return
        if self.session is not self._tracked:
            self._tracker, self._tracked = TimelineTracker(), self.session
        self._tracker.update(self.session)
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if width <= 0 or self.session.newest_run < 0:
            return
        drawn = rows(self._tracker.timeline(), width)
        note = [TextLine([(self.note, "warn")])] if self.note else []
        self.set_lines([*note, *(TextLine(row.parts, row) for row in drawn)])

    def on_resize(self) -> None:
        """The axis fits the pane."""
        if self.lines:
            self._draw()
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
