"""The log pane: every line of every process in full, with its source, length and place among the calls."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from textual.binding import BindingType
from textual.strip import Strip

from workbench.panes.actions import bindings
from workbench.panes.call_lines import GrowingArray
from workbench.panes.format import count_text, elide
from workbench.panes.lines import LineView, Part, column, wrapped
from workbench.panes.sgr import PLAIN, plain_text, styled_parts

if TYPE_CHECKING:
    from sessions import Line, Session

_GUTTER_NAME = 14
_ERROR = re.compile(r"\b(error|fail(ed|ure)?|fatal|abort(ed)?|panic|segfault)\b", re.IGNORECASE)
_WARNING = re.compile(r"\b(warn(ing)?)\b", re.IGNORECASE)


class LogPane(LineView):
    """Lines as they were written; wrap, filter by a regular expression, `!` in front for the others."""

    where: ClassVar[str] = "log"
    BINDINGS: ClassVar[list[BindingType]] = bindings("log")

    def __init__(self, session: Session, *, id: str = "log") -> None:
        super().__init__(id=id)
        self.session = session
        self.following = session.live
        self.paused = False
        self.wrap = False
        self.filter_text = ""
        self._filter: re.Pattern[str] | None = None
        self._inverse = False
        self._shown: GrowingArray | None = None
        self._scanned = 0
        self._frame: tuple[tuple[int, ...], list[tuple[int, int]]] | None = None

    # Content

    def advance(self) -> None:
        """Take in lines written since."""
        if self.paused or self._scanned == len(self.session.log):
            return
        stop = len(self.session.log)
        if self._filter is not None and self._shown is not None:
            self._shown.extend(self._passing(self._scanned, stop))
        self._scanned = stop
        self.lines_changed()
        self.tell_status()

    def _passing(self, start: int, stop: int):  # type: ignore[no-untyped-def]
        import numpy as np

        assert self._filter is not None
        numbers = range(start, stop)
        keep = [
            number
            for number, line in zip(numbers, self.session.log.lines(start, stop), strict=True)
            if bool(self._filter.search(self._filtered_text(line))) != self._inverse
        ]
        return np.array(keep, np.int64)

    def _filtered_text(self, line: Line) -> str:
        return f"{line.pid} {self.source(line)} {line.stream} {plain_text(line.text)}"

    def set_filter(self, text: str) -> None:
        """Show only lines that match (`!` first: that don't); pid, name and stream count as text."""
        number = self.selected_number()
        self.filter_text = text
        self._inverse = text.startswith("!")
        expression = text.removeprefix("!")
        try:
            self._filter = re.compile(expression, re.IGNORECASE) if expression else None
        except re.error:
            self._filter = re.compile(re.escape(expression), re.IGNORECASE)
        self._shown = GrowingArray() if self._filter is not None else None
        self._scanned = 0
        self._frame = None
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True)
        self.advance()
        if number is not None and not self.following:
            self.show_number(number)
        self.post_message(self.StatusChanged(self))

    def count(self) -> int:
        """Lines that pass the filter."""
        return self._scanned if self._shown is None else len(self._shown)

    def number(self, index: int) -> int:
        """The log's own number (from 0) of a shown line."""
        return index if self._shown is None else int(self._shown.view()[index])

    def selected_number(self) -> int | None:
        """The log's number of the line under the cursor."""
        return self.number(self.cursor) if self.cursor < self.count() else None

    def show_number(self, number: int, *, by_user: bool = False) -> None:
        """Put the cursor on a line, or on the next one the filter passes."""
        index = number
        if self._shown is not None:
            index = int(self._shown.view().searchsorted(number))
        self.following = False
        self.move_to(index, by_user=by_user, centre=True)
        self.post_message(self.StatusChanged(self))

    def show_after_call(self, call_number: int) -> None:
        """Scroll to the last line that was written before a call had been recorded."""
        low, high = 0, self._scanned
        while low < high:
            middle = (low + high) // 2
            if self.session.log.line(middle).after_call < call_number:
                low = middle + 1
            else:
                high = middle
        if self._scanned:
            self.show_number(max(low - 1, 0))

    def status(self) -> str:
        """Filter, wrap, pause."""
        words = []
        if self.filter_text:
            words.append(
                f"filter {self.filter_text}  {count_text(self.count())} of {count_text(self._scanned)}"
            )
        if self.wrap:
            words.append("wrapped")
        if self.paused:
            words.append(f"PAUSED, {count_text(len(self.session.log) - self._scanned)} more")
        elif self.following and self.session.live:
            words.append("following")
        if self.pattern is not None:
            words.append(f"/{self.pattern.pattern}")
        return "  ".join(words)

    def pause(self) -> None:
        """Hold the view still, or let it go on."""
        self.paused = not self.paused
        self.advance()
        self.post_message(self.StatusChanged(self))

    def toggle_wrap(self) -> None:
        """Wrap long lines, or scroll sideways through them."""
        self.wrap = not self.wrap
        self._frame = None
        self.scroll_to(x=0, animate=False, force=True)
        self.refresh()
        self.post_message(self.StatusChanged(self))

    def source(self, line: Line) -> str:
        """Who wrote a line: the program's name, or the role of one that is not the target's."""
        if line.role not in ("", "target") or line.process < 0:
            return line.role or line.stream
        return self.session.processes[line.process].exe.rsplit("/", 1)[-1]

    def line_text(self, index: int) -> str:
        """The line's text without its gutter, whole."""
        return plain_text(self.session.log.line(self.number(index)).text)

    # Drawing

    def draw(self, index: int, width: int) -> list[Part]:
        """Gutter and text of a line."""
        line = self.session.log.line(self.number(index))
        return [*self._gutter(line), *self._text(line)]

    def _gutter(self, line: Line) -> list[Part]:
        stream = {"stdout": "out", "stderr": "err"}.get(line.stream, "")
        name_width = _GUTTER_NAME if self.size.width >= 70 else 8
        torn = "~" if line.torn else " "
        parts: list[Part] = [
            column(str(line.pid) if line.pid > 0 else "", 7, "number", right=True),
            (" ", "plain"),
        ]
        parts += [column(elide(self.source(line), name_width), name_width, "name")]
        if self.size.width >= 70:
            parts += [(" ", "plain"), column(stream, 3, "dim")]
        return [*parts, column(f"{line.length}B", 6, "dim", right=True), (torn, "warn"), (" ", "plain")]

    def _text(self, line: Line) -> list[Part]:
        parts = styled_parts(line.text)
        if all(style is PLAIN for _, style in parts):
            text = "".join(text for text, _ in parts)
            ink = "error" if _ERROR.search(text) else "warn" if _WARNING.search(text) else "plain"
            return [(text, ink)]
        return [(text, style if style != Style() else "plain") for text, style in parts]

    def render_line(self, y: int) -> Strip:
        """A visible row: a line, or with wrapping a part of one."""
        if not self.wrap:
            return super().render_line(y)
        rows = self._wrapped_rows()
        width = self.scrollable_content_region.width
        if y >= len(rows):
            return Strip.blank(width, self.rich_style)
        index, part = rows[y]
        return self.strip_of(self._wrapped(index, width)[part], index == self.cursor, 0, width)

    def line_at(self, y: int) -> int | None:
        """The line drawn in row y of the view."""
        if not self.wrap:
            return super().line_at(y)
        rows = self._wrapped_rows()
        return rows[y][0] if y < len(rows) else None

    def _wrapped(self, index: int, width: int) -> list[list[Part]]:
        line = self.session.log.line(self.number(index))
        gutter = self._gutter(line)
        return wrapped([*gutter, *self._text(line)], width, sum(len(text) for text, _ in gutter))

    def _wrapped_rows(self) -> list[tuple[int, int]]:
        """(line, part) of each visible row. Only what is visible is wrapped: from the top line on, or
        back from the last one when that is followed or the cursor would fall below the view."""
        size = self.scrollable_content_region
        key = (self.scroll_offset.y, size.width, size.height, self.count(), self.cursor, self.following)
        if self._frame is not None and self._frame[0] == key:
            return self._frame[1]
        rows: list[tuple[int, int]] = []
        top = self.scroll_offset.y
        for index in range(top, min(top + size.height, self.count())):
            rows += [(index, part) for part in range(len(self._wrapped(index, size.width)))]
        if (self.cursor >= top and (self.cursor, 0) not in rows[: size.height]) or self.following:
            last = self.count() - 1 if self.following else self.cursor
            rows = []
            for index in range(last, max(last - size.height, -1), -1):
                rows = [(index, part) for part in range(len(self._wrapped(index, size.width)))] + rows
                if len(rows) >= size.height:
                    break
            rows = rows[-size.height :]
        self._frame = (key, rows[: size.height])
        return self._frame[1]
