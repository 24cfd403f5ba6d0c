"""Coverage: every name that was asked for or called; who asked and how, and what became of it.

It counts one run of a session, the newest unless told. Calls are counted by numpy over whole
columns; only lookups, which are few, are looked at one by one.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench.views.decode import INTERNAL, UNRETURNED, CallDecoder
from workbench.views.items import Answer, ItemKind, Pseudo, answer_of, out_word, string_of, words_of
from workbench.views.runtimes import EFFECTS, AbsenceRules, Ladders, Verdict, library_major, runtime_version

if TYPE_CHECKING:
    from sessions import Session
    from sessions.blobs import Item

BATCH = 1 << 20
LINK_TIME = 16  # flag of a lookup: bound by the loader
PER_THREAD = 2  # flag of cuGetProcAddress: the per-thread default stream's entry point
_PROC_ADDRESS = ("cuGetProcAddress", "cuGetProcAddress_v2", "cuGetProcAddress_v2_ptsz")
_COUNTED = ("process", "function", "result", "flags")
_OF_LOOKUPS = ("process", "function", "result", "flags", "caller", "payload", "arg0", "arg1", "arg2")
_SIZE = 1 << 16

#: Ranks of rows, the order in which they are shown.
RANK_MISSING = {"fatal-at-init": 0, "fatal-later": 1, "unknown": 2, "harmless": 5}
RANK_REFUSED, RANK_ANSWERED = 3, 4

Column = npt.NDArray[np.generic]


@dataclass
class Asked:
    """Requests of one library for one name in one way; `answered` is the last answer."""

    by: str
    how: str  #: link, dlsym, proc-address or table
    version: int
    flags: int
    answered: str | None  #: the export that was given; "an unknown address" when the model has none
    count: int
    first_call: int  #: row index of the first request
    effect: str = ""  #: of its absence, when not answered
    reason: str = ""


@dataclass
class CoverageRow:
    """One name. `effect` and `reason` speak of its absence, and are "" and "" when it is answered."""

    name: str
    asked: list[Asked]
    answered: bool
    performed: bool | None
    calls: int
    last_result: str | None
    effect: str
    rank: int
    error: int | None = None  #: the cudaError to expect, when known
    reason: str = ""
    first_call: int | None = None  #: row index of the first request that got no answer


@dataclass
class _Request:
    """All requests alike."""

    name: str  #: as asked
    asked: Asked
    process: int
    uuid: str = ""


@dataclass
class _Name:
    requests: dict[tuple[str, str, int, int], _Request] = field(default_factory=dict)


class Coverage:
    """Names of one run. `update` takes in what a session has new, `rows` says what is known."""

    def __init__(self, run: int | None = None) -> None:
        self.wanted_run = run
        self.run = -1
        self._session: Session | None = None
        self._scanned = 0
        self._reset()

    def _reset(self) -> None:
        self._calls = np.zeros(_SIZE, np.int64)
        self._results: dict[int, int] = {}
        self._names: dict[str, _Name] = {}
        self._newest_asked: dict[tuple[int, str], int] = {}
        self._callers: dict[tuple[int, int], str] = {}
        self._rows: list[CoverageRow] | None = None

    def update(self, session: Session) -> bool:
        """Take in rows recorded since; True if that may have changed rows()."""
        if session is not self._session:
            self._begin(session)
        run = self.wanted_run
        if run is None:
            run = max((process.run for process in session.processes), default=-1)
        if run != self.run:
            self.run = run
            self._reset()
        # Rows of other runs are skipped below, so a run that starts needs no second look at the past.
        in_run = np.zeros(_SIZE, bool)
        in_run[[process.index for process in session.processes if process.run == run]] = True
        total = len(session.calls)
        changed = self._scanned < total
        while self._scanned < total:
            stop = min(self._scanned + BATCH, total)
            self._take(session, self._scanned, stop, in_run)
            self._scanned = stop
        if changed:
            self._rows = None
        return changed

    def rows(self) -> list[CoverageRow]:
        """Every name, what is fatal first, what nobody misses last."""
        if self._rows is None:
            self._rows = self._make_rows()
        return self._rows

    def _begin(self, session: Session) -> None:
        self._session = session
        self._scanned = 0
        self.run = -1
        schema = session.schema
        self._decoder = CallDecoder(schema)
        self._rules = AbsenceRules(schema)
        self._ladders = Ladders(schema)
        self._proc_ids = {n for n in map(schema.function_id, _PROC_ADDRESS) if n is not None}
        self._table_id = schema.function_id("cuGetExportTable")
        self._is_lookup = np.zeros(_SIZE, bool)
        lookups = {int(Pseudo.DLSYM), int(Pseudo.DLVSYM), *self._proc_ids}
        self._is_lookup[sorted(lookups | ({self._table_id} if self._table_id is not None else set()))] = True

    # Taking in

    def _take(self, session: Session, start: int, stop: int, in_run: npt.NDArray[np.bool_]) -> None:
        columns = session.calls.columns(start, stop, _COUNTED)
        function = columns["function"].astype(np.int64)
        mine = in_run[columns["process"]]
        mine &= (columns["flags"] & INTERNAL) == 0
        if not mine.all():
            function = np.where(mine, function, 0)
        self._calls += np.bincount(function, minlength=_SIZE)
        self._calls[0] = 0
        rows = np.flatnonzero((columns["flags"] & UNRETURNED) == 0)
        last = np.full(_SIZE, -1, np.int64)
        last[function[rows]] = rows  # of equal places the last one stays
        for number in np.flatnonzero(last >= 0).tolist():
            self._results[number] = int(columns["result"][last[number]])
        lookups = np.flatnonzero(self._is_lookup[function])
        if not len(lookups):
            return
        columns = session.calls.columns(start, stop, _OF_LOOKUPS)
        picked = {name: column[lookups].tolist() for name, column in columns.items()}
        for place, at in enumerate(lookups.tolist()):
            self._take_lookup(session, start + at, {name: values[place] for name, values in picked.items()})

    def _take_lookup(self, session: Session, row: int, call: dict[str, int]) -> None:
        items = session.calls.payload_of(call["payload"])
        by = self._library(session, call["process"], call["caller"])
        if call["function"] == self._table_id:
            self._take_table(row, call, items, by)
            return
        name = string_of(items, 0)
        if not name:
            return  # the runtime's first request is for "", which has no answer
        answer = answer_of(items)
        if call["function"] in self._proc_ids:
            words = words_of((call["arg0"], call["arg1"], call["arg2"]), items)
            version, flags = call["arg2"] & 0xFFFFFFFF, words[3] if len(words) > 3 else 0
            pointer = answer.address if answer is not None else out_word(items, 1)
            given = call["result"] == 0 and bool(pointer)
            key = self._ladders.export_for(name, version, bool(flags & PER_THREAD)) or name
            how = "proc-address"
            asker = call["process"], by
            self._newest_asked[asker] = max(version, self._newest_asked.get(asker, 0))
        else:
            if not name.startswith(("cu", "nvml")):
                return
            version, flags, key = 0, 0, name
            given = call["result"] == 1
            how = "link" if call["flags"] & LINK_TIME else "dlsym"
        answered = self._answer(answer, given, name)
        self._note(key, name, by, how, version, flags, answered, row, call["process"])

    def _take_table(self, row: int, call: dict[str, int], items: list[Item], by: str) -> None:
        data = next((item.data for item in items if item.kind == ItemKind.TABLE), b"")
        if len(data) < 16:
            return
        assert self._session is not None
        text = str(uuid.UUID(bytes=data[:16]))
        table = self._session.schema.model.get("tables", {}).get(text)
        name = f"table {table['name']} {text[:8]}" if table else f"table {text}"
        answered = name if call["result"] == 0 else None
        request = self._note(name, name, by, "table", 0, 0, answered, row, call["process"])
        request.uuid = text

    def _answer(self, answer: Answer | None, given: bool, name: str) -> str | None:
        if not given:
            return None
        if answer is None:
            return name
        if not answer.function:
            return "an unknown address"
        assert self._session is not None
        return self._session.schema.function_name(answer.function)

    def _note(
        self, key: str, name: str, by: str, how: str, version: int, flags: int, answered: str | None,
        row: int, process: int,
    ) -> _Request:  # fmt: skip
        requests = self._names.setdefault(key, _Name()).requests
        request = requests.get((by, how, version, flags))
        if request is None:
            asked = Asked(by, how, version, flags, answered, 0, row)
            request = requests[by, how, version, flags] = _Request(name, asked, process)
        request.asked.count += 1
        request.asked.answered = answered
        request.process = process
        return request

    def _library(self, session: Session, process: int, caller: int) -> str:
        """The library a call came from, without the offset inside of it."""
        key = process, caller
        if key not in self._callers:
            text = session.caller_name(process, caller)
            self._callers[key] = text.rpartition("+0x")[0] or text
        return self._callers[key]

    # Saying what is known

    def _make_rows(self) -> list[CoverageRow]:
        if self._session is None:
            return []
        schema = self._session.schema
        ours = self._shim_is_ours()
        called = {schema.function_name(n): n for n in np.flatnonzero(self._calls).tolist() if n < 0xF000}
        rows = []
        for name in {*self._names, *called}:
            number = called.get(name)
            function = schema.functions.get(schema.function_id(name) or 0)
            result = self._results.get(number) if number is not None else None
            last = None
            if number is not None and result is not None:
                last = self._decoder.result_text(number, result)
            row = CoverageRow(
                name=name,
                asked=self._asked(name),
                answered=True,
                performed=function.performed if function is not None and ours else None,
                calls=int(self._calls[number]) if number is not None else 0,
                last_result=last,
                effect="",
                rank=RANK_ANSWERED,
            )
            self._judge(row)
            rows.append(row)
        return sorted(rows, key=lambda row: (row.rank, row.first_call or 0, row.name))

    def _asked(self, name: str) -> list[Asked]:
        known = self._names.get(name)
        return [request.asked for request in known.requests.values()] if known else []

    def _judge(self, row: CoverageRow) -> None:
        known = self._names.get(row.name)
        worst: tuple[int, Verdict] | None = None
        for request in known.requests.values() if known else ():
            asked = request.asked
            if asked.answered is not None:
                asked.effect = asked.reason = ""
                continue
            verdict = self._verdict(request)
            asked.effect, asked.reason = verdict.effect, verdict.reason
            rank = EFFECTS.index(verdict.effect)
            if worst is None or rank < worst[0]:
                worst = rank, verdict
            if row.first_call is None or asked.first_call < row.first_call:
                row.first_call = asked.first_call
        if worst is not None:
            row.answered = False
            row.effect, row.error, row.reason = worst[1].effect, worst[1].error, worst[1].reason
            row.rank = RANK_MISSING[row.effect]
        elif row.calls and (row.performed is False or (row.last_result or "").endswith("NOT_SUPPORTED")):
            row.rank = RANK_REFUSED

    def _verdict(self, request: _Request) -> Verdict:
        asked = request.asked
        runtime = self._runtime(request)
        if asked.how == "table":
            return self._rules.of_table(request.uuid, runtime)
        if asked.how == "link":
            return Verdict("fatal-at-init", None, f"{asked.by} is not loaded without it")
        if asked.how == "proc-address":
            per_thread = bool(asked.flags & PER_THREAD)
            return self._rules.of_name([request.name], asked.how, asked.version, per_thread, runtime)
        if library_major(asked.by) is None:
            return Verdict("unknown", None, f"looked up by {asked.by}, which is no CUDA runtime")
        # Without cuGetProcAddress a runtime looks the versioned names up themselves.
        assert self._session is not None
        schema = self._session.schema
        function = schema.functions.get(schema.function_id(request.name) or 0)
        if function is None:
            return self._rules.of_name([request.name], asked.how, 0, False, runtime)
        names = [request.name, function.base]
        return self._rules.of_name(names, asked.how, function.version, function.per_thread, runtime)

    def _runtime(self, request: _Request) -> tuple[int, int] | None:
        """The version of the runtime behind a request, as far as its requests show it."""
        newest = self._newest_asked.get((request.process, request.asked.by), 0)
        return runtime_version(newest)

    def _shim_is_ours(self) -> bool:
        assert self._session is not None
        for event in reversed(self._session.events):
            if event.kind == "run" and event.fields.get("run") == self.run:
                return bool(event.fields.get("ours"))
        return False
