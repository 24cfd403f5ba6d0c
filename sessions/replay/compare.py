"""What the player got, beside what was recorded: results, outputs, and calls that never returned."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from sessions.buffers import Buffer, BufferState, buffer_of
from sessions.diff.values import IGNORED, READY_OR_NOT, Value, Values, polls_of
from sessions.errors import SessionError
from sessions.format import FIRST_PSEUDO_FUNCTION, CallFlag, ItemKind
from sessions.replay.plan import Plan
from sessions.replay.results import Results, State
from sessions.replay.unreturned import Expected, expected_of
from sessions.schema import Function
from sessions.session import Session

Kind = Literal[
    "other result", "other output", "no such function", "crashed", "hung", "not begun", "returned",
    "other end",
]  # fmt: skip

_MOST_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which the replay is not as the recording. `a`: row of the call there; `b`: of the replay's
    session, None where it has none."""

    kind: Kind
    a: int | None
    b: int | None
    detail: str
    repeats: int = 1


@dataclass
class Verdict:
    """What a replay came to. `counts` are of all differences, `differences` the first of them."""

    differences: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    performed: int = 0
    skipped: int = 0  #: calls that needed what another had failed to make
    not_reached: int = 0
    outputs: int = 0  #: buffers that were compared
    outputs_missing: int = 0  #: that one side does not have
    again: Counter[Expected] = field(default_factory=Counter)  #: calls that did not return, as recorded
    cut_off: int = 0  #: calls under way when their process was ended by somebody else

    @property
    def same(self) -> bool:
        """Whether nothing that is compared differs."""
        return not self.counts


@dataclass(frozen=True)
class Ending:
    """How the player's process ended; `begun`: whether it was started at all."""

    signal: int | None = None
    hung: bool = False
    status: int = 0
    begun: bool = True


def compare_replay(
    plan: Plan,
    results: Results,
    replayed: Session | None,
    ending: Ending,
    ignored: tuple[str, ...] = IGNORED,
    pid: int | None = None,
) -> Verdict:
    """Operation by operation, in the order in which they were recorded. Without `replayed`, the session
    that the replay was recorded in (its process `pid`, if it has several), results alone are compared."""
    return _Comparison(plan, results, replayed, ending, ignored, pid).run()


class _Comparison:
    def __init__(
        self,
        plan: Plan,
        results: Results,
        replayed: Session | None,
        ending: Ending,
        ignored: tuple[str, ...],
        pid: int | None,
    ) -> None:
        self.pid = pid
        self.plan, self.results, self.replayed, self.ending = plan, results, replayed, ending
        self.verdict = Verdict()
        self.values_a = Values(plan.session.schema, ignored)
        self.values_b = Values(replayed.schema, ignored) if replayed is not None else None
        self.columns = _columns_of(plan.session, plan.rows)
        self.rows_b = np.full(len(plan.rows), -1, np.int64)
        self._seen: dict[tuple[object, ...], int] = {}
        self._pairs: dict[tuple[int, int, int], list[str]] = {}

    def run(self) -> Verdict:
        states, verdict = self.results.states, self.verdict
        verdict.performed = int((states == State.DONE).sum())
        verdict.skipped = int((states == State.SKIPPED).sum())
        verdict.not_reached = int((states == State.WAITING).sum())
        if self.replayed is not None:
            self._find_rows(self.replayed)
        unreturned = self.columns["flags"] & int(CallFlag.UNRETURNED) != 0
        suspects = (states == State.UNDER_WAY) | (states == State.ABSENT) | unreturned
        suspects |= (states == State.DONE) & self._with_other_results()
        suspects |= self._with_other_payloads()
        for at in np.flatnonzero(suspects).tolist():
            self._operation(at, bool(unreturned[at]))
        self._late_outputs()
        if not self.results.under_way:
            self._end_outside_of_calls()
        verdict.differences.sort(key=lambda one: one.a if one.a is not None else 1 << 62)
        return verdict

    def _end_outside_of_calls(self) -> None:
        """A process that ends in none of its calls, and before all were come to."""
        ending, left = self.ending, self.verdict.not_reached
        if not ending.begun:
            self._add("not begun", None, None, "a process before it hung")
        elif ending.hung:
            what = "the process did not end" if self.verdict.performed else "the library was not loaded"
            self._add("hung", None, None, f"{what} in time")
        elif ending.signal:
            where = "outside of a call" if self.verdict.performed else "while the library was loaded"
            self._add("other end", None, None, f"signal {ending.signal} {where}")
        elif left:
            self._add("other end", None, None, f"the process ended itself with status {ending.status}")

    def _find_rows(self, session: Session) -> None:
        """The rows of the operations in the replay's session: the player's threads call nothing else."""
        names = ("process", "thread", "sequence", "function", "flags", "parent", "result", "payload")
        columns = session.calls.columns(0, len(session.calls), names)
        own = (columns["function"] < FIRST_PSEUDO_FUNCTION) & (columns["parent"] == 0)
        own &= columns["flags"] & int(CallFlag.INTERNAL) == 0
        if self.pid is not None:
            own &= np.isin(columns["process"], [p.index for p in session.processes if p.pid == self.pid])
        self.columns_b = columns
        called = np.isin(self.results.states, (State.DONE, State.UNDER_WAY))
        for number, tid in enumerate(self.results.thread_ids):
            rows = np.flatnonzero(own & (columns["thread"] == tid))
            rows = rows[np.argsort(columns["sequence"][rows])]
            places = np.flatnonzero(called & (self.plan.threads == number))
            self._match(session, places, rows)

    def _match(self, session: Session, places: npt.NDArray[Any], rows: npt.NDArray[Any]) -> None:
        """One after the other; what the player called of its own (a context that it had to ask for) is
        passed over."""
        if len(rows) == len(places):
            self.rows_b[places] = rows
            return
        wanted = [self._name(int(number)) for number in self.columns["function"][places]]
        called = [session.schema.function_name(int(number)) for number in self.columns_b["function"][rows]]
        at = 0
        for place, name in zip(places.tolist(), wanted, strict=True):
            while at < len(called) and called[at] != name:
                at += 1
            if at == len(called):
                return
            self.rows_b[place] = rows[at]
            at += 1

    def _name(self, number: int) -> str:
        return self.plan.session.schema.function_name(number)

    def _with_other_results(self) -> npt.NDArray[np.bool_]:
        recorded, now = self.columns["result"], self.results.results
        polls = np.isin(self.columns["function"], polls_of(self.plan.session.schema))
        later = polls & np.isin(recorded, READY_OR_NOT) & np.isin(now, READY_OR_NOT)
        answer: npt.NDArray[np.bool_] = (recorded != now) & ~later
        return answer

    def _with_other_payloads(self) -> npt.NDArray[np.bool_]:
        """Which calls succeeded on both sides and came to other values."""
        both = (self.rows_b >= 0) & (self.results.states == State.DONE)
        both &= (self.results.results == 0) & (self.columns["result"] == 0)
        answer = np.zeros(len(both), bool)
        if self.replayed is None:
            return answer
        places = np.flatnonzero(both)
        pairs = np.empty(len(places), dtype=[("function", "u2"), ("a", "u4"), ("b", "u4")])
        pairs["function"] = self.columns["function"][places]
        pairs["a"] = self.columns["payload"][places]
        pairs["b"] = self.columns_b["payload"][self.rows_b[places]]
        unique, inverse = np.unique(pairs, return_inverse=True)
        for pair in unique.tolist():
            self._pairs[pair] = self._of_payloads(*pair) if pair[1] and pair[2] else []
        answer[places] = np.array([bool(self._pairs[pair]) for pair in unique.tolist()], bool)[inverse]
        return answer

    def _of_payloads(self, number: int, a: int, b: int) -> list[str]:
        """What differs, as sentences. Outputs that fill later are looked at by themselves."""
        assert self.replayed is not None and self.values_b is not None
        function = self.plan.session.schema.functions[number]
        known = self.replayed.schema.function_id(function.name)
        items = self.plan.session.calls.payload_of(a), self.replayed.calls.payload_of(b)
        mine = self.values_a.of_payload(number, items[0])
        other = self.values_b.of_payload(known if known is not None else number, items[1])
        said = [
            f"{name}: {_shown(mine[name])}, now {_shown(other[name])}"
            for name in sorted(mine.keys() & other.keys())
            if (name.startswith("*") or name == "answer") and mine[name] != other[name]
        ]
        contents = [
            {
                item.index: item.data
                for item in side
                if item.kind == ItemKind.OUT and _is_copied(function, item.index)
            }
            for side in items
        ]
        for place in contents[0].keys() & contents[1].keys():
            said += _unequal(function.params[place].name, contents[0][place], contents[1][place])
        buffers = [{one.argument: one for one in _outputs(side) if not one.sequence} for side in items]
        for place in buffers[0].keys() & buffers[1].keys():
            said += self._of_buffers(function.params[place].name, buffers[0][place], buffers[1][place])
        return said

    def _of_buffers(self, name: str, a: Buffer, b: Buffer) -> list[str]:
        assert self.replayed is not None
        if a.state != BufferState.KEPT or b.state != BufferState.KEPT:
            self.verdict.outputs_missing += 1
            return []
        try:
            recorded = self.plan.session.buffers.content(a.number)
        except SessionError:  # cut off, or damaged
            self.verdict.outputs_missing += 1
            return []
        self.verdict.outputs += 1
        return _unequal(name, recorded, self.replayed.buffers.content(b.number))

    def _late_outputs(self) -> None:
        """Copies that filled memory by the time somebody waited for them."""
        if self.replayed is None:
            return
        mine = self._copies(self.plan.session, self.columns["payload"], None)
        other = self._copies(self.replayed, self.columns_b["payload"], self.rows_b)
        sequences = {
            (int(thread), int(sequence)): at
            for at, (thread, sequence) in enumerate(
                zip(self.columns["thread"].tolist(), self.columns["sequence"].tolist(), strict=True)
            )
        }
        for key, buffer in mine.items():
            at = sequences.get(key)
            row = int(self.rows_b[at]) if at is not None else -1
            if at is None or row < 0:
                continue
            again = other.get((int(self.columns_b["thread"][row]), int(self.columns_b["sequence"][row])))
            if again is None:
                self.verdict.outputs_missing += 1
                continue
            function = self.plan.session.schema.functions[int(self.columns["function"][at])]
            for said in self._of_buffers(function.params[buffer.argument].name, buffer, again):
                self._add("other output", at, row, said)

    def _copies(
        self, session: Session, payloads: npt.NDArray[Any], rows: npt.NDArray[np.int64] | None
    ) -> dict[tuple[int, int], Buffer]:
        """(thread, sequence) of a copy -> what it filled."""
        found = {}
        wanted = payloads if rows is None else payloads[rows[rows >= 0]]
        for payload in np.unique(wanted[wanted != 0]).tolist():
            for buffer in _outputs(session.calls.payload_of(payload)):
                if buffer.sequence:
                    found[buffer.thread, buffer.sequence] = buffer
        return found

    def _operation(self, at: int, unreturned: bool) -> None:
        state, row = int(self.results.states[at]), int(self.rows_b[at])
        b = row if row >= 0 else None
        expected = self._expected(at) if unreturned else None
        if state == State.ABSENT:
            self._add("no such function", at, None, "the library does not export it")
        elif state == State.UNDER_WAY:
            self._under_way(at, b, expected)
        elif state != State.DONE:
            return
        elif expected is Expected.NOTHING:
            self.verdict.cut_off += 1
        elif expected is not None:
            result = self._result(at, int(self.results.results[at]))
            self._add("returned", at, b, f"{expected.value}, now {result}")
        elif int(self.results.results[at]) != int(self.columns["result"][at]):
            said = [
                self._result(at, int(value[at])) for value in (self.columns["result"], self.results.results)
            ]
            self._add("other result", at, b, f"{said[0]}, now {said[1]}")
        elif b is not None:
            key = int(self.columns["function"][at]), int(self.columns["payload"][at])
            for said_of in self._pairs.get((*key, int(self.columns_b["payload"][b])), [])[:1]:
                self._add("other output", at, b, said_of)

    def _under_way(self, at: int, b: int | None, expected: Expected | None) -> None:
        """A call that has not returned, beside what it was to come to."""
        ending = self.ending
        if ending.hung:
            now, kind, said = Expected.HANG, "hung", "it did not return in time"
        elif ending.signal:
            now, kind, said = Expected.CRASH, "crashed", f"signal {ending.signal}"
        else:
            now, kind, said = (
                Expected.EXIT,
                "crashed",
                f"the process ended itself in it, status {ending.status}",
            )
        if expected is Expected.NOTHING:
            self.verdict.cut_off += 1
        elif expected is now:
            self.verdict.again[now] += 1
        else:
            was = f"{expected.value}, now: " if expected is not None else ""
            self._add(cast(Kind, kind), at, b, was + said)

    def _expected(self, at: int) -> Expected:
        process = self.plan.session.processes[self.plan.process]
        return expected_of(process, int(self.columns["duration"][at]), len(self.plan.thread_ids))

    def _result(self, at: int, value: int) -> str:
        schema = self.plan.session.schema
        function = schema.functions[int(self.columns["function"][at])]
        return schema.enum_name(function.result, value) or str(value)

    def _add(self, kind: Kind, at: int | None, b: int | None, detail: str) -> None:
        self.verdict.counts[kind] += 1
        key = kind, None if at is None else int(self.columns["function"][at]), detail
        known = self._seen.get(key)
        kept = self.verdict.differences
        if known is not None:
            one = kept[known]
            kept[known] = Difference(one.kind, one.a, one.b, one.detail, one.repeats + 1)
        elif len(kept) < _MOST_KEPT:
            self._seen[key] = len(kept)
            kept.append(Difference(kind, None if at is None else int(self.plan.rows[at]), b, detail))


def _columns_of(session: Session, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    names = ("thread", "sequence", "function", "flags", "result", "duration", "payload")
    if not len(rows):
        raise SessionError(f"{session.path}: nothing was performed again")
    columns = session.calls.columns(0, int(rows.max()) + 1, names)
    return {name: column[rows] for name, column in columns.items()}


def _outputs(items: list[Any]) -> list[Buffer]:
    return [buffer for item in items if (buffer := buffer_of(item)) is not None and buffer.output]


def _is_copied(function: Function, place: int) -> bool:
    """Whether an out-value is memory that a copy has filled by the time it returns."""
    copies = function.base.startswith("cuMemcpy") and "Async" not in function.base
    return copies and place < len(function.params) and function.params[place].pointee_kind == "void"


def _unequal(name: str, a: bytes, b: bytes) -> list[str]:
    """A sentence on where two contents part; none when they are equal."""
    if a == b:
        return []
    if len(a) != len(b):
        return [f"*{name}: {len(a)} bytes, now {len(b)}"]
    mine, other = np.frombuffer(a, np.uint8), np.frombuffer(b, np.uint8)
    places = np.flatnonzero(mine != other)
    first = int(places[0]) // 4 * 4
    words = a[first : first + 4].hex(), b[first : first + 4].hex()
    said = f"*{name}: {len(places)} of {len(a)} bytes differ, first at {first}: {words[0]}, now {words[1]}"
    if len(words[0]) == 8:
        numbers = [float(np.frombuffer(side, "<f4", 1, first)[0]) for side in (a, b)]
        said += f" (as floats {numbers[0]:.9g}, {numbers[1]:.9g})"
    return [said]


def _shown(value: Value) -> str:
    if isinstance(value, bytes):
        text = value.hex()
        return f"{len(value)} bytes {text[:48]}{'...' if len(text) > 48 else ''}"
    return repr(value) if isinstance(value, str) else str(value)
