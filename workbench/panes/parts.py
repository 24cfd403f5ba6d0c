"""What lines are made of: parts in inks of the theme, how they are cut to a width, wrapped and marked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, cast

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.widget import Widget

from workbench.panes.sgr import printable

Ink = str | Style
"""How a part looks: the name of an ink of the theme (`INKS`), or a style taken from a line's own SGR."""

Part = tuple[str, Ink]

INKS = (
    "plain", "dim", "ok", "warn", "error", "fatal", "accent", "name", "number", "value", "head",
    "out", "match", "cursor", "cursor-away", "rule", "focused", "banner",
)  # fmt: skip


def parts_text(parts: Sequence[Part]) -> str:
    """The bare text of a line."""
    return "".join(text for text, _ in parts)


class Inks(Widget):
    """Never shown: its component styles are the theme's inks, to which app.tcss gives their colours.

    One for all widgets, since Textual works out a widget's component styles whenever it styles the widget.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"ink--{name}" for name in INKS}
    DEFAULT_CSS = "Inks { display: none; }"


class Inked:
    """Resolves inks to the theme's styles, which the application's `Inks` has."""

    _inks: dict[str, Style] | None = None

    def ink(self, ink: Ink) -> Style:
        """The rich style of an ink, its colours blended over the widget's background."""
        if isinstance(ink, Style):
            return ink
        if self._inks is None:
            self._inks = {}
        style = self._inks.get(ink)
        if style is None:
            style = self._inks[ink] = self._blended(ink)
        return style

    def _blended(self, ink: str) -> Style:
        node = cast(Widget, self)
        rules = node.app.query_one(Inks).get_component_styles(f"ink--{ink}")
        ground = node.background_colors[1]
        front = ground + rules.color if rules.has_rule("color") else None
        back = ground + rules.background if rules.has_rule("background") else None
        return (
            Style(color=front.rich_color if front else None, bgcolor=back.rich_color if back else None)
            + rules.text_style
        )

    def notify_style_update(self) -> None:
        """The theme changed."""
        self._inks = None
        super().notify_style_update()  # type: ignore[misc]

    def segments(self, parts: Sequence[Part]) -> list[Segment]:
        """Segments with every character made safe."""
        return [Segment(printable(text), self.ink(ink)) for text, ink in parts if text]


def highlight(parts: Sequence[Part], pattern: re.Pattern[str]) -> list[Part]:
    """The parts with what the pattern matches in the ink `match`."""
    text = parts_text(parts)
    spans = [match.span() for match in pattern.finditer(text) if match.end() > match.start()]
    if not spans:
        return list(parts)
    cuts = sorted({0, len(text), *(edge for span in spans for edge in span)})
    marked: list[Part] = []
    at = 0
    for part, ink in parts:
        start, end = at, at + len(part)
        edges = [start, *(cut for cut in cuts if start < cut < end), end]
        for left, right in pairwise(edges):
            inside = any(first <= left < last for first, last in spans)
            marked.append((text[left:right], "match" if inside else ink))
        at = end
    return marked


def column(text: str, width: int, ink: Ink = "plain", right: bool = False) -> Part:
    """A part of exactly `width` cells."""
    text = printable(text)
    if right and cell_len(text) < width:
        return (" " * (width - cell_len(text)) + text, ink)
    if cell_len(text) > width:
        text = set_cell_size(text, max(width - 1, 0)) + "…"
    return (set_cell_size(text, width), ink)


def wrapped(parts: Sequence[Part], width: int, indent: int = 0, words: bool = False) -> list[list[Part]]:
    """A line's parts in rows of at most `width` cells, following rows indented; nothing is dropped.

    With `words` a row ends at a space where there is one; else rows are filled, as a terminal does.
    """
    rows: list[list[Part]] = [[]]
    used = 0
    for text, ink in parts:
        text = printable(text)
        while text:
            room = width - used
            piece = text if len(text) <= room and text.isascii() else _fitting(text, room)
            if words and len(piece) < len(text):
                space = piece.rfind(" ")
                piece = piece[: space + 1] if space >= 0 else piece if used <= indent else ""
            if piece:
                rows[-1].append((piece, ink))
                used += cell_len(piece)
                text = text[len(piece) :]
            elif used <= indent:  # not even one character fits
                rows[-1].append((text[:1], ink))
                text = text[1:]
            if text:
                rows.append([(" " * indent, "plain")] if indent else [])
                used = indent
    return rows


def _fitting(text: str, room: int) -> str:
    cells = 0
    for at, character in enumerate(text):
        cells += cell_len(character)
        if cells > room:
            return text[:at]
    return text
