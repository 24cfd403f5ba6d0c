"""A session as it was at a moment: the same interface, so that every view of a session has one of moments.

Calls are those that had been recorded by then. One that was under way is in `in_flight()`; when it stands
between recorded ones (its row was written together with theirs) it has no result yet and never returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sessions import format
from sessions.calls import Calls, Row
from sessions.columns import Array
from sessions.log import Line, Log
from sessions.part import Part
from sessions.processes import Processes
from sessions.session import InFlight, Session

_NONE: npt.NDArray[np.int64] = np.empty(0, np.int64)
_UNRETURNED = np.uint8(format.CallFlag.UNRETURNED)

DISORDER = 4096
"""Rows that one drain of the rings may have put in another order than they returned in, about."""

Mask = Callable[[int, int], npt.NDArray[np.bool_]]
"""Which of the rows start..stop count."""


@dataclass(frozen=True, eq=False)
class Cut:
    """Where a moment lies in the streams of a session.

    `rows` calls stand before it, of which those in `late` had not returned yet; those in `flying` stand
    after it and were under way. All are row indices, ascending.
    """

    time_ns: int
    rows: int
    lines: int
    late: npt.NDArray[np.int64] = field(default_factory=lambda: _NONE)
    flying: npt.NDArray[np.int64] = field(default_factory=lambda: _NONE)

    @property
    def settled(self) -> int:
        """Rows up to here are what they were at the moment: none of them was under way."""
        return int(self.late[0]) if len(self.late) else self.rows


def cut_at(session: Session, time_ns: int) -> Cut:
    """The cut at a time, in ns since the session's start."""
    calls = session.calls
    rows, looked_back = 0, False
    under_way: list[npt.NDArray[np.int64]] = []
    for start, stop in reversed(calls.blocks_begun_by(time_ns)):
        columns = calls.columns(start, stop, ("time", "duration"))
        began = columns["time"] <= time_ns
        returned = columns["time"] + columns["duration"] <= time_ns
        under_way.insert(0, np.flatnonzero(began & ~returned) + start)
        if rows:  # rows of one drain are in order of entry: the block before may hold some that returned late
            looked_back = True
        elif returned.any():
            rows = start + int(np.flatnonzero(returned)[-1]) + 1
        if looked_back:
            break
    found = np.concatenate(under_way) if under_way else _NONE
    lines = session.log.written_by(time_ns)
    return Cut(time_ns, rows, lines, found[found < rows], found[found >= rows])


def cut_at_call(session: Session, row: int) -> Cut:
    """The cut at which a call (by its row index) had just returned, or its process had ended."""
    call = session.calls.columns(row, row + 1, ("time", "duration"))
    return cut_at(session, int(call["time"][0] + call["duration"][0]))


def next_return(session: Session, cut: Cut, step: int, counts: Mask | None = None) -> int | None:
    """The row of the call that returned next after a moment, or (-1) last before it; of those that count."""
    total = len(session.calls)
    low = max(cut.rows - DISORDER, 0) if step > 0 else min(cut.rows + DISORDER, total)
    size = 2 * DISORDER
    while low < total if step > 0 else low > 0:
        start, stop = (low, min(low + size, total)) if step > 0 else (max(low - size, 0), low)
        columns = session.calls.columns(start, stop, ("time", "duration"))
        ends = columns["time"] + columns["duration"]
        fitting = ends > cut.time_ns if step > 0 else ends < cut.time_ns
        if counts is not None and fitting.any():
            fitting &= counts(start, stop)
        rows = np.flatnonzero(fitting)
        if len(rows):
            return start + int(rows[ends[rows].argmin() if step > 0 else ends[rows].argmax()])
        low, size = stop if step > 0 else start, min(2 * size, 1 << 16)
    return None


class MomentCalls(Calls):
    """The calls before a cut."""

    def __init__(self, calls: Calls, cut: Cut) -> None:
        vars(self).update(vars(calls))  # the same files and caches
        self._whole = calls
        self._cut = cut
        self._rows = cut.rows
        self._neighbours: tuple[int, int, dict[str, Array]] = (0, 0, {})
        self._part: Part | None = None
        self.damage: list[str] = []

    @property
    def sealed(self) -> int:
        """How many of its rows lie in chunks."""
        return min(self._whole.sealed, self._rows)

    @property
    def stored_bytes(self) -> int:
        """Of the whole session."""
        return self._whole.stored_bytes

    def refresh(self) -> bool:
        """A moment stands still."""
        return False

    def columns(self, start: int, stop: int, names: Iterable[str] | None = None) -> dict[str, Array]:
        """As Calls.columns(); calls under way have no result, no payload and the duration they had."""
        if not 0 <= start <= stop <= self._rows:
            raise IndexError(f"rows {start}..{stop} of {self._rows}")
        wanted = list(format.COLUMNS) if names is None else list(names)
        more = ["time"] if "duration" in wanted and "time" not in wanted else []
        late = self._cut.late
        late = late[np.searchsorted(late, start) : np.searchsorted(late, stop)] - start
        found = self._whole.columns(start, stop, [*wanted, *more] if len(late) else wanted)
        if not len(late):
            return found
        kept = [name for name in ("flags", "result", "payload") if name in wanted]
        changed: dict[str, Array] = {name: found[name].copy() for name in kept}
        if "flags" in changed:
            changed["flags"][late] |= _UNRETURNED
        for name in ("result", "payload"):
            if name in changed:
                changed[name][late] = 0
        if "duration" in wanted:
            changed["duration"] = found["duration"].copy()
            changed["duration"][late] = self._cut.time_ns - found["time"][late]
        return {name: changed.get(name, found[name]) for name in wanted}

    def pick(self, rows: npt.NDArray[np.int64], names: Iterable[str]) -> dict[str, Array]:
        """As Calls.pick()."""
        return self._picked(rows, names)

    def spans(self) -> list[tuple[int, int, int, int]]:
        """As Calls.spans(), the last one cut."""
        spans = self._whole.spans()
        return [
            (start, min(stop, self._rows), low, high)
            for start, stop, low, high in spans
            if start < self._rows
        ]

    def blocks_begun_by(self, time_ns: int) -> list[tuple[int, int]]:
        """As Calls.blocks_begun_by()."""
        blocks = self._whole.blocks_begun_by(time_ns)
        return [(start, min(stop, self._rows)) for start, stop in blocks if start < self._rows]


class MomentLog(Log):
    """The lines before a cut."""

    def __init__(self, log: Log, count: int) -> None:
        vars(self).update(vars(log))  # the same files and caches
        self._whole = log
        self._until = min(count, len(log))
        self.damage: list[str] = []

    def __len__(self) -> int:
        return self._until

    def refresh(self) -> bool:
        """A moment stands still."""
        return False

    def lines(self, start: int, stop: int) -> list[Line]:
        """As Log.lines()."""
        if not 0 <= start <= stop <= self._until:
            raise IndexError(f"lines {start}..{stop} of {self._until}")
        return self._whole.lines(start, stop)

    def written_by(self, time_ns: int) -> int:
        """As Log.written_by()."""
        return min(self._whole.written_by(time_ns), self._until)


class Moment(Session):
    """`session` at a cut. It is not live: what it shows stands still."""

    def __init__(self, session: Session, cut: Cut) -> None:
        vars(self).update(vars(session))  # what it was recorded on, and from which files it is read
        self.whole = session
        self.cut = cut
        self.live = False
        self.calls = MomentCalls(session.calls, cut)
        self.log = MomentLog(session.log, cut.lines)
        self.events = [event for event in session.events if event.time_ns <= cut.time_ns]
        self._processes = Processes()
        newest = self._newest_caller()
        for event in session.events:
            # A process that made calls is known, even if the event that tells of it is a moment younger.
            named = event.kind == "process" and len(self._processes.list) <= event.fields["index"] <= newest
            if event.time_ns <= cut.time_ns or named:
                self._processes.add(event)

    def _newest_caller(self) -> int:
        """The youngest process that made one of the last calls before the cut; -1 without any."""
        start = max(0, self.cut.rows - format.CHUNK_ROWS)
        column = self.calls.columns(start, self.cut.rows, ("process",))["process"]
        return int(column.max()) if len(column) else -1

    @property
    def damage(self) -> list[str]:
        """What is missing of the whole session."""
        return self.whole.damage

    def refresh(self) -> bool:
        """A moment stands still."""
        return False

    def in_flight(self) -> list[InFlight]:
        """Calls under way at the moment."""
        found = {}
        for row in (*self.cut.late.tolist(), *self.cut.flying.tolist()):
            call = self._in_flight_of(self.whole.calls.row(row))
            found[call.process, call.thread, call.sequence] = call
        for call in self.whole.in_flight():  # still under way, or when the writer died
            key = call.process, call.thread, call.sequence
            if call.started_ns <= self.cut.time_ns and key not in found and not self._recorded(call):
                found[key] = self._aged(call)
        return [call for call in found.values() if call.process < len(self.processes)]

    def _recorded(self, call: InFlight) -> bool:
        """Whether there is a row of a call that the writer saw under way at its last look."""
        calls = self.whole.calls
        start = max(0, len(calls) - format.CHUNK_ROWS)
        last = calls.columns(start, len(calls), ("process", "thread", "sequence"))
        same = (last["sequence"] == call.sequence) & (last["thread"] == call.thread)
        return bool((same & (last["process"] == call.process)).any())

    def _aged(self, call: InFlight) -> InFlight:
        age = self.cut.time_ns - call.started_ns
        return InFlight(call.process, call.thread, call.function, call.started_ns, age, call.args,
                        call.parent, call.caller, call.sequence)  # fmt: skip

    def _in_flight_of(self, row: Row) -> InFlight:
        age = self.cut.time_ns - row.time
        return InFlight(row.process, row.thread, row.function, row.time, age, row.args,
                        row.parent, row.caller, row.sequence)  # fmt: skip

    def now_ns(self) -> int:
        """The moment."""
        return self.cut.time_ns

    def caller_name(self, process: int, address: int) -> str:
        """As Session.caller_name(); a library that became known later is named as well."""
        name = super().caller_name(process, address)
        return name if "+0x" in name else self.whole.caller_name(process, address)


def moment_at(session: Session, time_ns: int) -> Moment:
    """The session as it was at a time, in ns since its start."""
    return Moment(session, cut_at(session, time_ns))


def moment_of_call(session: Session, row: int) -> Moment:
    """The session as it was when a call, by its row index, had just returned."""
    return Moment(session, cut_at_call(session, row))
