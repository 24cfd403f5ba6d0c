"""The calls pane: every intercepted call in order, repeats folded, calls in flight at the bottom."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from textual import events
from textual.binding import BindingType

from sessions import SessionError
from workbench.filter.apply import terms_of
from workbench.panes.actions import bindings
from workbench.panes.call_cells import WITH_CALLER, WITH_PROCESS, WITH_TIME, call_parts, cell_of
from workbench.panes.call_lines import CallFilter, CallLine, CallLines
from workbench.panes.format import count_text, duration_text, elide, time_text
from workbench.panes.lines import LineView
from workbench.panes.outcomes import Outcomes, short_result
from workbench.panes.parts import Part, column
from workbench.views.stops import Stops

if TYPE_CHECKING:
    from sessions import InFlight, Row, Session
    from sessions.decode import CallDecoder
    from sessions.moment import Moment
    from workbench.panes.rules import Rules

_AT_ONCE = 4096  # rows filtered before the next look goes on with the rest, in slices


class CallsPane(LineView):
    """Calls as lines; number, time, process/thread, caller, call, duration as the width allows."""

    where: ClassVar[str] = "calls"
    BINDINGS: ClassVar[list[BindingType]] = bindings("calls")

    def __init__(
        self, session: Session, decoder: CallDecoder, outcomes: Outcomes, *, id: str = "calls"
    ) -> None:
        super().__init__(id=id)
        self.session = session
        self.decoder = decoder
        self.outcomes = outcomes
        self.filter_text = ""
        self._held: int | None = None  # while the view is held still: the rows there were
        self.calls = CallLines(session)
        self.in_flight: list[InFlight] = []
        with contextlib.suppress(SessionError):  # told by the next look
            self.in_flight = list(session.in_flight())
        self.following = session.live
        self._grown = False  # since the lines were last shown
        self._wanted: int | None = None  # row to select once it has been taken in
        self.marks: Mapping[int, str] = {}  # row -> note
        self.moment: Moment | None = None  # shown instead of now
        self.rules: Rules | None = None  # colours and counters, when there is a workbench around it
        self._looks = 0
        self.stops = Stops(session)

    # Content

    @property
    def scanned(self) -> int:
        """Rows that need no look any more: a paused view wants none of those recorded since."""
        whole = self._held is not None and self.calls.scanned >= self._held
        return len(self.session.calls) if whole else self.calls.scanned

    @property
    def paused(self) -> bool:
        """Whether the view is held still."""
        return self._held is not None

    def advance(self, stop: int) -> None:
        """Take in what was recorded since, up to row `stop`; show() shows it."""
        stop = stop if self._held is None else min(stop, self._held)
        if self.calls.scanned >= stop:
            return
        ahead = not self.following and self.cursor >= self.calls.indexed
        row, below = self.selected_row() if ahead else None, self.cursor - self.scroll_offset.y
        self._grown |= self.calls.extend(stop)
        index = None if row is None else self.calls.index_of_row(row)
        if index is not None:  # the lines before the cursor were folded: it stays on its call, where it is
            self.cursor = index
            self.lines_changed()
            self.scroll_to(y=max(index - below, 0), animate=False, force=True)

    def show(self, in_flight_too: bool) -> None:
        """Show what has been taken in; ages of calls in flight move only when asked."""
        if in_flight_too and self.moment is None and not self.paused:
            before = self.in_flight
            self.in_flight = list(self.session.in_flight())
            self._grown |= bool(before or self.in_flight)
        if not self._grown:
            return
        self._grown = False
        self.lines_changed()
        if self._wanted is not None and self._wanted < self.calls.scanned:
            wanted, self._wanted = self._wanted, None
            self.show_row(wanted)
        self.tell_status()

    def count(self) -> int:
        """Lines of recorded calls, then one a call in flight."""
        return self._recorded + len(self.in_flight)

    @property
    def _recorded(self) -> int:
        """Lines of recorded calls: all, or those before the moment."""
        return len(self.calls) if self.moment is None else self.calls.lines_before(self.moment.cut.rows)

    def _line(self, index: int) -> CallLine:
        """A line; of a fold only the calls before the moment."""
        line = self.calls.line(index)
        if self.moment is None or not line.folded:
            return line
        before = self.calls.calls_before(self.moment.cut.rows)
        return replace(line, count=max(min(line.count, before - line.position), 1))

    def show_moment(self, moment: Moment | None) -> None:
        """Show the calls that had been recorded at a moment, and those under way then; None: now."""
        self.moment = moment
        self.following = False
        self.in_flight = list((moment or self.session).in_flight())
        self.lines_changed()
        self.post_message(self.StatusChanged(self))

    def show_end(self, row: int | None = None) -> None:
        """Put the cursor on a call, without opening its fold, or on the last recorded one; calls under way
        below it are shown as well if there is room."""
        index = None if row is None else self.calls.index_of_row(row)
        self.move_to(max(self._recorded - 1, 0) if index is None else index, by_user=False, centre=True)
        self._show_in_flight()

    def _show_in_flight(self) -> None:
        top = self._last_top()
        if top <= self.cursor:
            self.scroll_to(y=top, animate=False, force=True)

    def on_resize(self) -> None:
        """At a moment, what was under way stays in view with the last call."""
        super().on_resize()
        if self.moment is not None:
            self._show_in_flight()

    def status(self) -> str:
        """Filter, how much passes it, whether the view is paused or follows."""
        words = [] if self.moment is None else [f"AT {time_text(self.moment.now_ns())} s"]
        if self.filter_text:
            words.append(f"filter {self.filter_text}  {count_text(self.calls.passing)} of "
                         f"{count_text(len(self.session.calls))}")  # fmt: skip
        behind = len(self.session.calls) - self.calls.scanned
        if self.paused:
            words.append(f"PAUSED, {count_text(behind)} more")
        elif behind:
            words.append(f"indexing, {count_text(behind)} to go")
        elif self.following and self.session.live:
            words.append("following")
        if self.pattern is not None:
            words.append(self.searched())
        if self.rules is not None and self.moment is None and (counts := self.rules.status()):
            words.append(counts)
        return "  ".join(words)

    def set_filter(self, text: str, call_filter: CallFilter | None) -> None:
        """Show only what the filter passes; the selected call stays selected if it does."""
        row = self.selected_row()
        self.filter_text = text
        self._restart(call_filter, self.calls.fold, row)

    def set_folding(self, fold: bool) -> None:
        """Fold repeats, or show a line a call."""
        self._restart(self.calls.filter, fold, self.selected_row())

    def _restart(self, call_filter: CallFilter | None, fold: bool, row: int | None) -> None:
        self.calls = CallLines(self.session, call_filter, fold)
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True)
        self._wanted = None if self.following else row
        self._grown = True
        self.calls.extend(min(_AT_ONCE, len(self.session.calls) if self._held is None else self._held))
        self.show(in_flight_too=False)
        self.lines_changed()
        self.post_message(self.StatusChanged(self))

    def pause(self) -> None:
        """Hold the view still, or let it go on; recording never stops."""
        self._held = self.calls.scanned if self._held is None else None
        self.post_message(self.StatusChanged(self))

    # Selection

    def selected_line(self) -> CallLine | None:
        """The line under the cursor, None on a call in flight."""
        return self._line(self.cursor) if self.cursor < self._recorded else None

    def selected_row(self) -> int | None:
        """Index of the call under the cursor (the first of a fold)."""
        line = self.selected_line()
        return None if line is None else line.row

    def selected_in_flight(self) -> InFlight | None:
        """The call in flight under the cursor."""
        index = self.cursor - self._recorded
        return self.in_flight[index] if 0 <= index < len(self.in_flight) else None

    def show_row(self, row: int, *, by_user: bool = False) -> bool:
        """Put the cursor on a call, opening the fold that hides it; False if there is no such call."""
        index = self.calls.index_of_row(row)
        if index is None:
            return False
        line = self.calls.line(index)
        if line.folded and not line.expanded and line.row != row:
            self.calls.toggle(line)
            self.lines_changed()
            index = self.calls.index_of_row(row) or index
        self.following = False
        self._wanted = None
        self.move_to(index, by_user=by_user, centre=True)
        self.post_message(self.StatusChanged(self))
        return True

    def toggle_fold(self) -> bool:
        """Expand or fold the run under the cursor; False when the line is a single call."""
        line = self.selected_line()
        if line is None or not (line.folded or line.inside):
            return False
        self.following = False
        self.calls.toggle(line)
        index = self.calls.index_of_row(line.row if line.folded else self.calls.row_at(line.position))
        self.lines_changed()
        if index is not None and line.inside:
            self.move_to(index, by_user=False)
        return True

    def next_error(self, step: int) -> bool:
        """Go to the next (1) or previous (-1) call that returned an error."""
        row = self.selected_row()
        at = len(self.session.calls) if row is None else row
        found = self._error_from(at, step)
        return found is not None and self.show_row(found, by_user=True)

    def first_error(self, step: int) -> bool:
        """Go to the first failed call there is, or (-1) to the last."""
        found = self._error_from(-1 if step > 0 else self._searched, step)
        return found is not None and self.show_row(found, by_user=True)

    @property
    def _searched(self) -> int:
        """Rows among which errors are looked for."""
        scanned = self.calls.scanned
        return scanned if self.moment is None else min(scanned, self.moment.cut.rows)

    def failed(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Which of the rows start..stop failed, fatal lookups among them; only those the filter passes."""
        found = self.outcomes.failures(start, stop).copy()
        found[np.array(self.outcomes.fatal_lookups(start, stop), np.int64) - start] = True
        if self.calls.filter is not None and found.any():
            found &= self.calls.filter.mask(self.session, start, stop)
        return found

    def _error_from(self, row: int, step: int) -> int | None:
        total = self._searched
        start = row + 1 if step > 0 else row - 1
        size = 4096  # mostly the next one is near
        while 0 <= start < total:
            low, high = (
                (start, min(start + size, total)) if step > 0 else (max(start - size + 1, 0), start + 1)
            )
            failed = np.flatnonzero(self.failed(low, high)) + low
            if len(failed):
                return int(failed[0] if step > 0 else failed[-1])
            start = high if step > 0 else low - 1
            size = min(2 * size, 65536)
        return None

    # Mouse

    def on_click(self, event: events.Click) -> None:
        """With Ctrl or the right button show only calls alike in the cell under it. That a click selects is
        LineView's: Textual calls the handlers of all classes, unless the cell has become a filter."""
        index = self.line_at(event.y)
        if index is None or index >= self._recorded or not (event.ctrl or event.button == 3):
            return
        what = self.cell_at(index, event.x + self.scroll_offset.x)
        text = terms_of(self.session, self._line(index).row).get(what)
        if text is not None and self.rules is not None:
            event.prevent_default()  # of the lines there are then, another stands here
            self.move_to(index)
            self.rules.add_to_filter(text)

    def cell_at(self, index: int, x: int) -> str:
        """What stands in a column of a line, in the words of terms_of(); "" for what makes no filter."""
        parts = self.draw(index, self.scrollable_content_region.width)
        return cell_of(parts, self.size.width, x)

    # Drawing

    def nothing(self) -> str:
        """Why there is no call."""
        if self.filter_text and len(self.session.calls):
            behind = self.calls.scanned < len(self.session.calls)
            return "" if behind else "no call passes the filter; Esc shows all"
        return "no call has been recorded yet"

    def line_key(self, index: int) -> Hashable | None:
        """A recorded call never changes; one in flight grows older."""
        if index >= self._recorded:
            return None
        line = self._line(index)
        return line, self._marked(line)

    def look(self) -> Hashable:
        """What names resolve to, and what unanswered ones do, comes to be known later than the calls."""
        known = sum(len(process.modules) for process in self.session.processes)
        return self.outcomes.version, known, self.moment, self._looks

    def look_changed(self) -> None:
        """Draw all lines anew: they are coloured by other rules."""
        self._looks += 1
        self.refresh()
        self.tell_status()

    def draw(self, index: int, width: int) -> list[Part]:
        """One call, fold or call in flight."""
        recorded = self._recorded
        if index >= recorded:
            return self._draw_in_flight(index - recorded, width)
        line = self._line(index)
        if line.folded:
            return self._draw_fold(line, width)
        return self._draw_call(line, width)

    def _draw_call(self, line: CallLine, width: int) -> list[Part]:
        session = self.moment or self.session
        row = session.calls.row(line.row)
        mark: Part = ("*" if self._marked(line) else " ", "accent")
        parts = [mark, *self._gutter(row)]
        after: list[Part] = []
        if self.size.width >= WITH_TIME:
            after = [(" ", "plain"), column(duration_text(row.duration), 9, "dim", right=True)]
        room = max(width - sum(len(text) for text, _ in (*parts, *after)), 12)
        call = self.decoder.call(session, line.row)
        ink = self.outcomes.ink(row.function, row.result, row.flags)
        if self.moment is not None and line.row in self.moment.cut.late:
            call, ink = replace(call, result="in flight"), "warn"
        if line.inside:  # its head names the function
            call = replace(call, name=" ")
        shown = call_parts(call, ink, room)
        style = self.rules.style(line.row) if self.rules is not None else None
        if style is not None:
            shown[0] = (shown[0][0], style)
        if after and width < 10_000:
            shown.append((" " * max(room - sum(len(text) for text, _ in shown), 0), "plain"))
        return [*parts, *shown, *after]

    def _gutter(self, row: Row) -> list[Part]:
        """Number, and as the width allows time, process/thread and caller; then the nesting's indent."""
        view = self.size.width
        parts = [column(str(row.number), 7, "number", right=True)]
        if view >= WITH_TIME:
            parts += [(" ", "plain"), column(time_text(row.time), 11, "dim", right=True)]
        if view >= WITH_PROCESS:
            process = self.session.processes[row.process]
            parts += [("  ", "plain"), column(f"{process.pid}/{row.thread}", 15, "dim")]
        if view >= WITH_CALLER:
            parts += [("  ", "plain"), column(self.caller(row.process, row.caller), 16, "dim")]
        return [*parts, ("  " + "  " * min(row.nesting, 8), "plain")]

    def _marked(self, line: CallLine) -> bool:
        """Whether a call of the line has a mark."""
        if not line.folded:
            return line.row in self.marks
        return bool(self.marks) and bool(np.isin(list(self.marks), self.calls.rows_of(line)).any())

    def _draw_fold(self, line: CallLine, width: int) -> list[Part]:
        row = self.session.calls.row(line.row)
        sign = "▾" if line.expanded else "*" if self._marked(line) else "▸"
        parts: list[Part] = [(sign, "accent"), *self._gutter(row)]
        name = self.session.schema.function_name(row.function)
        parts += [(f"{count_text(line.count)} x ", "head"), (name, "name"), ("  ", "dim")]
        for words, ink, count in self.outcomes.tally(self.calls.rows_of(line), row.function):
            parts.append((f"{count_text(count)} {words}  ", ink))
        return parts

    def _draw_in_flight(self, index: int, width: int) -> list[Part]:
        call = self.in_flight[index]
        name = self.session.schema.function_name(call.function)
        process = self.session.processes[call.process]
        caller = self.caller(call.process, call.caller)
        age = duration_text(int(call.age_ns))
        text = f"{name}(…) by {caller} in {process.pid}/{call.thread}"
        stop = self.stops.of((call.process, call.thread, call.sequence))
        parts: list[Part] = [("■", "fatal") if stop else (" ", "plain"), column("now", 7, "warn", right=True),
                             ("  ", "plain")]  # fmt: skip
        state: Part = ("  in flight ", "warn")
        if stop is not None and stop.result is None:
            state = ("  STOPPED ", "fatal")
        elif stop is not None and stop.result is not None:
            function = self.session.schema.functions.get(call.function)
            result = self.session.schema.enum_name(function.result if function else "CUresult", stop.result)
            state = (f"  STOPPED -> {short_result(result or str(stop.result))} ", "fatal")
        room = max(width - 10 - len(age) - len(state[0]), 8)
        return [*parts, (elide(text, room), "name"), state, (age, "warn")]

    def caller(self, process: int, address: int) -> str:
        """The library a call came from."""
        return self.session.caller_name(process, address).split("+", 1)[0] or "?"

    def line_text(self, index: int) -> str:
        """The whole call, for search and copy."""
        if index >= self._recorded:
            return "".join(text for text, _ in self._draw_in_flight(index - self._recorded, 400))
        line = self._line(index)
        if line.folded:
            return "".join(text for text, _ in self._draw_fold(line, 400)).strip()
        return self.decoder.text(self.moment or self.session, line.row)
