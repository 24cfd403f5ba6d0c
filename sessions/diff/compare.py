"""The comparison of two runs: where they part, first divergence first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sessions.diff.align import Block, align
from sessions.diff.coverage import Wants, only
from sessions.diff.pairing import Pair, pair_members
from sessions.diff.sides import Columns, Member, Names, Side, Thread
from sessions.diff.values import IGNORED, Value, Values
from sessions.format import FIRST_PSEUDO_FUNCTION, CallFlag, Pseudo
from sessions.session import Session

Kind = Literal[
    "missing process", "extra process", "missing thread", "extra thread", "missing call", "extra call",
    "other result", "never returned", "other output", "other argument", "other end",
]  # fmt: skip

_LOOKUPS = frozenset({int(Pseudo.DLSYM), int(Pseudo.DLVSYM)})


@dataclass(frozen=True, slots=True)
class Divergence:
    """One way in which B is not as A. `a`, `b`: row indices of calls, None where a side has none."""

    kind: Kind
    role: str
    a: int | None
    b: int | None
    detail: str = ""  #: which value, and what it was on either side
    calls: int = 1  #: for missing and extra calls: how many follow each other
    at_ns: int = 0  #: since the run's start, to put divergences in order
    repeats: int = 1  #: how often the same is said of later calls of the function


@dataclass(frozen=True, slots=True)
class Durations:
    """A function on both sides: calls, and the median and 10th..90th percentile of durations in ns."""

    function: str
    calls: tuple[int, int]
    median: tuple[float, float]
    spread: tuple[tuple[float, float], tuple[float, float]]


@dataclass
class Comparison:
    """What compare() found. `counts` are of all divergences, `divergences` the first of them."""

    a: Side
    b: Side
    pairs: list[Pair] = field(default_factory=list)
    divergences: list[Divergence] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    every: list[Divergence] = field(default_factory=list)  #: each by itself, so many of each thread
    asked_only: tuple[list[str], list[str]] = ([], [])  #: names, export tables and slots of them
    missing_only: tuple[list[str], list[str]] = ([], [])  #: of names and tables: got no answer
    durations: list[Durations] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether nothing that is compared differs."""
        return not self.counts


def compare(
    a: Session,
    b: Session,
    run_a: int | None = None,
    run_b: int | None = None,
    *,
    ignored: tuple[str, ...] = IGNORED,
    limit: int = 1000,
) -> Comparison:
    """Run against run, the newest of each session unless told. SessionError when a run is not there.

    Processes and threads are paired as pairing.py says, calls by what they are; `limit` bounds the
    divergences kept of each thread, not their count.
    """
    names = Names()
    found = Comparison(Side(a, run_a, names), Side(b, run_b, names))
    found.pairs = pair_members(found.a.members, found.b.members)
    work = _Work(found, ignored, limit)
    work.processes()
    found.every = found.divergences
    found.divergences = _folded(found)[:limit]
    wants = Wants.of(found.a), Wants.of(found.b)
    found.asked_only = wants[0].asked_beyond(wants[1]), wants[1].asked_beyond(wants[0])
    found.missing_only = only(wants[0].missing, wants[1].missing)
    found.durations = _durations(found.a, found.b)
    return found


def _folded(found: Comparison) -> list[Divergence]:
    """In the order of time, each with how often its like comes again."""
    first: dict[tuple[object, ...], Divergence] = {}
    for divergence in sorted(found.divergences, key=lambda divergence: divergence.at_ns):
        side, row = (found.a, divergence.a) if divergence.a is not None else (found.b, divergence.b)
        function = None if row is None else side.session.calls.row(row).function
        key = divergence.kind, divergence.role, function, divergence.detail, divergence.calls
        known = first.get(key)
        first[key] = divergence if known is None else replace(known, repeats=known.repeats + 1)
    return list(first.values())


class _Work:
    def __init__(self, found: Comparison, ignored: tuple[str, ...], limit: int) -> None:
        self.found = found
        self.limit = limit
        self.values_a = Values(found.a.session.schema, ignored)
        self.values_b = Values(found.b.session.schema, ignored)
        self._began = found.a.began_ns, found.b.began_ns
        self._differences: dict[tuple[int, int, int], list[tuple[Kind, str]]] = {}

    def processes(self) -> None:
        for pair in self.found.pairs:
            if pair.a is None or pair.b is None:
                kind: Kind = "missing process" if pair.a is not None else "extra process"
                self._add(kind, pair.role, None, None, when=(pair.a, pair.b))
                continue
            self._ends(pair.role, pair.a, pair.b)
            for ours, theirs in pair.threads:
                self._thread(pair.role, ours, theirs)

    def _ends(self, role: str, a: Member, b: Member) -> None:
        ends = [(p.exit_code, p.signal) for p in (a.process, b.process) if p.ended_ns is not None]
        if len(ends) == 2 and ends[0] != ends[1]:
            said = [f"signal {signal}" if signal else f"exit {code}" for code, signal in ends]
            self._add("other end", role, None, None, f"{said[0]}, now {said[1]}", when=(a, b), ended=True)

    def _thread(self, role: str, a: Thread | None, b: Thread | None) -> None:
        if a is None or b is None:
            there = a or b
            if there is not None:
                first = int(there.rows[0])
                kind: Kind = "missing thread" if a is not None else "extra thread"
                self._add(
                    kind,
                    role,
                    first if a is not None else None,
                    first if b is not None else None,
                    calls=len(there.rows),
                )
            return
        kept = 0
        for block in align(a.keys, b.keys):
            if block.same:
                kept += self._equal_calls(role, a, b, block, self.limit - kept)
                continue
            if block.a_end > block.a:
                self._add("missing call", role, int(a.rows[block.a]), None, calls=block.a_end - block.a)
            if block.b_end > block.b:
                self._add("extra call", role, None, int(b.rows[block.b]), calls=block.b_end - block.b)

    def _equal_calls(self, role: str, a: Thread, b: Thread, block: Block, room: int) -> int:
        """The same calls on both sides: their results, outputs and arguments; -> how many differ."""
        mine = {name: column[block.a : block.a_end] for name, column in a.columns.items()}
        other = {name: column[block.b : block.b_end] for name, column in b.columns.items()}
        unequal = (mine["result"] != other["result"]) & (mine["function"] < FIRST_PSEUDO_FUNCTION)
        unequal |= ((mine["result"] == 0) != (other["result"] == 0)) & np.isin(
            mine["function"], list(_LOOKUPS)
        )
        stuck = ((mine["flags"] ^ other["flags"]) & int(CallFlag.UNRETURNED)) != 0
        suspects = unequal | stuck | self._other_payloads(mine, other)
        schema = self.found.a.session.schema
        for number in np.unique(mine["function"]).tolist():
            function = schema.functions.get(int(number))
            if function is not None:
                rows = mine["function"] == number
                for place in self.values_a.scalars(function):
                    suspects |= rows & (mine[f"arg{place}"] != other[f"arg{place}"])
        count = 0
        for at in np.flatnonzero(suspects).tolist():
            said = list(self._of_call(mine, other, at, bool(unequal[at]), bool(stuck[at])))
            for kind, detail in said[:1]:
                count += 1
                if count <= max(room, 1):
                    self._add(kind, role, int(a.rows[block.a + at]), int(b.rows[block.b + at]), detail)
                else:
                    self.found.counts[kind] += 1
        return count

    def _other_payloads(self, a: Columns, b: Columns) -> npt.NDArray[np.bool_]:
        """Which calls' payloads differ in what can be compared; each pair of contents is looked at once."""
        pairs = np.empty(len(a["payload"]), dtype=[("function", "u2"), ("a", "u4"), ("b", "u4")])
        pairs["function"], pairs["a"], pairs["b"] = a["function"], a["payload"], b["payload"]
        unique, first, places = np.unique(pairs, return_index=True, return_inverse=True)
        differs = np.zeros(len(unique), dtype=bool)
        for number, (pair, row) in enumerate(zip(unique.tolist(), first.tolist(), strict=True)):
            if pair[1] and pair[2]:
                self._differences[pair] = self._of_payloads(
                    pair[0], int(b["function"][row]), pair[1], pair[2]
                )
                differs[number] = bool(self._differences[pair])
        answer: npt.NDArray[np.bool_] = differs[places]
        return answer

    def _of_call(self, a: Columns, b: Columns, at: int, unequal: bool, stuck: bool) -> list[tuple[Kind, str]]:
        said: list[tuple[Kind, str]] = []
        if stuck:
            side = "A" if int(a["flags"][at]) & int(CallFlag.UNRETURNED) else "B"
            return [("never returned", f"in {side}")]
        function_a = int(a["function"][at])
        if unequal:
            return [("other result", self._results(function_a, int(a["result"][at]), int(b["result"][at])))]
        key = function_a, int(a["payload"][at]), int(b["payload"][at])
        said += self._differences.get(key, [])
        function = self.found.a.session.schema.functions.get(function_a)
        if function is not None:
            for place in self.values_a.scalars(function):
                mine, other = int(a[f"arg{place}"][at]), int(b[f"arg{place}"][at])
                size = function.params[place].size or 8
                if (mine ^ other) & ((1 << 8 * size) - 1):
                    said.append(("other argument", f"{function.params[place].name}: {mine}, now {other}"))
        return said

    def _of_payloads(self, function_a: int, function_b: int, a: int, b: int) -> list[tuple[Kind, str]]:
        values_a = self.values_a.of_payload(function_a, self.found.a.session.calls.payload_of(a))
        values_b = self.values_b.of_payload(function_b, self.found.b.session.calls.payload_of(b))
        said: list[tuple[Kind, str]] = []
        for name in values_a.keys() & values_b.keys():
            if values_a[name] != values_b[name]:
                kind: Kind = "other output" if name.startswith("*") or name == "answer" else "other argument"
                said.append((kind, f"{name}: {_shown(values_a[name])}, now {_shown(values_b[name])}"))
        return sorted(said)

    def _results(self, function: int, a: int, b: int) -> str:
        if function in _LOOKUPS:
            return f"{'found' if a else 'not found'}, now {'found' if b else 'not found'}"
        schema = self.found.a.session.schema
        known = schema.functions.get(function)
        names = [schema.enum_name(known.result if known else "", value) or str(value) for value in (a, b)]
        return f"{names[0]}, now {names[1]}"

    def _add(
        self,
        kind: Kind,
        role: str,
        a: int | None,
        b: int | None,
        detail: str = "",
        *,
        calls: int = 1,
        when: tuple[Member | None, Member | None] = (None, None),
        ended: bool = False,
    ) -> None:
        self.found.counts[kind] += 1
        moments = []
        for side, row, member, began in zip(
            (self.found.a, self.found.b), (a, b), when, self._began, strict=True
        ):
            if row is not None:
                moments.append(side.session.calls.row(row).time - began)
            elif member is not None:
                process = member.process
                moments.append(((process.ended_ns or 0) if ended else process.started_ns) - began)
        self.found.divergences.append(Divergence(kind, role, a, b, detail, calls, min(moments, default=0)))


def _shown(value: Value) -> str:
    if isinstance(value, bytes):
        text = value.hex()
        return f"{len(value)} bytes {text[:48]}{'...' if len(text) > 48 else ''}"
    return repr(value) if isinstance(value, str) else str(value)


def _durations(a: Side, b: Side) -> list[Durations]:
    """Of every function both sides call; the longest total first."""
    tables = [_by_function(side) for side in (a, b)]
    rows = []
    for name in tables[0].keys() & tables[1].keys():
        times = [tables[0][name], tables[1][name]]
        median = [float(np.median(each)) for each in times]
        spread = [(float(np.percentile(each, 10)), float(np.percentile(each, 90))) for each in times]
        calls = len(times[0]), len(times[1])
        total = float(times[0].sum()) + float(times[1].sum())
        rows.append((total, Durations(name, calls, (median[0], median[1]), (spread[0], spread[1]))))
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])]


def _by_function(side: Side) -> dict[str, npt.NDArray[Any]]:
    parts: dict[int, list[npt.NDArray[Any]]] = {}
    for member in side.members:
        for thread in member.threads:
            functions = thread.columns["function"]
            order = np.argsort(functions, kind="stable")
            numbers, starts = np.unique(functions[order], return_index=True)
            durations = thread.columns["duration"][order]
            for number, times in zip(numbers.tolist(), np.split(durations, starts[1:]), strict=True):
                if number < FIRST_PSEUDO_FUNCTION:
                    parts.setdefault(int(number), []).append(times)
    name = side.session.schema.function_name
    return {name(number): np.concatenate(each).astype(np.float64) for number, each in parts.items()}
