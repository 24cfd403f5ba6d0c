"""A plan: the calls of a process, thread by thread, as the player performs them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sessions.diff.values import POLLS
from sessions.errors import SessionError
from sessions.format import FIRST_PSEUDO_FUNCTION, CallFlag, Pseudo
from sessions.items import out_word, words_of
from sessions.replay import records
from sessions.replay.arguments import Translator
from sessions.replay.records import Flag
from sessions.replay.store import Lacking, NotReplayable, Store
from sessions.session import Session

_COLUMNS = (
    "time", "duration", "process", "thread", "sequence", "parent", "function", "flags", "result",
    "arg0", "arg1", "arg2", "payload",
)  # fmt: skip
_HASHED = re.compile(r"cu(Launch|Graph(Launch|Upload)|Memcpy|Memset)")

Columns = dict[str, npt.NDArray[Any]]


@dataclass(eq=False)
class Plan:
    """What is performed, and what is not. Rows are those of the session, from 0."""

    session: Session
    process: int
    rows: npt.NDArray[np.int64]  #: of each operation, in the plan's order
    threads: npt.NDArray[np.int64]  #: of each operation
    thread_ids: list[int]  #: of the recording
    left_out: Counter[str] = field(default_factory=Counter)  #: why -> calls
    missing: Counter[str] = field(default_factory=Counter)  #: why -> inputs that zeros stand for
    missing_bytes: int = 0
    guessed: int = 0  #: launches whose parameters' sizes the shim had not told
    callbacks: int = 0  #: calls whose callback does nothing here
    recorded_buffers: bool = True
    unrecorded: Counter[str] = field(
        default_factory=Counter
    )  #: of `left_out`: for want of what they were given

    @property
    def lacking(self) -> Counter[str]:
        """Why -> calls that are left out or given zeros, since the session lacks what they were given."""
        zeros = {f"zeros instead: {why}": count for why, count in self.missing.items()}
        return self.unrecorded + Counter(zeros | {"calls that were lost": self.lost} if self.lost else zeros)

    @property
    def lost(self) -> int:
        """Calls of the process that were not recorded."""
        return self.session.processes[self.process].lost


class NothingToPerform(SessionError):
    """The process has made no call that can be performed again."""


def processes_with_calls(session: Session, run: int | None = None) -> dict[int, int]:
    """process -> its calls of a library, of the run's targets, in the order in which they first call."""
    chosen = session.newest_run if run is None else run
    mine = [p.index for p in session.processes if p.role == "target" and p.run == chosen]
    counts: dict[int, int] = {}
    for start in range(0, len(session.calls), 1 << 20):
        stop = min(start + (1 << 20), len(session.calls))
        part = session.calls.columns(start, stop, ["process", "function"])
        calling = part["process"][part["function"] < FIRST_PSEUDO_FUNCTION]
        numbers, first, found = np.unique(calling, return_index=True, return_counts=True)
        for at in np.argsort(first).tolist():
            number = int(numbers[at])
            counts[number] = counts.get(number, 0) + int(found[at])
    return {process: count for process, count in counts.items() if process in mine}


def make_plan(
    session: Session,
    process: int,
    path: Path,
    *,
    until: int | None = None,
    ordered: bool = False,
    nvml: bool = True,
) -> Plan:
    """Write the plan of a process's calls to `path`, those up to call number `until` (as displayed).

    `ordered`: one call after the other, in the order in which they began, whatever the threads. Without
    `nvml` calls of NVML are left out: there is none to perform them on. NothingToPerform when none is left.
    """
    return _Maker(session, process, until, ordered, nvml).write(path)


class _Maker:
    def __init__(self, session: Session, process: int, until: int | None, ordered: bool, nvml: bool) -> None:
        self.session = session
        self.ordered = ordered
        self.nvml = nvml
        self.store = Store()
        self.translator = Translator(session, self.store)
        self.rows, self.columns = self._rows(process, until)
        self.plan = Plan(session, process, np.empty(0, np.int64), np.empty(0, np.int64), [])
        self.names: dict[str, int] = {}

    def _rows(self, process: int, until: int | None) -> tuple[npt.NDArray[np.int64], Columns]:
        calls = self.session.calls
        stop = len(calls) if until is None else min(until, len(calls))
        parts: list[tuple[npt.NDArray[np.int64], Columns]] = []
        for start in range(0, stop, 1 << 18):
            end = min(start + (1 << 18), stop)
            columns = calls.columns(start, end, _COLUMNS)
            chosen = np.flatnonzero(columns["process"] == process)
            parts.append((chosen + start, {name: column[chosen] for name, column in columns.items()}))
        if not parts:
            return np.empty(0, np.int64), calls.columns(0, 0, _COLUMNS)
        rows = np.concatenate([part[0] for part in parts])
        return rows, {name: np.concatenate([part[1][name] for part in parts]) for name in _COLUMNS}

    def write(self, path: Path) -> Plan:
        performed = self._performed()
        self._find_primary_contexts()
        threads = self._threads(performed)
        waits = self._waits(performed, threads)
        packed, kept = [], []
        shift: list[list[int]] = [[0] for _ in self.plan.thread_ids]
        for place, at in enumerate(performed.tolist()):
            thread = int(threads[place])
            operation = self._operation(at, thread, waits[place], shift)
            shift[thread].append(shift[thread][-1] + (operation is not None))
            if operation is not None:
                packed.append(operation)
                kept.append(place)
        if not packed:
            pid = self.session.processes[self.plan.process].pid
            raise NothingToPerform(f"{self.session.path}: pid {pid} has no call to perform again")
        chosen = np.array(kept, np.int64)
        self.plan.rows, self.plan.threads = self.rows[performed[chosen]], threads[chosen]
        self.plan.missing, self.plan.missing_bytes = self.translator.missing, self.translator.missing_bytes
        self.plan.guessed, self.plan.callbacks = self.translator.guessed, self.translator.callbacks
        self.plan.recorded_buffers = len(self.session.buffers) > 0
        self._write(path, packed)
        return self.plan

    def _performed(self) -> npt.NDArray[np.int64]:
        """Places of the calls that the program itself made, in the order in which they began."""
        columns, out = self.columns, self.plan.left_out
        pseudo = columns["function"] >= FIRST_PSEUDO_FUNCTION
        for number, why in (
            (Pseudo.TABLE_SLOT, "through a private export table, which only its runtime can call"),
            (Pseudo.UNKNOWN, "of a function that the model does not know"),
        ):
            out[why] += int((columns["function"] == int(number)).sum())
        looked = int(pseudo.sum()) - sum(out.values())
        out["a lookup or the loading of a library, which the player does by itself"] += looked
        inner = ~pseudo & ((columns["parent"] != 0) | (columns["flags"] & int(CallFlag.INTERNAL) != 0))
        out["made by the shim itself"] += int(inner.sum())
        chosen = np.flatnonzero(~pseudo & ~inner)
        order = np.lexsort((columns["sequence"][chosen], columns["time"][chosen]))
        return chosen[order]

    def _find_primary_contexts(self) -> None:
        retain = self.session.schema.function_id("cuDevicePrimaryCtxRetain")
        if retain is None:
            return
        for at in np.flatnonzero(self.columns["function"] == retain).tolist():
            context = out_word(self.session.calls.payload_of(int(self.columns["payload"][at])), 0)
            if context is not None:
                self.translator.primary[context] = int(self.columns["arg1"][at])

    def _threads(self, performed: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The number of each call's thread, in the order in which they first call."""
        ids, first, places = np.unique(
            self.columns["thread"][performed], return_index=True, return_inverse=True
        )
        order = np.argsort(first)
        rank = np.empty(len(ids), np.int64)
        rank[order] = np.arange(len(ids))
        self.plan.thread_ids = ids[order].tolist()
        return rank[places]

    def _waits(
        self, performed: npt.NDArray[np.int64], threads: npt.NDArray[np.int64]
    ) -> list[list[tuple[int, int]]]:
        """For each call: of which threads how many calls have to be over, where that is news."""
        began = self.columns["time"][performed]
        ended = began + self.columns["duration"][performed]
        count = len(self.plan.thread_ids)
        waits: list[list[tuple[int, int]]] = [[] for _ in range(len(performed))]
        if count == 1:
            return waits
        places = [np.flatnonzero(threads == thread) for thread in range(count)]
        for thread in range(count):
            for other in range(count):
                if other == thread:
                    continue
                moments = began[places[other]] if self.ordered else ended[places[other]]
                over = np.searchsorted(
                    moments, began[places[thread]], side="left" if self.ordered else "right"
                )
                news = np.flatnonzero(np.diff(over, prepend=0) > 0)
                for at in news.tolist():
                    waits[int(places[thread][at])].append((other, int(over[at])))
        return waits

    def _operation(
        self, at: int, thread: int, waits: list[tuple[int, int]], shift: list[list[int]]
    ) -> bytes | None:
        """None when the call can't be performed again; then the plan says why."""
        columns = self.columns
        function = self.session.schema.functions.get(int(columns["function"][at]))
        if function is None:
            self.plan.left_out["of a function that the model does not know"] += 1
            return None
        if not self.nvml and function.name.startswith("nvml"):
            self.plan.left_out["of NVML, of which there is none to perform them on"] += 1
            return None
        unreturned = bool(int(columns["flags"][at]) & int(CallFlag.UNRETURNED))
        result = int(columns["result"][at])
        items = self.session.calls.payload_of(int(columns["payload"][at]))
        words = words_of([int(columns[f"arg{i}"][at]) for i in range(3)], items)
        try:
            ready = self.translator.call(function, words, items, result == 0 and not unreturned)
        except NotReplayable as reason:
            self.plan.left_out[f"{function.base}: {reason}"] += 1
            if isinstance(reason, Lacking):
                self.plan.unrecorded[f"{function.base}: {reason}"] += 1
            return None
        number = self.names.setdefault(function.name, len(self.names))
        # Calls that are left out are nobody's to wait for.
        counted = [
            (other, min(shift[other][min(count, len(shift[other]) - 1)], 1 << 31)) for other, count in waits
        ]
        return records.pack_operation(
            int(self.rows[at]) + 1,
            number,
            thread,
            result,
            _flags(function.base) | (int(Flag.UNRETURNED) if unreturned else 0),
            [wait for wait in counted if wait[1]],
            ready.arguments,
            ready.outcomes,
        )

    def _write(self, path: Path, packed: list[bytes]) -> None:
        names = b"".join(name.encode() + b"\0" for name in self.names)
        operations = b"".join(packed)
        names_at = records.HEAD.size
        operations_at = (names_at + len(names) + 63) // 64 * 64
        data_at = (operations_at + len(operations) + 63) // 64 * 64
        with path.open("wb") as out:
            out.write(
                records.HEAD.pack(
                    records.MAGIC, len(self.plan.thread_ids), len(self.names), len(packed),
                    names_at, len(names), operations_at, len(operations), data_at, self.store.size,
                )
            )  # fmt: skip
            out.write(names)
            out.seek(operations_at)
            out.write(operations)
            out.seek(data_at)
            for part in self.store.parts:
                if isinstance(part, int):
                    out.seek(part, 1)
                else:
                    out.write(part)
            out.truncate(data_at + self.store.size)


@cache
def _flags(base: str) -> int:
    flags = Flag(0)
    if _HASHED.match(base):
        flags |= Flag.HASHED
    if base == "cuGraphLaunch":
        flags |= Flag.GRAPH
    if base.startswith("cuStreamBeginCapture"):
        flags |= Flag.CAPTURING
    if base == "cuStreamEndCapture":
        flags |= Flag.CAPTURED
    if base in POLLS:
        flags |= Flag.POLL
    return int(flags)
