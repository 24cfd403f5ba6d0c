"""The WHY pane. Until there is a diagnosis it is headed "evidence": what the session itself shows of
where a run stopped. It is never cut: its height follows its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from workbench.panes.lines import Inked, Part, wrapped


@dataclass(frozen=True)
class Target:
    """Where a piece of evidence lies: a call's row index, a line of the log, or a name in coverage."""

    kind: Literal["call", "log", "name"]
    number: int
    name: str = ""


@dataclass(frozen=True)
class WhySentence:
    """One sentence and where it comes from."""

    parts: tuple[Part, ...]
    target: Target | None = None


class WhyPane(Inked, Widget):
    """Sentences, wrapped in full; a click on one goes where it comes from."""

    COMPONENT_CLASSES = Inked.COMPONENT_CLASSES
    DEFAULT_CSS = "WhyPane { height: auto; width: 1fr; }"

    @dataclass
    class Clicked(Message):
        """A click on a piece of evidence."""

        target: Target

    def __init__(self, *, id: str = "why") -> None:
        super().__init__(id=id)
        self.sentences: list[WhySentence] = []

    @property
    def targets(self) -> list[Target]:
        """Where `w` goes, in order."""
        return [piece.target for piece in self.sentences if piece.target is not None]

    def show(self, sentences: list[WhySentence]) -> None:
        """Replace what it says."""
        if sentences != self.sentences:
            taller = self._rows(self.size.width)
            self.sentences = sentences
            self.refresh(layout=len(taller) != len(self._rows(self.size.width)))

    def _rows(self, width: int) -> list[tuple[list[Part], WhySentence | None]]:
        pieces = self.sentences or [WhySentence((("nothing has failed, and no call hangs", "dim"),))]
        return [
            (row, piece)
            for piece in pieces
            for row in wrapped([(" ", "plain"), *piece.parts], width, 3, words=True)
        ]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as the text takes."""
        return len(self._rows(max(width, 10)))

    def render_line(self, y: int) -> Strip:
        """One row of it."""
        width = self.size.width
        rows = self._rows(max(width, 10))
        segments: list[Segment] = self.segments(rows[y][0]) if y < len(rows) else []
        return Strip(segments).adjust_cell_length(width).apply_style(self.rich_style)

    def on_click(self, event: events.Click) -> None:
        """Go where the sentence comes from."""
        rows = self._rows(max(self.size.width, 10))
        if event.y < len(rows):
            piece = rows[event.y][1]
            if piece is not None and piece.target is not None:
                self.post_message(self.Clicked(piece.target))
