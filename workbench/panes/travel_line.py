"""The time line: calls per second as a small picture, what happened when, and the cursor of time travel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from workbench.panes.parts import Ink, Inked, Part

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from workbench.views.rate import Happening

_BLOCKS = " ▁▂▃▄▅▆▇█"
_MARKS: dict[str, tuple[str, Ink]] = {
    "run": ("┃", "accent"),
    "build": ("b", "dim"),
    "failed build": ("b", "error"),
    "mark": ("*", "accent"),
}
_WORTH = ("build", "failed build", "run", "mark")  # which of them is seen where several are


@dataclass(frozen=True, eq=False)
class TravelPicture:
    """What the line shows: times in ns since the session's start, counts and errors of equal stretches."""

    end_ns: int
    time_ns: int
    counts: npt.NDArray[np.float64]
    errors: npt.NDArray[np.int64]
    happened: Sequence[Happening]
    words: Sequence[Part] = field(default=())
    keys: Sequence[Part] = field(default=())

    @property
    def cursor(self) -> int:
        """The stretch that the moment lies in."""
        last = max(len(self.counts) - 1, 0)
        return min(int(self.time_ns / max(self.end_ns, 1) * len(self.counts)), last)


def blocks_of(counts: npt.NDArray[np.float64]) -> str:
    """A block a stretch: high ones by the logarithm, so that few calls are seen beside many."""
    most = math.log1p(float(counts.max())) if len(counts) else 0.0
    if not most:
        return " " * len(counts)
    return "".join(_BLOCKS[math.ceil(math.log1p(float(count)) / most * 8)] for count in counts)


def happened_of(picture: TravelPicture) -> list[tuple[str, Ink]]:
    """A sign a stretch: a run, a build, a mark; `!` where calls failed and nothing else is."""
    width = len(picture.counts)
    signs: list[tuple[str, Ink]] = [(" ", "plain")] * width
    for place in picture.errors.nonzero()[0].tolist():
        signs[place] = ("!", "error")
    for kind in _WORTH:
        for happening in picture.happened:
            if happening.kind == kind and width:
                place = min(max(int(happening.time_ns / max(picture.end_ns, 1) * width), 0), width - 1)
                signs[place] = _MARKS[kind]
    return signs


class TravelLine(Inked, Widget):
    """Three rows: the picture, what happened, the moment in words. A click goes to that time."""

    DEFAULT_CSS = "TravelLine { height: 3; width: 1fr; display: none; }"

    @dataclass
    class Clicked(Message):
        """A click on the line; `time_ns` is the moment there."""

        time_ns: int

    def __init__(self, *, id: str = "travel") -> None:
        super().__init__(id=id)
        self.picture: TravelPicture | None = None

    @property
    def buckets(self) -> int:
        """How many stretches the width has room for."""
        return max(self.size.width - 2, 10)

    def show(self, picture: TravelPicture) -> None:
        """Draw another moment, or more of the session."""
        self.picture = picture
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One of the three rows."""
        width, picture = self.size.width, self.picture
        if picture is None:
            return Strip.blank(width, self.rich_style)
        segments = [Segment(" ")]
        at = picture.cursor
        if y == 0:
            blocks = blocks_of(picture.counts)
            segments += self.segments(
                [(blocks[:at], "accent"), (blocks[at], "match"), (blocks[at + 1 :], "dim")]
            )
        elif y == 1:
            signs = happened_of(picture)
            signs[at] = ("▲", "warn") if signs[at][0] == " " else (signs[at][0], "match")
            segments += self.segments(signs)
        else:
            keys = list(picture.keys)
            room = width - 1 - sum(len(text) for text, _ in picture.words) - 2
            while keys and sum(len(text) for text, _ in keys) > room:
                keys = keys[:-2]
            segments += self.segments([*picture.words, ("  ", "plain"), *keys])
        return Strip(segments).adjust_cell_length(width).apply_style(self.rich_style)

    def on_click(self, event: events.Click) -> None:
        """Go to the time under the mouse."""
        if self.picture is not None and event.y < 2 and self.size.width > 2:
            share = min(max((event.x - 1 + 0.5) / max(len(self.picture.counts), 1), 0.0), 1.0)
            self.post_message(self.Clicked(int(share * self.picture.end_ns)))
