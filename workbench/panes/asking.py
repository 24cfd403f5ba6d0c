"""What the prompt asks for: a search, a filter, the number of a call, a note, a breakpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.panes.header import Bar
from workbench.panes.prompt import KeyLine, Prompt

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp
    from workbench.filter.complete import Completion
    from workbench.panes.lines import LineView

_HINTS = {
    "search": "regular expression",
    "goto": "number of a call",
    "note": "what is worth knowing about this call or line",
    "compare": "A B, each SESSION[:RUN]: @-1 @   @:1 @:2; without B this session",
    "colour": "a colour, then a filter of calls: red !ok   bold green cuLaunch*   yellow dur:>1ms",
    "count": "a filter whose calls are counted: !ok   cuMemAlloc* run:2   dur:>1ms",
    "colour lines": "a colour, then a filter of lines: red level:error   green offloaded   yellow fd:out",
    "count lines": "a filter whose lines are counted: level:warn   source:runner* run:2   re:^srv",
    "kernels": "globs or parts of names: mul_mat*   flash 64   !fixup",
    "everything": "regular expression: calls, arguments, results, log, notes, sources",
    "travel": "7.1s   250ms   @443   log:212   run:2",
    "break": "cuMemAlloc*   cu* error   cuLaunchKernel result:CUDA_ERROR_INVALID_VALUE @3",
}


class Asking:
    """Opens the prompt of `app`, and does what is answered there."""

    def __init__(self, app: ShimbenchApp) -> None:
        self._app = app
        self._prompt: Prompt | None = None  # that is open: what lies over the panes has one of its own
        self._view: LineView | None = None  # that had the focus, where it is none of the panes

    def ask(self, kind: str) -> None:
        """Open the prompt."""
        app = self._app
        self._prompt = prompt = app.screen.query_one(Prompt)
        self._view = app.view if prompt.screen.is_modal else None
        about = f"{kind} lines" if app.pane == "log" else kind
        text, hint = "", _HINTS.get(about, _HINTS.get(kind, ""))
        if kind == "filter":
            text = app.calls.filter_text if app.pane == "calls" else app.log_pane.filter_text
            hint = "cuMem* !ok pid:123 caller:libcudart dur:>1ms result:CUDA_ERROR_* text:foo"
            if app.pane == "log":
                hint = 'level:warn source:runner* !idle pid:123 time:>2s "out of memory" re:^srv'
        if kind == "kernels" and app.content.device.kernels is not None:
            text = app.content.device.kernels.filter_text
        if kind == "compare" and app.session.newest_run > 1:
            text = f"{app.session.path}:{app.session.newest_run - 1}"
        prompt.display = True
        prompt.screen.query(KeyLine).set(display=False)
        filters = kind in ("filter", "colour", "count", "break")
        prompt.ask(kind, text, hint, self._candidates if filters else None)

    @property
    def _asked_for(self) -> LineView:
        """What an answer is meant for."""
        return self._view or self._app.view

    def _candidates(self, text: str, cursor: int) -> list[Completion]:
        from workbench.filter import CALLS, LINES, complete

        app = self._app
        of_lines = self._prompt is not None and self._prompt.kind != "break" and app.pane == "log"
        return complete(text, cursor, app.session, LINES if of_lines else CALLS)

    def offered(self, message: Prompt.Offered) -> None:
        """What could stand at the cursor of the prompt, over it."""
        offers = self._app.query_one("#offers", Bar)
        offers.display = bool(message.parts)
        offers.show(message.parts)

    def answered(self, message: Prompt.Answered) -> None:
        """Do what was asked for, and give the keys back to the pane."""
        app = self._app
        if message.text is not None and not self._answer(message.kind, message.text.strip()):
            return
        if self._prompt is not None:
            self._prompt.display = False
            self._prompt.screen.query(KeyLine).set(display=True)
        app.query_one("#offers").display = False
        self._asked_for.focus()

    def _answer(self, kind: str, text: str) -> bool:
        """False: the prompt stays open."""
        app = self._app
        if kind == "search":
            self._asked_for.search(text)
        elif kind == "goto":
            app.jumps.to_call(text)
        elif kind == "compare":
            from workbench.panes.beside import show_beside

            a, _, b = text.partition(" ")
            if text:
                show_beside(app, a, b.strip() or str(app.session.path))
        elif kind in ("colour", "count"):
            return not text or app.rules.add(kind, text, "log" if app.pane == "log" else "calls")
        elif kind == "everything" and text:
            from workbench.panes.searching import Searching

            Searching(app, text).start()
        elif kind == "travel":
            return not text or app.travel.to_name(text)
        elif kind == "break":
            return not text or app.breaks.toggle(text)
        elif kind == "kernels":
            app.content.device.filter_kernels(text)
        elif kind == "note":
            app.marking.mark(text)
        elif kind == "filter":
            return self.filter_lines(text) if app.pane == "log" else self.filter_calls(text)
        app.arrangement.show_titles()
        return True

    def filter_calls(self, text: str) -> bool:
        """Show only some calls; False, the prompt's cursor where it is wrong, when the text is no filter."""
        from workbench.filter import parse

        return self._filter(lambda: self._app.calls.set_filter(text, parse(text) if text else None))

    def filter_lines(self, text: str) -> bool:
        """The same for lines of the log."""
        from workbench.filter import parse_lines

        pane = self._app.log_pane
        return self._filter(lambda: pane.set_filter(text, parse_lines(text) if text else None))

    def _filter(self, set_it: Callable[[], None]) -> bool:
        from workbench.filter import FilterError

        app = self._app
        try:
            set_it()
        except FilterError as error:
            app.notify(f"filter, column {error.column}: {error.message}", severity="error")
            if self._prompt is not None:
                self._prompt.cursor_position = error.column - 1
            return False
        app.arrangement.show_titles()
        return True
