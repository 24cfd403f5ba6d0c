"""What the prompt asks for: a search, a filter, the number of a call, a note, a breakpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.panes.header import Bar
from workbench.panes.prompt import KeyLine, Prompt

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp
    from workbench.filter.complete import Completion

_HINTS = {
    "search": "regular expression",
    "goto": "number of a call",
    "note": "what is worth knowing about this call or line",
    "compare": "A B, each SESSION[:RUN]: @-1 @   @:1 @:2; without B this session",
    "colour": "a colour, then a filter: red !ok   bold green cuLaunch*   yellow dur:>1ms",
    "count": "a filter whose calls are counted: !ok   cuMemAlloc* run:2   dur:>1ms",
    "everything": "regular expression: calls, arguments, results, log, notes, watched sources",
    "travel": "7.1s   250ms   @443   log:212   run:2",
    "break": "cuMemAlloc*   cu* error   cuLaunchKernel result:CUDA_ERROR_INVALID_VALUE @3",
}


class Asking:
    """Opens the prompt of `app`, and does what is answered there."""

    def __init__(self, app: ShimbenchApp) -> None:
        self._app = app

    def ask(self, kind: str) -> None:
        """Open the prompt."""
        app = self._app
        prompt = app.query_one(Prompt)
        text, hint = "", _HINTS.get(kind, "")
        if kind == "filter":
            text = app.calls.filter_text if app.pane == "calls" else app.log_pane.filter_text
            hint = "cuMem* !ok pid:123 caller:libcudart dur:>1ms result:CUDA_ERROR_* text:foo"
            if app.pane == "log":
                hint = "level:warn source:runner* then a regular expression, ! first for the other lines"
        filters_calls = (kind == "filter" and app.pane == "calls") or kind in ("colour", "count", "break")
        if kind == "compare" and app.session.newest_run > 1:
            text = f"{app.session.path}:{app.session.newest_run - 1}"
        prompt.display = True
        app.query_one(KeyLine).display = False
        prompt.ask(kind, text, hint, self._candidates if filters_calls else None)

    def _candidates(self, text: str, cursor: int) -> list[Completion]:
        from workbench.filter.complete import complete

        return complete(text, cursor, self._app.session)

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
        app.query_one(Prompt).display = False
        app.query_one("#offers").display = False
        app.query_one(KeyLine).display = True
        app.view.focus()

    def _answer(self, kind: str, text: str) -> bool:
        """False: the prompt stays open."""
        app = self._app
        if kind == "search" and not app.view.search(text):
            app.notify(f"nothing matches {text}", severity="warning")
        elif kind == "goto":
            app.jumps.to_call(text)
        elif kind == "compare":
            from workbench.panes.beside import show_beside

            a, _, b = text.partition(" ")
            if text:
                show_beside(app, a, b.strip() or str(app.session.path))
        elif kind in ("colour", "count"):
            return not text or app.rules.add(kind, text)
        elif kind == "everything" and text:
            from workbench.panes.searching import Searching

            Searching(app, text).start()
        elif kind == "travel":
            return not text or app.travel.to_name(text)
        elif kind == "break":
            return not text or app.breaks.toggle(text)
        elif kind == "note":
            app.marking.mark(text)
        elif kind == "filter" and app.pane == "log":
            app.log_pane.set_filter(text)
        elif kind == "filter":
            return self.filter_calls(text)
        app.arrangement.show_titles()
        return True

    def filter_calls(self, text: str) -> bool:
        """Show only some calls; False, the prompt's cursor where it is wrong, when the text is no filter."""
        from workbench.filter import FilterError, parse

        app = self._app
        try:
            app.calls.set_filter(text, parse(text) if text else None)
        except FilterError as error:
            app.notify(f"filter, column {error.column}: {error.message}", severity="error")
            app.query_one(Prompt).cursor_position = error.column - 1
            return False
        app.arrangement.show_titles()
        return True
