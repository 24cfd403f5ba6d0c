"""Which calls are lines of the calls pane: filtered, and runs of one function folded.

Everything is incremental and vectorised: each batch of new rows costs a few numpy passes, whatever
has been recorded before. A run is a stretch of neighbouring rows with the same process, thread and
function; one of at least SHORTEST_FOLD rows is one line, a shorter one a line a row. Lines of closed
runs never change, so a fold keeps its index for good; only the last, open run still grows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.views.growing import GrowingArray, Rows

if TYPE_CHECKING:
    from sessions import Session
    from sessions.part import Part

SHORTEST_FOLD: Final = 3
FAR = 1 << 18
"""Rows that are not looked at yet are lines of their own when there are more of them than these: the end
of a large session is there at once, and is folded as the look gets to it."""
_COLUMNS = ("process", "thread", "function")


class CallFilter(Protocol):
    """What the filter language makes of an expression."""

    def mask(self, session: Session, start: int, stop: int) -> NDArray[np.bool_]: ...


@dataclass(frozen=True)
class CallLine:
    """One line: a single call, the head of a fold, or a call inside an expanded fold."""

    row: int  # index of the (first) call
    count: int  # calls in the fold; 1 for a single call
    position: int  # where its first row stands among the rows that pass the filter
    expanded: bool = False
    inside: bool = False

    @property
    def folded(self) -> bool:
        """Whether this line stands for several calls."""
        return self.count > 1


class CallLines:
    """The lines of a session's calls, grown by `extend` as rows are recorded."""

    def __init__(self, session: Session, call_filter: CallFilter | None = None, fold: bool = True) -> None:
        self.session = session
        self.filter = call_filter
        self.fold = fold
        self.scanned = 0  # rows looked at so far
        self._known = 0  # rows up to here are lines, looked at or not
        self._passing = GrowingArray() if call_filter is not None else None
        self._starts = GrowingArray()  # closed lines: position of the first row
        self._open = 0  # position where the run that still grows starts
        self._open_key: tuple[int, ...] | None = None  # of that run: its process, thread and function
        self._expanded: list[int] = []  # positions of expanded folds, ascending

    @property
    def passing(self) -> int:
        """How many calls pass the filter."""
        return self.scanned if self._passing is None else len(self._passing)

    def extend(self, stop: int | None = None) -> bool:
        """Take in rows recorded since, up to row `stop`; True if there were any."""
        start, stop = self.scanned, len(self.session.calls) if stop is None else stop
        if self.filter is None and len(self.session.calls) - start > FAR:
            self._known = len(self.session.calls)
        if start >= stop:
            return False
        base = self.passing
        rows: Rows | None = None
        if self.filter is not None and self._passing is not None:
            rows = np.flatnonzero(self.filter.mask(self.session, start, stop)).astype(np.int64)
            self._passing.extend(rows + start)
        self.scanned = stop
        if self.fold:
            self._take_runs(self.session.calls.part(start, stop), rows, base)
        return True

    def _take_runs(self, part: Part, rows: Rows | None, base: int) -> None:
        """Close the runs that end inside a part, or the chosen rows of it; the last run stays open."""
        columns = [part.column(name) if rows is None else part.column(name)[rows] for name in _COLUMNS]
        if not len(columns[0]):
            return
        begins = np.zeros(len(columns[0]), bool)
        for column in columns[len(part.processes) == 1 :]:
            begins[1:] |= column[1:] != column[:-1]
        begins[0] = tuple(int(column[0]) for column in columns) != self._open_key
        if self._open_key is None:
            self._open = base
        first = int(begins.argmax())
        if not begins[first]:
            return
        last = len(begins) - 1 - int(begins[::-1].argmax())
        length = base + first - self._open
        self._starts.extend(self._open + np.arange(length if length < SHORTEST_FOLD else 1, dtype=np.int64))
        if first < last:
            # A short run is a line a row: besides their beginnings, these are the second rows of pairs.
            lines = begins[first:last].copy()
            lines[1:] |= ~begins[first + 1 : last] & begins[first : last - 1] & begins[first + 2 : last + 1]
            self._starts.extend(np.flatnonzero(lines) + (base + first))
        self._open, self._open_key = base + last, tuple(int(column[-1]) for column in columns)

    def _open_lines(self) -> int:
        length = self.passing - self._open
        return length if length < SHORTEST_FOLD else 1

    def _folds(self) -> int:
        """Lines when no fold is expanded."""
        return len(self._starts) + self._open_lines() if self.fold else self.passing

    @property
    def indexed(self) -> int:
        """How many lines stand for rows that were looked at; those after them are a row each."""
        return self._folds() + sum(self._size_at(position) for position in self._expanded)

    def __len__(self) -> int:
        return self.indexed + max(self._known - self.scanned, 0)

    def _fold_of(self, position: int) -> int:
        """Index of the line (nothing expanded) that holds a position."""
        if not self.fold:
            return position
        if position >= self._open:
            inside = position - self._open if self.passing - self._open < SHORTEST_FOLD else 0
            return len(self._starts) + inside
        return self._starts.searchsorted(position, "right") - 1

    def _bounds(self, fold: int) -> tuple[int, int]:
        """First position of a line (nothing expanded), and one past its last."""
        if not self.fold:
            return fold, fold + 1
        closed = len(self._starts)
        if fold < closed:
            return self._starts[fold], self._starts[fold + 1] if fold + 1 < closed else self._open
        start = self._open + fold - closed
        return start, self.passing if self._open_lines() == 1 else start + 1

    def _size_at(self, position: int) -> int:
        start, stop = self._bounds(self._fold_of(position))
        return stop - start

    def row_at(self, position: int) -> int:
        """The row index of the n-th passing call."""
        return position if self._passing is None else self._passing[position]

    def rows_of(self, line: CallLine) -> Rows:
        """Row indices of all calls a line stands for."""
        if self._passing is None:
            return np.arange(line.position, line.position + line.count, dtype=np.int64)
        return self._passing.between(line.position, line.position + line.count)

    def line(self, index: int) -> CallLine:
        """The line with that index, expanded folds counted in."""
        if self._known > self.scanned and index >= self.indexed:
            row = self.scanned + index - self.indexed
            return CallLine(row, 1, row)
        before = 0
        for position in self._expanded:
            fold = self._fold_of(position)
            start, stop = self._bounds(fold)
            head = fold + before
            if index < head:
                break
            if index == head:
                return CallLine(self.row_at(start), stop - start, start, expanded=True)
            if index <= head + stop - start:
                member = start + index - head - 1
                return CallLine(self.row_at(member), 1, member, inside=True)
            before += stop - start
        start, stop = self._bounds(index - before)
        return CallLine(self.row_at(start), stop - start, start)

    def toggle(self, line: CallLine) -> None:
        """Expand a fold, or fold it (also from one of its members)."""
        start, stop = self._bounds(self._fold_of(line.position))
        if stop - start == 1:
            return
        if start in self._expanded:
            self._expanded.remove(start)
        else:
            self._expanded.insert(bisect_left(self._expanded, start), start)

    def calls_before(self, row: int) -> int:
        """How many calls that pass the filter stand before a row."""
        return min(row, self.scanned) if self._passing is None else self._passing.searchsorted(row)

    def lines_before(self, row: int) -> int:
        """How many lines stand for calls before a row; the last may be a fold that holds later ones too."""
        if row >= self.scanned:
            return min(self.indexed + row - self.scanned, len(self))
        position = self.calls_before(row)
        return (self.index_of_row(self.row_at(position - 1)) or 0) + 1 if position else 0

    def index_of_row(self, row: int) -> int | None:
        """The line that shows a call, or the nearest following one when the filter hides it."""
        if row >= self.scanned:
            return self.indexed + row - self.scanned if row < self._known else None
        if not self.passing:
            return None
        position = row
        if self._passing is not None:
            position = min(self._passing.searchsorted(row), self.passing - 1)
        fold = self._fold_of(position)
        expanded = bisect_right(self._expanded, position)
        index = fold + sum(self._size_at(other) for other in self._expanded[:expanded])
        start, stop = self._bounds(fold)
        if expanded and self._expanded[expanded - 1] == start:
            index += 1 + position - start - (stop - start)
        return index
