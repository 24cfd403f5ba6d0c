"""The one way a pane draws: lines on demand, with a cursor, search, follow and safe text.

A pane says how many lines it has and what stands in line n; only visible lines are ever asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.color import Color
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.panes.actions import bindings
from workbench.panes.finding import Finding
from workbench.panes.guard import sentence_of
from workbench.panes.later import later
from workbench.panes.parts import Inked, Part, highlight, parts_text

Edges = tuple[Segment | None, Segment | None]
"""The cells of a border at the left and right of a line."""

_DRAWN_LIMIT = 1024  # rows kept as they were drawn
_SEARCH_SLICE = 0.02  # seconds of the processor for a search before keys have their turn
_SEARCH_PAUSE = 0.01


class LineView(Inked, ScrollView, can_focus=True):
    """A scrolling view of lines that are drawn when they are visible."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("lines")
    where: ClassVar[str] = "lines"
    """Names the pane in the command registry: which keys it obeys."""

    @dataclass
    class Moved(Message):
        """The user moved the cursor."""

        view: LineView
        index: int

    @dataclass
    class Chosen(Message):
        """Enter or a double click on a line."""

        view: LineView
        index: int

    @dataclass
    class StatusChanged(Message):
        """What stands in the pane's title changed: filter, follow, counts."""

        view: LineView

    @dataclass
    class NotFound(Message):
        """A search came to its end; `first` when it had only just been asked for."""

        view: LineView
        pattern: str
        first: bool

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.cursor = 0
        self.following = False
        self.pattern: re.Pattern[str] | None = None
        self.trouble = ""
        """why the lines are not brought up to date any more, said in place of the first row"""
        self._finding: Finding | None = None
        self._widest = 0
        self._told = ""
        self._drawn: dict[Hashable, Strip] = {}
        self._drawn_look: Hashable = None

    # What a pane overrides

    def count(self) -> int:
        """How many lines there are."""
        return 0

    def draw(self, index: int, width: int) -> list[Part]:
        """The parts of one line; `width` is what is visible of it, text beyond it can be scrolled to."""
        raise NotImplementedError

    def line_text(self, index: int) -> str:
        """The whole line as text: what is searched and copied."""
        return parts_text(self.draw(index, 100_000))

    def status(self) -> str:
        """What the pane's title adds to its name."""
        return ""

    def tell_status(self) -> None:
        """Have the title drawn anew if it says something else now."""
        status = self.status()
        if status != self._told:
            self._told = status
            self.post_message(self.StatusChanged(self))

    def texts(self, start: int, stop: int) -> Iterable[str]:
        """What is searched of some lines, one after the other."""
        return map(self.line_text, range(start, stop))

    # Moving

    def lines_changed(self) -> None:
        """Tell the view that lines were added or changed."""
        count = self.count()
        self._set_extent(Size(max(self._widest, self.size.width), count))
        if self.following:
            self.cursor = max(count - 1, 0)
            self.scroll_to(y=self._last_top(), animate=False, force=True)
        else:
            self.cursor = max(0, min(self.cursor, count - 1))
        self.refresh()

    def _set_extent(self, extent: Size) -> None:
        """Set virtual_size. By itself that lays the whole screen out anew, which only a scrollbar that
        comes or goes needs: a live view grows with every look."""
        if extent == self.virtual_size:
            return
        fits = extent.height <= self._container_size.height
        if fits == self.show_vertical_scrollbar or self.styles.overflow_y != "auto":
            self.virtual_size = extent
            return
        self.set_reactive(ScrollView.virtual_size, extent)
        if not fits:
            self.vertical_scrollbar.window_virtual_size = extent.height
        self.scroll_y = self.validate_scroll_y(self.scroll_y)

    def _last_top(self) -> int:
        return max(self.count() - self.scrollable_content_region.height, 0)

    def on_resize(self) -> None:
        """Keep the end in view when it is followed, the cursor otherwise."""
        self.lines_changed()
        if not self.following:
            self._show_cursor()

    def move_to(self, index: int, *, by_user: bool = True, centre: bool = False) -> None:
        """Put the cursor on a line and scroll to it; the user's own moves stop following."""
        count = self.count()
        if not count:
            return
        self.cursor = max(0, min(index, count - 1))
        if by_user and self.following:
            self.following = False
            self.post_message(self.StatusChanged(self))
        self._show_cursor(centre)
        self.refresh()
        if by_user:
            self.post_message(self.Moved(self, self.cursor))

    def _show_cursor(self, centre: bool = False) -> None:
        height = max(self.scrollable_content_region.height, 1)
        top = self.scroll_offset.y
        if top <= self.cursor < top + height:
            return
        if centre:
            top = self.cursor - height // 2
        else:
            top = self.cursor if self.cursor < top else self.cursor - height + 1
        self.scroll_to(y=max(top, 0), animate=False, force=True)

    def move(self, lines: int) -> None:
        """Move the cursor by lines."""
        self.move_to(self.cursor + lines)

    def page(self, pages: int) -> None:
        """Move the cursor by pages."""
        self.move(pages * max(self.scrollable_content_region.height - 1, 1))

    def pan(self, columns: int) -> None:
        """Scroll sideways."""
        self.scroll_to(x=max(self.scroll_offset.x + columns, 0), animate=False, force=True)

    def follow(self) -> None:
        """Go to the newest line and stay with what comes."""
        self.following = True
        self.lines_changed()
        self.post_message(self.StatusChanged(self))

    # Searching

    def search(self, expression: str) -> None:
        """Search forward from the cursor; a bad regular expression is taken as plain text."""
        try:
            self.pattern = re.compile(expression, re.IGNORECASE) if expression else None
        except re.error:
            self.pattern = re.compile(re.escape(expression), re.IGNORECASE)
        self.refresh()
        self._finding = None
        if self.pattern is not None:
            self._find(Finding(self.pattern, self.cursor, 1, self.count(), first=True))

    def next_match(self, step: int) -> None:
        """Go to the next (1) or previous (-1) match, round at the ends."""
        if self.pattern is not None:
            self._find(Finding(self.pattern, self.cursor + step, step, self.count()))

    def searched(self) -> str:
        """`/foo`, or how far a search has come: for status()."""
        if self.pattern is None:
            return ""
        finding = self._finding
        done = "" if finding is None else f" {100 * finding.looked // max(finding.total, 1)} %"
        return f"/{self.pattern.pattern}{done}"

    def _find(self, finding: Finding) -> None:
        self._finding = finding
        self._find_on(finding)

    def _find_on(self, finding: Finding) -> None:
        """Search a slice of time long; long logs take many of them, and keys have their turn between."""
        if finding is not self._finding:
            return  # another one began, or it was left
        found = finding.go_on(self.count(), self.texts, time.thread_time() + _SEARCH_SLICE)
        if found is None and finding.looked < finding.total:
            later(self, _SEARCH_PAUSE, partial(self._find_on, finding))
            self.tell_status()
            return
        self._finding = None
        if found is not None:
            self.move_to(found, centre=True)
        else:
            self.post_message(self.NotFound(self, finding.pattern.pattern, finding.first))
        self.tell_status()

    # Mouse

    def on_click(self, event: events.Click) -> None:
        """Select by click, choose by double click."""
        index = self.line_at(event.y)
        if index is None:
            return
        self.move_to(index)
        if event.chain == 2:
            self.post_message(self.Chosen(self, index))

    def line_at(self, y: int) -> int | None:
        """The line drawn in row y of the view."""
        index = self.scroll_offset.y + y
        return index if index < self.count() else None

    # Drawing

    def nothing(self) -> str:
        """What is said where there is no line."""
        return ""

    def line_key(self, index: int) -> Hashable | None:
        """Names what draw() would draw; lines with equal keys look alike. None: it may always differ."""
        return None

    def look(self) -> Hashable:
        """What all lines' looks depend on beside their keys."""
        return None

    def render_lines(self, crop: Region) -> list[Strip]:
        """The visible rows with the border beside them; what was drawn before is taken as it was.

        Textual's own way costs several times what drawing the lines does.
        """
        edges = self._edges()
        if edges is None:
            return super().render_lines(crop)
        width = self.content_size.width
        shown = self.scroll_offset.x, self.has_focus, self.pattern
        look = (edges, width, self.rich_style, *shown, self.look())
        if look != self._drawn_look or len(self._drawn) > _DRAWN_LIMIT:
            self._drawn_look, self._drawn = look, {}
        ground = self.background_colors[1]
        filters = self.get_line_filters()
        strips = []
        for y in range(crop.y, crop.bottom):
            key = self._row_key(y)
            strip = None if key is None else self._drawn.get(key)
            if strip is None:
                strip = self._framed(self.render_line(y), width, edges)
                for line_filter in filters:
                    strip = strip.apply_filter(line_filter, ground)
                if key is not None:
                    self._drawn[key] = strip
            strips.append(strip)
        if crop.column_span != (0, self.size.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def _row_key(self, y: int) -> Hashable | None:
        """The key of what stands in a visible row, with the cursor on it or not."""
        if y == 0 and self.trouble:
            return (self.trouble,)
        try:
            index = self.line_at(y)
            if index is None:
                return (self.nothing(),) if y == 0 else ()
            key = self.line_key(index)
        except Exception:  # drawing the row will say which
            return None
        return None if key is None else (key, index == self.cursor)

    def _edges(self) -> Edges | None:
        """The border's cells at the left and right; None when it has more than these."""
        styles = self.styles
        top, right, bottom, left = styles.border
        if top[0] or bottom[0] or styles.padding or self.size.height != self.content_size.height:
            return None
        if {left[0], right[0]} - {"", "solid"} or self.opacity != 1.0 or styles.tint.a:
            return None
        base, ground = self.background_colors

        def cell(kind: str, color: Color) -> Segment | None:
            style = Style(color=(base + color).rich_color, bgcolor=(base + ground).rich_color)
            return Segment("│", style) if kind else None

        return cell(*left), cell(*right)

    @staticmethod
    def _framed(strip: Strip, width: int, edges: Edges) -> Strip:
        left, right = edges
        segments = list(strip.adjust_cell_length(width, strip._segments[-1].style if strip else None))
        if left is not None:
            segments.insert(0, left)
        if right is not None:
            segments.append(right)
        return Strip(segments, width + (left is not None) + (right is not None))

    def render_line(self, y: int) -> Strip:
        """One visible row. A line that can't be drawn says why; an exception would end the application."""
        width = self.scrollable_content_region.width
        if y == 0 and self.trouble:
            return self.strip_of([(self.trouble, "error")], False, 0, width)
        try:
            return self.visible_row(y)
        except Exception as error:
            return self.strip_of([(sentence_of(error, f"a line of {self.where}"), "error")], False, 0, width)

    def visible_row(self, y: int) -> Strip:
        """What stands in a row of the view."""
        index = self.line_at(y)
        width = self.scrollable_content_region.width
        if index is None:
            words = self.nothing() if y == 0 and not self.count() else ""
            return self.strip_of([(words, "dim")], False, 0, width)
        x = self.scroll_offset.x
        parts = self.draw(index, width if x == 0 else 100_000)
        return self.strip_of(parts, index == self.cursor, x, width)

    def strip_of(self, parts: Sequence[Part], is_cursor: bool, x: int, width: int) -> Strip:
        """Parts cut to the visible columns, with matches and the cursor marked."""
        if self.pattern is not None:
            parts = highlight(parts, self.pattern)
        strip = Strip(self.segments(parts))
        if strip.cell_length > self._widest:
            self._widest = strip.cell_length
            self.call_later(self._widened)
        style = self.rich_style
        strip = strip.crop(x, x + width).extend_cell_length(width).apply_style(style)
        if is_cursor:
            mark = self.ink("cursor" if self.has_focus else "cursor-away")
            strip = Strip([Segment(text, (old or style) + mark) for text, old, _ in strip], strip.cell_length)
        return strip

    def _widened(self) -> None:
        self._set_extent(Size(max(self._widest, self.size.width), self.count()))

    def on_focus(self) -> None:
        """The cursor's colour shows the focus."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor's colour shows the focus."""
        self.refresh()


class Waiting(LineView, can_focus=False):
    """Stands where a pane will be when the session is open."""
