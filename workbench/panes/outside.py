"""What lies over the panes for a while: a whole log line, help, stacks of a process, $EDITOR at a source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.panes.actions import registry
from workbench.panes.text_lines import TextLine

if TYPE_CHECKING:
    from sessions import Process
    from workbench.app import ShimbenchApp
    from workbench.panes.build import SourcePlace
    from workbench.panes.log import LogPane


class Outside:
    """Shows more of what is selected in `app`, a ShimbenchApp, outside the panes."""

    def __init__(self, app: ShimbenchApp) -> None:
        self.app = app

    def show_whole_line(self, view: LogPane) -> None:
        """All of the selected line, or of the block it belongs to."""
        from workbench.filter.lines import writer
        from workbench.panes.overlays import Overlay
        from workbench.panes.sgr import plain_text, styled_parts

        number = view.selected_number()
        if number is None:
            return
        block = view.blocks.of(number)
        numbers = block.lines if block is not None else [number]
        lines = [self.app.session.log.line(each) for each in numbers]
        parts = [
            [(text, style if style else "plain") for text, style in styled_parts(line.text)] for line in lines
        ]
        line = lines[0]
        source = f"{line.pid} {writer(view.session, line)} {line.stream}"
        title = f"log {numbers[0] + 1}: {source} {sum(each.length for each in lines)} bytes, "
        title += f"after call {line.after_call}"
        text = "\n".join(plain_text(each.text) for each in lines)
        self.app.push_screen(Overlay(title, [TextLine(each) for each in parts], text))

    def show_help(self) -> None:
        """The keys, the focused pane's first."""
        from workbench.filter import CALLS, LINES
        from workbench.panes.overlays import HELP_INDENT, Overlay, filter_lines, help_lines

        rows = registry()
        groups = [(self.app.pane, tuple(rows.all(self.app.pane))), ("every pane", tuple(rows.all("lines"))),
                  ("everywhere", tuple(rows.all("global")))]  # fmt: skip
        lines = help_lines(groups) + filter_lines(LINES if self.app.pane == "log" else CALLS)
        self.app.push_screen(Overlay(f"HELP {self.app.pane}", lines, indent=HELP_INDENT, words=True))

    # Stacks

    def no_stacks(self) -> str | None:
        """Why the target's stacks can't be read."""
        if self.app.loop is None:
            return "this is a saved session: nothing runs"
        return None if self._process() else "no process of the target is alive"

    def _process(self) -> Process | None:
        """The selected process if it lives, else that of the oldest call under way, else the newest."""
        alive = [
            each for each in self.app.session.processes if each.ended_ns is None and each.role == "target"
        ]
        selected = self.app.content.processes.selected if self.app.pane == "processes" else None
        hanging = sorted(self.app.session.in_flight(), key=lambda call: call.started_ns)
        for index in (selected, *(call.process for call in hanging)):
            for process in alive:
                if process.index == index:
                    return process
        return alive[-1] if alive else None

    async def show_stacks(self) -> None:
        """The stacks of all threads of a process, over the panes."""
        from workbench.panes.overlays import Overlay
        from workbench.panes.stacks import no_debugger, stacks_of

        process = self._process()
        if process is None:
            return
        how = "gdb reads" if no_debugger() is None else "without gdb: what lies on"
        self.app.notify(f"{how} the stacks of {process.pid}")
        lines = await stacks_of(process.pid) or [f"the stacks of {process.pid} can't be read"]
        shown = [TextLine([(line, "head" if line.startswith("Thread ") else "plain")]) for line in lines]
        title = f"STACKS {process.pid} {process.exe.rsplit('/', 1)[-1]}"
        self.app.push_screen(Overlay(title, shown, "\n".join(lines), indent=4))

    # Source

    def _place(self) -> SourcePlace | None:
        if self.app.pane == "build":
            return self.app.content.build.selected_place()
        row = self.app.calls.selected_row()
        if self.app.loop is None or row is None:
            return None
        from workbench.panes.source import find_definition

        function = self.app.session.schema.functions.get(self.app.session.calls.row(row).function)
        return find_definition(function.name, self.app.loop.config) if function else None

    def no_source(self) -> str | None:
        """Why `o` can't open anything."""
        if self.app.pane == "build":
            return None if self.app.content.build.selected_place() else "no diagnostic to open"
        if self.app.loop is None:
            return "a saved session names no sources to open"
        return (
            None if self.app.calls.selected_row() is not None else "select a call, or a diagnostic in 5 BUILD"
        )

    def open_source(self) -> None:
        """Open $EDITOR at the place, the screen given over to it."""
        place = self._place()
        if place is None:
            self.app.notify("no watched source defines the selected function", severity="warning")
            return
        self.edit(Path(place.path), place.line, place.column)

    def edit(self, path: Path, line: int, column: int = 0) -> None:
        """Open $EDITOR at a line, from 1, of a file; a relative one lies under the project."""
        from workbench.panes.source import editor_command, run_editor

        path = path if path.is_absolute() else self.app.root / path
        self.lend(lambda: run_editor(editor_command(path, line, column), self.app.root))

    def lend(self, use: Callable[[], str | None]) -> None:
        """Give the screen over to a program until it ends, and show what it says then."""
        from workbench.panes.terminal import lend_terminal

        async def lent() -> None:
            problem = await lend_terminal(self.app, use)
            self.app.refresh()
            if problem:
                self.app.notify(problem, severity="error")

        self.app.run_worker(lent(), group="terminal")
