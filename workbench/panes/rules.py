"""Filters at work beside the view: colours and counts of calls and of lines, filters of what is selected."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich.errors import StyleSyntaxError
from rich.style import Style

from workbench.filter import Filter, FilterError, LineFilter, parse, parse_lines
from workbench.filter.apply import term, terms_of, terms_of_line, with_term
from workbench.panes.chooser import Chooser
from workbench.panes.format import count_text
from workbench.panes.parts import column
from workbench.panes.text_lines import TextLine
from workbench.views.log_filter import FilteredLog, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions import Session
    from workbench.app import ShimbenchApp

Of = Literal["calls", "log"]
"""Whether a rule is about calls, or about lines of the log."""

_AT_ONCE = 1 << 16  # calls a filter looks at before the clock is
_LINES_AT_ONCE = 256
_KEPT = 4096  # styles of calls, and of lines


@dataclass
class Colouring:
    """Calls that a filter passes have their name in a style, lines all of their text."""

    text: str
    filter: Filter | LineFilter
    style: Style
    of: Of = "calls"


@dataclass
class CallCounter:
    """How many calls a filter passes, of those looked at so far."""

    text: str
    filter: Filter
    counted: int = 0
    scanned: int = 0
    of: Of = "calls"

    def advance(self, session: Session, deadline: float) -> bool:
        """Look at calls recorded since, until a time of the monotonic clock; True if there were any."""
        began = self.scanned
        while self.scanned < len(session.calls) and time.monotonic() < deadline:
            stop = min(self.scanned + _AT_ONCE, len(session.calls))
            self.counted += int(np.count_nonzero(self.filter.mask(session, self.scanned, stop)))
            self.scanned = stop
        return self.scanned != began


@dataclass
class LineCounter:
    """How many lines of the log a filter passes, of those looked at so far."""

    text: str
    lines: FilteredLog
    of: Of = "log"

    @property
    def counted(self) -> int:
        """Those that pass."""
        return len(self.lines)

    @property
    def scanned(self) -> int:
        """Those looked at."""
        return self.lines.scanned

    def advance(self, session: Session, deadline: float) -> bool:
        """Look at lines written since, until a time of the monotonic clock; True if there were any."""
        began = self.scanned
        while self.scanned < len(session.log) and time.monotonic() < deadline:
            self.lines.advance(min(self.scanned + _LINES_AT_ONCE, len(session.log)))
        return self.scanned != began


Counter = CallCounter | LineCounter


def read_colouring(text: str, of: Of = "calls") -> Colouring:
    """`bold red !ok`: as many words as make a style, then a filter. FilterError when either is none."""
    words = text.split()
    style, used = None, 0
    for count in range(1, len(words) + 1):
        try:
            style, used = Style.parse(" ".join(words[:count])), count
        except StyleSyntaxError:
            if style is not None:
                break
    if style is None or used == 0:
        raise FilterError(f"{words[0] if words else ''!r} is no colour: red, bold green, on blue, #ff8800", 1)
    rest = " ".join(words[used:])
    if not rest:
        raise FilterError("the filter is missing behind the colour", len(text) + 1)
    return Colouring(text, parse(rest) if of == "calls" else parse_lines(rest), style, of)


class Rules:
    """Colours and counters of `app`."""

    def __init__(self, app: ShimbenchApp) -> None:
        self._app = app
        self.colourings: list[Colouring] = []
        self.counters: list[Counter] = []
        self._styles: dict[int, Style | None] = {}
        self._styles_of_lines: dict[tuple[int, int], Style | None] = {}

    def add(self, kind: str, text: str, of: Of = "calls") -> bool:
        """Add a colour or a counter, or take away one that is there; False, with a word, when it is none."""
        held: list[Colouring] | list[Counter] = self.colourings if kind == "colour" else self.counters
        known = [rule for rule in held if (rule.text, rule.of) == (text, of)]
        try:
            if known:
                held.remove(known[0])  # type: ignore[arg-type]
            elif kind == "colour":
                self.colourings.append(read_colouring(text, of))
            elif of == "calls":
                self.counters.append(CallCounter(text, parse(text)))
            else:
                lines = FilteredLog(self._app.session, parse_lines(text), self._app.log_pane.blocks)
                self.counters.append(LineCounter(text, lines))
        except FilterError as error:
            self._app.notify(f"column {error.column}: {error.message}", severity="error")
            return False
        self._styles.clear()
        self._styles_of_lines.clear()
        self._app.calls.look_changed()
        self._app.log_pane.look_changed()
        self.look(time.monotonic() + 0.05)
        return True

    def style(self, row: int) -> Style | None:
        """How the name of a call is drawn; the first rule that passes it decides."""
        if not self.colourings:
            return None
        if row not in self._styles:
            if len(self._styles) > _KEPT:
                self._styles.clear()
            passing = (rule.style for rule in self.colourings
                       if isinstance(rule.filter, Filter)
                       and rule.filter.mask(self._app.session, row, row + 1)[0])  # fmt: skip
            self._styles[row] = next(passing, None)
        return self._styles[row]

    def style_of_line(self, number: int) -> Style | None:
        """How a line of the log is drawn, all of a crash's report alike."""
        if not self.colourings:
            return None
        blocks = self._app.log_pane.blocks
        block = blocks.of(number)
        key = number, len(block.lines) if block is not None else 1  # a report is judged anew when it grows
        if key not in self._styles_of_lines:
            if len(self._styles_of_lines) > _KEPT:
                self._styles_of_lines.clear()
            line = [written(self._app.session, blocks, number)]
            passing = (rule.style for rule in self.colourings
                       if isinstance(rule.filter, LineFilter) and rule.filter.mask(line)[0])  # fmt: skip
            self._styles_of_lines[key] = next(passing, None)
        return self._styles_of_lines[key]

    def look(self, deadline: float) -> None:
        """Count on, until a time of the monotonic clock."""
        if any([counter.advance(self._app.session, deadline) for counter in self.counters]):
            self._app.calls.tell_status()
            self._app.log_pane.tell_status()

    def status(self, of: Of = "calls") -> str:
        """`[!ok] 12  [cuMem*] 34 …`, for the title of the calls pane or the log pane."""
        session = self._app.session
        total = len(session.calls if of == "calls" else session.log)
        return "  ".join(f"[{rule.text}] {count_text(rule.counted)}{'' if rule.scanned == total else ' …'}"
                         for rule in self.counters if rule.of == of)  # fmt: skip

    def choose(self) -> None:
        """List the colours and counters; Enter takes one away."""
        lines = [
            TextLine(
                [column(f" {kind}", 9, "accent"), column(rule.of, 7, "dim"), (rule.text, style)],
                (kind, rule.text, rule.of),
            )
            for kind, rule, style in self._all()
        ]
        chooser = Chooser("COLOURS AND COUNTERS", lines, "none: `:` Colour …, Count …", enter="take away")
        self._app.push_screen(chooser, self._drop)

    def _all(self) -> Iterator[tuple[str, Colouring | Counter, Style | str]]:
        yield from (("colour", rule, rule.style) for rule in self.colourings)
        yield from (("count", rule, "plain") for rule in self.counters)

    def _drop(self, chosen: object) -> None:
        if isinstance(chosen, tuple):
            self.add(*chosen)

    # Apply as filter

    def offer(self) -> None:
        """List filters that the selected call, line or name passes; Enter adds one to the filter."""
        app = self._app
        if app.pane == "log":
            number = app.log_pane.selected_number()
            offers, add = terms_of_line(app.session, number) if number is not None else {}, self.add_to_log
        elif app.pane == "coverage":
            name = app.content.coverage.selected
            offers = {"function": term("fn", name)} if isinstance(name, str) else {}
            add = self.add_to_filter
        else:
            row = app.calls.selected_row()
            offers, add = terms_of(app.session, row) if row is not None else {}, self.add_to_filter
        lines = []
        for what, text in offers.items():
            for offered in (text, f"!{text}"):
                lines.append(TextLine([column(f" {what}", 14, "dim"), (offered, "name")], offered))
        take = functools.partial(_take, add)
        chooser = Chooser("FILTER BY", lines, "select a call, a line or a name first", enter="add")
        app.push_screen(chooser, take)

    def add_to_filter(self, text: str) -> None:
        """Show only calls that pass this as well."""
        app = self._app
        app.asking.filter_calls(with_term(app.calls.filter_text, text))
        if app.pane == "coverage":
            app.show_pane("calls")

    def add_to_log(self, text: str) -> None:
        """Show only lines that pass this as well."""
        self._app.asking.filter_lines(with_term(self._app.log_pane.filter_text, text))


def _take(add: object, text: object) -> None:
    if isinstance(text, str) and callable(add):
        add(text)
