"""Views of lines that were made beforehand."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from workbench.panes.lines import LineView
from workbench.panes.parts import Part


@dataclass(frozen=True)
class TextLine:
    """A line made beforehand, and what Enter on it is about."""

    parts: Sequence[Part]
    subject: object = None


class TextLines(LineView):
    """A view of lines made beforehand: for panes whose whole content is small."""

    empty = ""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: list[TextLine] = []
        self._version = 0  # of the lines

    def set_lines(self, lines: list[TextLine]) -> None:
        """Replace the content; cursor and scroll position stay."""
        if lines == self.lines:
            return
        subject = self.selected
        self.lines = lines
        self._version += 1
        self._widest = 0
        moved = 0 if subject is None or self.selected == subject else self._moved(subject)
        self.cursor += moved
        self.lines_changed()
        if moved:  # what was selected stands elsewhere: the cursor goes along, and stays where it is seen
            self.scroll_to(y=max(self.scroll_offset.y + moved, 0), animate=False, force=True)

    def _moved(self, subject: object) -> int:
        places = (at for at, line in enumerate(self.lines) if line.subject == subject)
        return next(places, self.cursor) - self.cursor

    def count(self) -> int:
        """How many lines there are."""
        return len(self.lines) or (1 if self.empty else 0)

    def line_key(self, index: int) -> Hashable:
        """Its place, as long as the lines are the same."""
        return self._version, index

    def draw(self, index: int, width: int) -> list[Part]:
        """One line, or the sentence that says why there is none."""
        if not self.lines:
            return [(self.empty, "dim")]
        return list(self.lines[index].parts)

    @property
    def selected(self) -> object:
        """What the line under the cursor is about."""
        return self.lines[self.cursor].subject if self.cursor < len(self.lines) else None
