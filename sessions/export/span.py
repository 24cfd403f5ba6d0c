"""The part of a session that is exported, call by call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sessions.decode import CallDecoder, DecodedCall

if TYPE_CHECKING:
    from sessions import Event, Line, Process, Session
    from sessions.calls import Row

_BATCH = 65536


class RowFilter(Protocol):
    """What chooses calls: the workbench's filter language, or anything else that looks at rows."""

    def mask(self, session: Session, start: int, stop: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which of the rows start..stop pass."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call with its decoded parts; times in ns since the session's start."""

    row: Row
    decoded: DecodedCall
    caller: str

    @property
    def arguments(self) -> dict[str, str]:
        """What was given, by name; by its place where it has none."""
        given = [argument for argument in self.decoded.arguments if not argument.out]
        return {argument.name or str(place): argument.text for place, argument in enumerate(given)}

    @property
    def outputs(self) -> dict[str, str]:
        """What was written, by the name of the pointer."""
        return {argument.name: argument.text for argument in self.decoded.arguments if argument.out}


@dataclass(frozen=True, slots=True)
class ThreadCalls:
    """A thread of a process, by its index, and its calls."""

    process: int
    thread: int
    calls: Iterator[Call]


class Span:
    """Calls that pass a filter between two moments, and the lines and events of that time."""

    def __init__(
        self,
        session: Session,
        call_filter: RowFilter | None = None,
        since_ns: int = 0,
        until_ns: int | None = None,
        taken: Callable[[], object] = lambda: None,
    ) -> None:
        """`taken` is called for each call that a writer gets: progress."""
        self.session = session
        self._taken = taken
        self._filter = call_filter
        self._since = since_ns
        self._until = until_ns if until_ns is not None else 1 << 62
        self._decoder = CallDecoder(session.schema)
        self._callers: dict[tuple[int, int], str] = {}
        self._rows: list[np.ndarray[tuple[int], np.dtype[np.int64]]] | None = None

    def __len__(self) -> int:
        """How many calls."""
        return sum(len(rows) for rows in self._chosen())

    @property
    def processes(self) -> list[Process]:
        """All processes; an index into them stands in each call."""
        return self.session.processes

    def calls(self) -> Iterator[Call]:
        """In the order of the session, which is that of completion."""
        for rows in self._chosen():
            yield from (self._call(row) for row in rows.tolist())

    def calls_by_thread(self) -> Iterator[ThreadCalls]:
        """Each thread's calls in the order in which they began: a caller before what it called. One thread
        after the other: its calls are decoded as they are taken."""
        numbers = [rows for rows in self._chosen() if len(rows)]
        if not numbers:
            return
        rows = np.concatenate(numbers)
        names = ("process", "thread", "sequence")  # few columns of all calls, and each call by itself
        parts = [self.session.calls.columns(int(part[0]), int(part[-1]) + 1, names) for part in numbers]
        columns = {
            name: np.concatenate(
                [column[name][part - part[0]] for column, part in zip(parts, numbers, strict=True)]
            )
            for name in names
        }
        order = np.lexsort((columns["sequence"], columns["thread"], columns["process"]))
        identity = columns["process"].astype(np.int64) << 32 | columns["thread"].astype(np.int64)
        bounds = np.flatnonzero(np.diff(identity[order])) + 1
        for thread in np.split(order, bounds):
            first = int(thread[0])
            calls = (self._call(row) for row in rows[thread].tolist())
            yield ThreadCalls(int(columns["process"][first]), int(columns["thread"][first]), calls)

    def lines(self) -> Iterator[Line]:
        """Log lines of the time."""
        for number in range(len(self.session.log)):
            line = self.session.log.line(number)
            if self._since <= line.time_ns <= self._until:
                yield line

    def events(self) -> Iterator[Event]:
        """Events of the time."""
        return (event for event in self.session.events if self._since <= event.time_ns <= self._until)

    def _call(self, number: int) -> Call:
        self._taken()
        row = self.session.calls.row(number)
        return Call(row, self._decoder.row(self.session, row), self._caller_name(row.process, row.caller))

    def _caller_name(self, process: int, address: int) -> str:
        """They are few, and each is looked for once."""
        name = self._callers.get((process, address))
        if name is None:
            name = self._callers[process, address] = self.session.caller_name(process, address)
        return name

    def _chosen(self) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
        if self._rows is None:
            self._rows = []
            total = len(self.session.calls)
            for start in range(0, total, _BATCH):
                stop = min(start + _BATCH, total)
                times = self.session.calls.columns(start, stop, ("time",))["time"]
                mask = (times >= self._since) & (times <= self._until)
                if self._filter is not None and mask.any():
                    mask &= self._filter.mask(self.session, start, stop)
                self._rows.append(np.flatnonzero(mask) + start)
        return self._rows
