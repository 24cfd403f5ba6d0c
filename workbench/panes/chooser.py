"""Lines over the panes of which one is chosen: marks, what a search found, differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from workbench.panes.frame import Rule, Tab
from workbench.panes.lines import LineView
from workbench.panes.prompt import Prompt
from workbench.panes.text_lines import TextLine, TextLines


class _Choices(TextLines):
    """The lines to choose from."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "screen.choose", "Go there", show=False)]

    def __init__(self, source: Sequence[TextLine], empty: str) -> None:
        super().__init__(id="chooser-lines")
        self.source, self.empty = source, empty

    def on_mount(self) -> None:
        """Show them."""
        self.set_lines(list(self.source))


class Chooser(ModalScreen[object]):
    """Enter or a double click dismisses it with the subject of the line, Esc with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Close", show=False),
    ]

    def __init__(
        self, title: str, lines: Sequence[TextLine], empty: str, note: str = "", enter: str = "go there"
    ) -> None:
        super().__init__()
        self.note = note
        self.choices = _Choices(lines, empty)
        self._rule = Rule([Tab("", title, "overlay")], "┌", "┐", id="overlay-rule")
        self._rule.show(info=note, notes=f"Enter {enter}  / search  Esc close")

    def fill(self, lines: Sequence[TextLine], note: str) -> None:
        """Show more lines than before, and what stands behind the title; also before it is drawn."""
        self.note, self.choices.source = note, lines
        self._rule.show(info=note)
        if self.choices.is_mounted and self.is_attached:
            self.choices.set_lines(list(lines))

    def compose(self) -> ComposeResult:
        """A rule with the title over the lines."""
        yield self._rule
        yield self.choices
        yield Prompt()

    def on_mount(self) -> None:
        """Keys move the lines at once."""
        self.choices.focus()

    def action_choose(self) -> None:
        """What is under the cursor."""
        self.dismiss(self.choices.selected)

    def on_line_view_chosen(self, message: LineView.Chosen) -> None:
        """A double click."""
        message.stop()
        self.action_choose()
