"""The log pane: every line of every process in full, with its source, length and place among the calls."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.strip import Strip

from workbench.filter.apply import terms_of_line
from workbench.filter.lines import writer
from workbench.panes.actions import bindings
from workbench.panes.format import count_text, elide, time_text
from workbench.panes.lines import LineView
from workbench.panes.parts import Ink, Part, column, wrapped
from workbench.panes.sgr import PLAIN, plain_text, styled_parts
from workbench.target.log_grammar import Kind, Level, LogLine, parse_bytes
from workbench.views.log_filter import FilteredLog

if TYPE_CHECKING:
    from sessions import Line, Session
    from sessions.moment import Moment
    from workbench.filter import LineFilter
    from workbench.panes.rules import Rules
    from workbench.views.log_blocks import LogBlocks

_GUTTER_NAME = 14
_AT_ONCE = 1024  # lines looked at before the next look goes on with the rest, in slices
_INKS: dict[Kind, Ink] = {"time": "dim", "source": "name", "key": "dim", "value": "value", "gap": "dim"}


class LogPane(LineView):
    """Lines as they were written, a crash's report marked as one; wrapped, filtered."""

    where: ClassVar[str] = "log"
    BINDINGS: ClassVar[list[BindingType]] = bindings("log")

    def __init__(self, session: Session, *, id: str = "log") -> None:
        super().__init__(id=id)
        self.session = session
        self.following = session.live
        self._held: int | None = None  # while the view is held still: the lines there were
        self.wrap = False
        self.filter_text = ""
        self._lines = FilteredLog(session)
        self._grown = False  # since the lines were last shown
        self._wanted: int | None = None  # line to select once it has been looked at
        self.moment: Moment | None = None  # shown instead of now
        self.marks: Mapping[int, str] = {}  # line -> note
        self.rules: Rules | None = None  # colours and counters, when there is a workbench around it
        self._looks = 0
        self._frame: tuple[tuple[int, ...], list[tuple[int, int]]] | None = None

    # Content

    @property
    def scanned(self) -> int:
        """Lines that need no look any more: a paused view wants none of those written since."""
        whole = self._held is not None and self._lines.scanned >= self._held
        return len(self.session.log) if whole else self._lines.scanned

    @property
    def paused(self) -> bool:
        """Whether the view is held still."""
        return self._held is not None

    def advance(self, stop: int) -> None:
        """Take in lines written since, up to number `stop`; show() shows them."""
        stop = stop if self._held is None else min(stop, self._held)
        if self._lines.scanned < stop:
            self._lines.advance(stop)
            self._grown = True

    @property
    def shown(self) -> bool:
        """Whether all that has been taken in is shown."""
        return not self._grown

    def show(self) -> None:
        """Show what has been taken in."""
        if not self._grown:
            return
        self._grown = False
        self.lines_changed()
        if self._wanted is not None and self._wanted < self._lines.scanned:
            self.show_number(self._wanted)
        self.tell_status()

    @property
    def blocks(self) -> LogBlocks:
        """The reports in it."""
        return self._lines.blocks

    def set_filter(self, text: str, line_filter: LineFilter | None) -> None:
        """Show only what the filter passes; the selected line stays selected if it does."""
        number = self.selected_number()
        self.filter_text = text
        self._lines = FilteredLog(self.session, line_filter, self.blocks)
        self._frame = None
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True)
        self.advance(min(_AT_ONCE, len(self.session.log)))
        self._wanted = None if self.following else number
        self._grown = True
        self.show()
        self.post_message(self.StatusChanged(self))

    def count(self) -> int:
        """Lines that pass the filter; at a moment, those written by then."""
        if self.moment is not None:
            return self._lines.before(self.moment.cut.lines)
        return len(self._lines)

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
        return self._lines.number(index)

    def selected_number(self) -> int | None:
        """The log's number of the line under the cursor."""
        return self.number(self.cursor) if self.cursor < self.count() else None

    def show_number(self, number: int, *, by_user: bool = False) -> None:
        """Put the cursor on a line, or on the next one the filter passes; on one that has not been looked at
        yet as soon as it has."""
        self.following = False
        self._wanted = None if number < self._lines.scanned else number
        self.move_to(self._lines.before(number), by_user=by_user, centre=True)
        self.post_message(self.StatusChanged(self))

    def show_after_call(self, call_number: int) -> None:
        """Scroll to the last line that was written before a call had been recorded."""
        low, high = 0, self._lines.scanned
        while low < high:
            middle = (low + high) // 2
            if self.session.log.line(middle).after_call < call_number:
                low = middle + 1
            else:
                high = middle
        if self._lines.scanned:
            self.show_number(max(low - 1, 0))

    def status(self) -> str:
        """Filter, wrap, pause."""
        words = [] if self.moment is None else [f"AT {time_text(self.moment.now_ns())} s"]
        if self.filter_text:
            words.append(
                f"filter {self.filter_text}  {count_text(self.count())} of {count_text(self._lines.scanned)}"
            )
        if self.wrap:
            words.append("wrapped")
        behind = len(self.session.log) - self._lines.scanned
        if self.paused:
            words.append(f"PAUSED, {count_text(behind)} more")
        elif behind:
            words.append(f"reading, {count_text(behind)} to go")
        elif self.following and self.session.live:
            words.append("following")
        if self.pattern is not None:
            words.append(self.searched())
        if self.rules is not None and self.moment is None and (counts := self.rules.status("log")):
            words.append(counts)
        return "  ".join(words)

    def pause(self) -> None:
        """Hold the view still, or let it go on."""
        self._held = self._lines.scanned if self._held is None else None
        self.post_message(self.StatusChanged(self))

    def toggle_wrap(self) -> None:
        """Wrap long lines, or scroll sideways through them."""
        self.wrap = not self.wrap
        self._frame = None
        self.scroll_to(x=0, animate=False, force=True)
        self.refresh()
        self.post_message(self.StatusChanged(self))

    def look_changed(self) -> None:
        """Draw all lines anew: they are coloured by other rules."""
        self._looks += 1
        self._frame = None
        self.refresh()
        self.tell_status()

    def line_text(self, index: int) -> str:
        """The line's text without its gutter, whole."""
        return plain_text(self.session.log.line(self.number(index)).text)

    def texts(self, start: int, stop: int) -> Iterable[str]:
        """What is searched, read together where lines lie side by side."""
        if self.filter_text:
            return super().texts(start, stop)
        return (plain_text(line.text) for line in self.session.log.lines(start, stop))

    # Mouse

    def on_click(self, event: events.Click) -> None:
        """With Ctrl or the right button show only lines alike in the cell under it."""
        index = self.line_at(event.y)
        if index is None or self.wrap or not (event.ctrl or event.button == 3):
            return
        what = self.cell_at(index, event.x + self.scroll_offset.x)
        text = terms_of_line(self.session, self.number(index)).get(what)
        if text is not None and self.rules is not None:
            event.prevent_default()  # of the lines there are then, another stands here
            self.move_to(index)
            self.rules.add_to_log(text)

    def cell_at(self, index: int, x: int) -> str:
        """What stands in a column of a line, in the words of terms_of_line(); "" for what makes no filter."""
        line = self.session.log.line(self.number(index))
        names = ["pid", "", "process", *(("", "stream") if self.size.width >= 70 else ()), "length"]
        at = 0
        for number, (text, _) in enumerate(self._gutter(line, self.number(index))):
            at += len(text)
            if x < at:
                return names[number] if number < len(names) else ""
        return cell_of_text(parse_bytes(line.text), x - at)

    # Drawing

    def nothing(self) -> str:
        """Why there is no line."""
        if self.scanned < len(self.session.log):
            return "reading …"
        if self.filter_text and len(self.session.log):
            return "no line passes the filter; Esc shows all"
        return "nothing has been written yet"

    def line_key(self, index: int) -> Hashable | None:
        """A line never changes, but the report it is in grows; wrapped ones are drawn by rows instead."""
        if self.wrap:
            return None
        number = self.number(index)
        block = self.blocks.of(number)
        return number, number in self.marks, None if block is None else (block.first, block.lines[-1])

    def look(self) -> Hashable:
        """Programs by which lines are named may be known later than the lines."""
        return self._looks, tuple(process.exe for process in self.session.processes)

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
        parts += [column(elide(writer(self.session, line), name_width), name_width, "name")]
        if self.size.width >= 70:
            parts += [(" ", "plain"), column(stream, 3, "dim")]
        block = self.blocks.of(number)
        mark = " " if block is None else "┌" if number == block.first else "│"
        if block is not None and number == block.lines[-1]:
            mark = "└"
        return [*parts, column(f"{line.length}B", 6, "dim", right=True), (torn, "warn"), (mark, "error")]

    def _text(self, line: Line, number: int) -> list[Part]:
        parts = styled_parts(line.text)
        style = self.rules.style_of_line(number) if self.rules is not None else None
        if style is not None:
            return [(text, style) for text, _ in parts]
        if any(style is not PLAIN for _, style in parts):
            return [(text, style if style != Style() else "plain") for text, style in parts]
        if self.blocks.of(number) is not None:
            return [(text, "error") for text, _ in parts]
        return coloured(parse_bytes(line.text))

    def visible_row(self, y: int) -> Strip:
        """A visible row: a line, or with wrapping a part of one."""
        if not self.wrap or not self.count():
            return super().visible_row(y)
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


def cell_of_text(line: LogLine, x: int) -> str:
    """What a column of a line's text belongs to: its source, level, message, or `field KEY`."""
    key = ""
    for span in line.spans:
        text = line.text[span.start : span.end]
        key = text.strip(" =") if span.kind == "key" else key
        if x < span.end:
            kind = span.kind
            return f"field {key}" if kind in ("key", "value") else kind if kind != "gap" else ""
    return ""


def coloured(line: LogLine) -> list[Part]:
    """A parsed line by its spans: what is grave in red, time and names of fields dim."""
    grave: Ink = "error" if line.level >= Level.ERROR else "warn" if line.level >= Level.WARN else "plain"
    inks: dict[Kind, Ink] = {**_INKS, "message": grave, "level": grave}
    if line.form != "slog" and grave != "plain":
        inks |= {"key": grave, "value": grave}
    return [(line.text[span.start : span.end].rstrip("\r"), inks[span.kind]) for span in line.spans]
