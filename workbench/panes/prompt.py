"""The bottom line: the keys that mean something now, or a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from workbench.panes.parts import Inked, Part

if TYPE_CHECKING:
    from workbench.filter.complete import Completion


class KeyLine(Inked, Widget):
    """Keys with their meaning, clickable; the pane's status at the right where panes have no titles."""

    DEFAULT_CSS = "KeyLine { height: 1; width: 1fr; }"

    @dataclass
    class Pressed(Message):
        """A click on a key's words."""

        action: str

    def __init__(self, *, id: str = "keys") -> None:
        super().__init__(id=id)
        self.keys: Sequence[tuple[str, str, str]] = ()
        self.fixed: Sequence[tuple[str, str, str]] = ()
        self.status = ""

    def show(
        self, keys: Sequence[tuple[str, str, str]], fixed: Sequence[tuple[str, str, str]], status: str
    ) -> None:
        """Change it: (key, words, action name) each; the fixed ones stand at the right and always fit."""
        if (keys, fixed, status) != (self.keys, self.fixed, self.status):
            self.keys, self.fixed, self.status = keys, fixed, status
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The line."""
        width = self.size.width
        fixed = self._parts(self.fixed)
        status = [Segment(f" {self.status} ", self.ink("warn"))] if self.status else []
        room = width - 1 - sum(len(segment.text) for segment in (*fixed, *status))
        shown = [Segment(" ")]
        for key in self.keys:
            parts = self._parts([key])
            room -= sum(len(part.text) for part in parts)
            if room < 0:
                room += sum(len(part.text) for part in parts)
                break
            shown += parts
        strip = Strip([*shown, Segment(" " * max(room, 0)), *status, *fixed])
        return strip.adjust_cell_length(width).apply_style(self.rich_style)

    def _parts(self, keys: Sequence[tuple[str, str, str]]) -> list[Segment]:
        parts = []
        for key, words, action in keys:
            meta = Style(meta={"action": action})
            parts += [Segment(key, self.ink("accent") + meta), Segment(f" {words}  ", self.ink("dim") + meta)]
        return parts

    def on_click(self, event: events.Click) -> None:
        """A click is the key."""
        action = event.style.meta.get("action")
        if action:
            self.post_message(self.Pressed(action))


class Prompt(Input):
    """One line of input for a search, a filter, a call number or a note."""

    @dataclass
    class Answered(Message):
        """Enter in the prompt; text is None when it was left by Esc."""

        kind: str
        text: str | None

    @dataclass
    class Offered(Message):
        """What could stand at the cursor; nothing when there is nothing to offer."""

        parts: list[Part]

    def __init__(self, *, id: str = "prompt") -> None:
        super().__init__(id=id, compact=True, select_on_focus=False)
        self.kind = "search"
        self._complete: Callable[[str, int], list[Completion]] | None = None
        self._offers: list[Completion] = []
        self._taken: int | None = None  # index of the offer that stands in the text
        self._typed = ""  # the text and the cursor before an offer was taken
        self._typed_cursor = 0

    def ask(
        self,
        kind: str,
        text: str,
        hint: str,
        candidates: Callable[[str, int], list[Completion]] | None = None,
    ) -> None:
        """Show it with the text to edit; `candidates` says what could stand at the cursor."""
        self.kind = kind
        self._complete = candidates
        self._taken = None
        self.placeholder = hint
        self.value = text
        self.cursor_position = len(text)
        self._offer()
        self.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """New text, new candidates, unless the change was taking one."""
        event.stop()
        if self._taken is None or self.value != self._with(self._offers[self._taken]):
            self._taken = None
            self._offer()

    def complete(self, step: int) -> None:
        """Take the next (1) or previous (-1) candidate."""
        if not self._offers:
            return
        if self._taken is None:
            self._typed, self._typed_cursor = self.value, self.cursor_position
            self._taken = 0 if step > 0 else len(self._offers) - 1
        else:
            self._taken = (self._taken + step) % len(self._offers)
        offer = self._offers[self._taken]
        self.value = self._with(offer)
        self.cursor_position = offer.start + len(offer.text)
        self._tell()

    def _with(self, offer: Completion) -> str:
        return self._typed[: offer.start] + offer.text + self._typed[self._typed_cursor :]

    def _offer(self) -> None:
        self._offers = self._complete(self.value, self.cursor_position) if self._complete else []
        self._tell()

    def _tell(self) -> None:
        first = self._taken or 0
        parts: list[Part] = [("Tab  ", "accent")] if self._offers else []
        for number, offer in enumerate(self._offers[first : first + 12], first):
            parts += [
                (offer.text, "focused" if number == self._taken else "name"),
                (f" {offer.help}   ", "dim"),
            ]
        self.post_message(self.Offered(parts))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.post_message(self.Answered(self.kind, self.value))

    def on_key(self, event: events.Key) -> None:
        """Esc leaves; all other keys are the input's."""
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self.post_message(self.Answered(self.kind, None))
