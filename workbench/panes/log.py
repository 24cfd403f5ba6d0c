"""The log pane: every line of every process in full, with its source, length and place among the calls."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from textual.binding import BindingType
from textual.strip import Strip

from workbench.panes.actions import bindings
from workbench.panes.call_lines import GrowingArray
from workbench.panes.format import count_text, elide, time_text
from workbench.panes.lines import Ink, LineView, Part, column, wrapped
from workbench.panes.sgr import PLAIN, plain_text, styled_parts
from workbench.target.log_grammar import Kind, Level, LogLine, parse_bytes
from workbench.views.log_blocks import Block, LogBlocks
from workbench.views.log_filter import LogFilter, read

if TYPE_CHECKING:
    from sessions import Line, Session
    from sessions.moment import Moment

_GUTTER_NAME = 14
_INKS: dict[Kind, Ink] = {"time": "dim", "source": "name", "key": "dim", "value": "value", "gap": "dim"}


class LogPane(LineView):
    """Lines as they were written, a crash's report marked as one; wrap, filter (views.log_filter)."""

    where: ClassVar[str] = "log"
    BINDINGS: ClassVar[list[BindingType]] = bindings("log")

    def __init__(self, session: Session, *, id: str = "log") -> None:
        super().__init__(id=id)
        self.session = session
        self.following = session.live
        self.paused = False
        self.wrap = False
        self.filter_text = ""
        self._filter: LogFilter | None = None
        self.blocks = LogBlocks()
        self.moment: Moment | None = None  # shown instead of now
        self.marks: Mapping[int, str] = {}  # line -> note
        self._shown: GrowingArray | None = None
        self._scanned = 0
        self._frame: tuple[tuple[int, ...], list[tuple[int, int]]] | None = None

    # Content

    def advance(self) -> None:
        """Take in lines written since."""
        if self.paused or self._scanned == len(self.session.log):
            return
        stop = len(self.session.log)
        grown = self.blocks.update(self.session)
        if self._filter is not None and self._shown is not None:
            self._filter_more(self._filter, self._shown, stop, grown)
        self._scanned = stop
        self.lines_changed()
        self.tell_status()

    def _filter_more(self, filter_: LogFilter, shown: GrowingArray, stop: int, grown: list[int]) -> None:
        """Add the new lines that pass. A report passes or fails as a whole, also for what it was before."""
        import numpy as np

        start = self._scanned
        keep = [
            number
            for number, line in enumerate(self.session.log.lines(start, stop), start)
            if self.blocks.of(number) is None and filter_.passes(line.text, self._filtered_text(line))
        ]
        reports = {block.first: block for number in grown if (block := self.blocks.of(number)) is not None}
        if not reports:
            shown.extend(np.array(keep, np.int64))
            return
        passing = set(keep)
        for block in reports.values():
            if self._report_passes(filter_, block):
                passing.update(block.lines)
        changed = [number for block in reports.values() for number in block.lines if number < start]
        old = np.setdiff1d(shown.between(0, len(shown)), np.array(changed, np.int64))
        self._shown = GrowingArray()
        self._shown.extend(np.union1d(old, np.array(sorted(passing), np.int64)))

    def _report_passes(self, filter_: LogFilter, block: Block) -> bool:
        lines = [self.session.log.line(number) for number in block.lines]
        shown = "\n".join(self._filtered_text(line) for line in lines)
        return filter_.passes(lines[0].text, shown, in_report=True)

    def _filtered_text(self, line: Line) -> str:
        return f"{line.pid} {self.source(line)} {line.stream} {plain_text(line.text)}"

    def set_filter(self, text: str) -> None:
        """Show only lines that pass: `level:warn source:GLOB`, then a regular expression, `!` before it
        for the others; pid, name and stream count as text."""
        number = self.selected_number()
        self.filter_text = text
        self._filter = read(text)
        self._shown = GrowingArray() if self._filter is not None else None
        self._scanned = 0
        self.blocks = LogBlocks()
        self._frame = None
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True)
        self.advance()
        if number is not None and not self.following:
            self.show_number(number)
        self.post_message(self.StatusChanged(self))

    def count(self) -> int:
        """Lines that pass the filter; at a moment, those written by then."""
        if self.moment is not None:
            lines = min(self.moment.cut.lines, self._scanned)
            return lines if self._shown is None else self._shown.searchsorted(lines)
        return self._scanned if self._shown is None else len(self._shown)

    def show_moment(self, moment: Moment | None) -> None:
        """Show the lines that had been written at a moment, the last of them; None: now."""
        self.moment = moment
        self.following = False
        self._frame = None
        self.lines_changed()
        if moment is not None:
            self.move_to(self.count() - 1, by_user=False)
        self.post_message(self.StatusChanged(self))

    def number(self, index: int) -> int:
        """The log's own number (from 0) of a shown line."""
        return index if self._shown is None else self._shown[index]

    def selected_number(self) -> int | None:
        """The log's number of the line under the cursor."""
        return self.number(self.cursor) if self.cursor < self.count() else None

    def show_number(self, number: int, *, by_user: bool = False) -> None:
        """Put the cursor on a line, or on the next one the filter passes."""
        index = number
        if self._shown is not None:
            index = self._shown.searchsorted(number)
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
        words = [] if self.moment is None else [f"AT {time_text(self.moment.now_ns())} s"]
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

    def line_key(self, index: int) -> Hashable | None:
        """A line never changes, but the report it is in grows; wrapped ones are drawn by rows instead."""
        if self.wrap:
            return None
        number = self.number(index)
        block = self.blocks.of(number)
        return number, number in self.marks, None if block is None else (block.first, block.lines[-1])

    def look(self) -> Hashable:
        """Programs by which lines are named may be known later than the lines."""
        return tuple(process.exe for process in self.session.processes)

    def draw(self, index: int, width: int) -> list[Part]:
        """Gutter and text of a line."""
        number = self.number(index)
        line = self.session.log.line(number)
        return [*self._gutter(line, number), *self._text(line, number)]

    def _gutter(self, line: Line, number: int) -> list[Part]:
        stream = {"stdout": "out", "stderr": "err"}.get(line.stream, "")
        name_width = _GUTTER_NAME if self.size.width >= 70 else 8
        torn = "~" if line.torn else " "
        parts: list[Part] = [
            column(str(line.pid) if line.pid > 0 else "", 7, "number", right=True),
            ("*" if number in self.marks else " ", "accent"),
        ]
        parts += [column(elide(self.source(line), name_width), name_width, "name")]
        if self.size.width >= 70:
            parts += [(" ", "plain"), column(stream, 3, "dim")]
        block = self.blocks.of(number)
        mark = " " if block is None else "┌" if number == block.first else "│"
        if block is not None and number == block.lines[-1]:
            mark = "└"
        return [*parts, column(f"{line.length}B", 6, "dim", right=True), (torn, "warn"), (mark, "error")]

    def _text(self, line: Line, number: int) -> list[Part]:
        parts = styled_parts(line.text)
        if any(style is not PLAIN for _, style in parts):
            return [(text, style if style != Style() else "plain") for text, style in parts]
        if self.blocks.of(number) is not None:
            return [(text, "error") for text, _ in parts]
        return coloured(parse_bytes(line.text))

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
        number = self.number(index)
        line = self.session.log.line(number)
        gutter = self._gutter(line, number)
        return wrapped([*gutter, *self._text(line, number)], width, sum(len(text) for text, _ in gutter))

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


def coloured(line: LogLine) -> list[Part]:
    """A parsed line by its spans: what is grave in red, time and names of fields dim."""
    grave: Ink = "error" if line.level >= Level.ERROR else "warn" if line.level >= Level.WARN else "plain"
    inks: dict[Kind, Ink] = {**_INKS, "message": grave, "level": grave}
    if line.form != "slog" and grave != "plain":
        inks |= {"key": grave, "value": grave}
    return [(line.text[span.start : span.end].rstrip("\r"), inks[span.kind]) for span in line.spans]
