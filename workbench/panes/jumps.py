"""From what is said to where it comes from: evidence, GPU mode, a bar of the timeline, a line of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.panes.timeline import TimelinePane
from workbench.panes.why import Target

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp


class Jumps:
    """The ways between the panes of one workbench; each goes on with the next piece when asked again."""

    def __init__(self, app: ShimbenchApp) -> None:
        self._app = app
        self._evidence_at = -1
        self._mode_at = -1

    def to(self, target: Target) -> None:
        """Show a call, a line of the log, or a name among the asked ones."""
        app = self._app
        if target.kind == "call":
            app.calls.show_row(target.number, by_user=True)
            app.show_pane("calls")
        elif target.kind == "log":
            app.log_pane.show_number(target.number)
            app.show_pane("log")
        else:
            app.show_pane("coverage")
            app.view.search(f"\\b{target.name}\\b")

    def to_evidence(self) -> None:
        """Where WHY's next sentence comes from."""
        targets = self._app.why.targets
        self._evidence_at = (self._evidence_at + 1) % len(targets)
        self._app.why.turn_to(self._evidence_at)
        self.to(targets[self._evidence_at])

    def to_mode(self) -> None:
        """Where the header's GPU mode comes from: its next piece of evidence that lies in a call or line."""
        evidence = self._app.facts.gpu.mode.evidence
        targets = [
            Target("log", piece.log or 0) if piece.call is None else Target("call", piece.call)
            for piece in evidence
            if (piece.call, piece.log) != (None, None)
        ]
        if targets:
            self._mode_at = (self._mode_at + 1) % len(targets)
            self.to(targets[self._mode_at])

    def from_timeline(self, kind: str = "") -> None:
        """From a bar to the "log" line that tells its result, or its first "call"; to either, if not said."""
        pane = self._app.query_one(TimelinePane)
        target = pane.target(kind or "log") or (None if kind else pane.target("call"))
        if target is None:
            self._app.notify("nothing was recorded of it", severity="warning")
        else:
            self.to(target)

    def from_line(self) -> None:
        """From a line of the log to the call before it."""
        number = self._app.log_pane.selected_number()
        if number is not None:
            self.to_call(str(max(self._app.session.log.line(number).after_call, 1)))

    def to_call(self, text: str) -> None:
        """Show a call by its number."""
        app, number = self._app, text.replace(" ", "")
        if not number.isdigit() or not 1 <= int(number) <= len(app.session.calls):
            there = f"they go from 1 to {len(app.session.calls)}"
            app.notify(f"there is no call {text}: {there}", severity="warning")
        elif app.calls.show_row(int(number) - 1, by_user=True):
            app.show_pane("calls")

    def choose(self) -> None:
        """Enter: a fold opens, a call is inspected, a log line is shown whole, a row opens."""
        app = self._app
        view, content = app.view, app.content
        if view is content.calls:
            line = content.calls.selected_line()
            if line is not None and line.folded:
                content.calls.toggle_fold()
            elif line is not None:
                content.inspector.show_row(line.row)
                app.show_pane("inspect")
        elif view is content.log:
            app.outside.show_whole_line(content.log)
        elif view is content.timeline:
            self.from_timeline()
        elif view is content.build:
            app.do("source.open")
        else:
            for folding in (content.coverage, content.processes, content.device):
                if view is folding:
                    folding.toggle()
