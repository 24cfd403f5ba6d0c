"""Marks and notes on calls and lines: made, taken back, listed, gone to."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from sessions.marks import Mark, Marks
from workbench.panes.chooser import Chooser
from workbench.panes.format import time_text
from workbench.panes.parts import column
from workbench.panes.sgr import plain_text
from workbench.panes.text_lines import TextLine
from workbench.panes.why import Target

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp


class Marking:
    """The marks of the session of `app`."""

    def __init__(self, app: ShimbenchApp) -> None:
        from workbench.sessions_store import marks_elsewhere

        self._app = app
        self.marks = Marks(app.session, marks_elsewhere())
        self._told = ""
        self._show()

    def look(self) -> None:
        """Show what has been marked since."""
        if self.marks.update():
            self._show()
        if self.marks.problem != self._told:
            self._told = self.marks.problem
            self._app.notify(self._told, severity="error")

    def _show(self) -> None:
        content = self._app.content
        content.calls.marks, content.log.marks = self.marks.of("call"), self.marks.of("line")
        if self._app.is_running:
            content.calls.refresh()
            content.log.refresh()

    @property
    def selected(self) -> Mark | None:
        """A mark for what is selected, a call or in the log pane a line, with its note if it has one."""
        app = self._app
        if app.pane == "log":
            number = app.log_pane.selected_number()
            return None if number is None else Mark("line", number, self.marks.of("line").get(number, ""))
        row = app.calls.selected_row()
        return None if row is None else Mark("call", row, self.marks.of("call").get(row, ""))

    def toggle(self) -> None:
        """Mark what is selected, or take its mark back."""
        mark = self.selected
        if mark is not None:
            self._put(mark, removed=mark.index in self.marks.of(mark.kind))

    def mark(self, note: str) -> None:
        """Mark what is selected with a note."""
        mark = self.selected
        if mark is not None:
            self._put(Mark(mark.kind, mark.index, note))

    def _put(self, mark: Mark, removed: bool = False) -> None:
        app, session = self._app, self._app.session
        if app.loop is not None:
            app.loop.collector.event("mark", **mark.fields(removed))
            app.looks.stale = True
            return
        try:
            path = self.marks.put(mark, removed)
        except OSError as error:
            app.notify(f"the mark can't be kept: {error}", severity="error")
            return
        if path.parent != session.path:
            why = "was unpacked only to be looked at" if session.archive else "can't be written to"
            app.notify(f"the session {why}: the mark is kept in {path}", timeout=8)
        self._show()

    def next(self, step: int) -> None:
        """Go to the next (1) or previous mark of the pane, round at its ends."""
        kind = "line" if self._app.pane == "log" else "call"
        marked = sorted(mark.index for mark in self.marks if mark.kind == kind)
        here = self.selected
        if not marked:
            self._app.notify("nothing is marked here: m marks")
            return
        at = here.index if here is not None else -1
        beyond = [index for index in marked if (index > at if step > 0 else index < at)]
        index = (min(beyond) if step > 0 else max(beyond)) if beyond else marked[0 if step > 0 else -1]
        self._app.jumps.to(Target("log" if kind == "line" else "call", index))

    def choose(self) -> None:
        """List all marks; Enter goes to one."""
        app, session = self._app, self._app.session
        lines = []
        for mark in self.marks:
            if mark.kind == "call" and mark.index < len(session.calls):
                when, text = session.calls.row(mark.index).time, app.decoder_text(mark.index)
            elif mark.kind == "line" and mark.index < len(session.log):
                line = session.log.line(mark.index)
                when, text = line.time_ns, plain_text(line.text)
            else:
                continue
            place = f"{'call' if mark.kind == 'call' else 'log'} {mark.index + 1}"
            parts = [column(f" {place}", 14, "accent"), column(time_text(when), 14, "dim")]
            note = [(f"{mark.note}  ", "head")] if mark.note else []
            target = Target("call" if mark.kind == "call" else "log", mark.index)
            lines.append((when, TextLine([*parts, *note, (text, "dim" if mark.note else "plain")], target)))
        lines.sort(key=lambda each: each[0])
        go = functools.partial(_go, app)
        app.push_screen(Chooser("MARKS", [line for _, line in lines], "nothing is marked: m marks"), go)


def _go(app: ShimbenchApp, target: object) -> None:
    if isinstance(target, Target):
        app.jumps.to(target)
