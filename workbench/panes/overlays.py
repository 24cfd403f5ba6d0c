"""What comes over the panes: a whole line of the log, the keys of the focused pane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from workbench.actions import Action
from workbench.panes.actions import key_text
from workbench.panes.frame import Rule, Tab
from workbench.panes.parts import Part, column, wrapped
from workbench.panes.prompt import Prompt
from workbench.panes.text_lines import TextLine, TextLines

if TYPE_CHECKING:
    from workbench.filter import Language

HELP_INDENT = 42
"""Columns of keys and titles before the sentence that explains them."""


class _Content(TextLines):
    """Lines wrapped to the width there is; the cursor begins at the line `at`."""

    def __init__(self, source: Sequence[TextLine], indent: int, words: bool, at: int) -> None:
        super().__init__(id="overlay-lines")
        self.source = source
        self.indent, self.words = indent, words
        self._at: int | None = at

    def on_resize(self) -> None:
        """Wrap anew."""
        width = max(self.scrollable_content_region.width, 10)
        rows: list[TextLine] = []
        first = 0
        for number, line in enumerate(self.source):
            if number == self._at:
                first = len(rows)
            rows += [
                TextLine(row, line.subject) for row in wrapped(line.parts, width, self.indent, self.words)
            ]
        self.set_lines(rows)
        super().on_resize()
        if self._at is not None and rows:
            self._at = None
            self.move_to(first, centre=True)


class Overlay(ModalScreen[None]):
    """Some lines over the panes, closed by Esc, Enter or q."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Close", show=False),
        Binding("y", "copy", "Copy", show=False),
    ]

    keys: ClassVar[str] = "/ search  y copy  Esc close"

    def __init__(
        self,
        title: str,
        lines: Sequence[TextLine],
        copied: str = "",
        *,
        indent: int = 0,
        words: bool = False,
        at: int = 0,
    ) -> None:
        super().__init__()
        self.content = _Content(lines, indent, words, at)
        self.heading = title
        self.copied = copied

    def compose(self) -> ComposeResult:
        """A rule with the title over the lines."""
        rule = Rule([Tab("", self.heading, "overlay")], "┌", "┐", id="overlay-rule")
        rule.show(notes=self.keys if self.copied else self.keys.replace("y copy  ", ""))
        yield rule
        yield self.content
        yield Prompt()

    def on_mount(self) -> None:
        """Keys move the lines at once."""
        self.content.focus()

    def action_copy(self) -> None:
        """Copy the bare text."""
        if self.copied:
            self.app.copy_to_clipboard(self.copied)
            self.notify("copied")


def help_lines(groups: Sequence[tuple[str, Sequence[Action]]]) -> list[TextLine]:
    """Keys by place: the focused pane's first."""
    lines: list[TextLine] = []
    for heading, actions in groups:
        rows = [action for action in actions if action.key]
        if not rows:
            continue
        lines += [TextLine([]), TextLine([(f" {heading}", "head")])]
        for action in rows:
            parts: list[Part] = [
                column(f"  {key_text(action)}", 16, "accent"),
                column(action.title, HELP_INDENT - 16, "name"),
            ]
            lines.append(TextLine([*parts, (action.help, "plain")], action.name))
    return lines[1:]


def filter_lines(language: Language[Any]) -> list[TextLine]:
    """The words of the filter language, from the rows that define it."""
    from workbench.filter import OPERATORS

    lines = [TextLine([]), TextLine([(f" what a filter of {language.of} may say", "head")])]
    for usage, help_text, example in (
        *((term.syntax, term.help, term.example) for term in language.terms),
        *((word.word, word.help, "") for word in language.words),
        *((written, meaning, "") for written, meaning in OPERATORS),
    ):
        parts: list[Part] = [column(f"  {usage}", HELP_INDENT, "accent"), (help_text, "plain")]
        lines.append(TextLine([*parts, (f"  {example}", "dim")]))
    return lines
