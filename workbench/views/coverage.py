"""Coverage: every name that was asked for or called; who asked and how, and what became of it.

It counts one run of a session, the newest unless told. Calls are counted by numpy over whole
columns; only lookups, which are few, are looked at one by one.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sessions import FIRST_PSEUDO_FUNCTION
from sessions.decode import INTERNAL, UNRETURNED, CallDecoder
from sessions.items import Answer, ItemKind, Pseudo, answer_of, out_word, string_of, words_of
from workbench.views.runtimes import EFFECTS, AbsenceRules, Ladders, Verdict, library_major, runtime_version

if TYPE_CHECKING:
    from sessions import Session
    from sessions.blobs import Item
    from sessions.part import Part

BATCH = 1 << 20
LINK_TIME = 16  # flag of a lookup: bound by the loader
PER_THREAD = 2  # flag of cuGetProcAddress: the per-thread default stream's entry point
_PROC_ADDRESS = ("cuGetProcAddress", "cuGetProcAddress_v2", "cuGetProcAddress_v2_ptsz")
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
    """All requests alike. Who asked is looked up late: a library may be known after its calls."""

    name: str  #: as asked
    process: int
    caller: int
    how: str
    version: int
    flags: int
    answered: str | None
    count: int
    first_call: int
    last_call: int
    uuid: str = ""


UNKNOWN_LIBRARY = "an unknown library"


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
        self._names: dict[str, dict[tuple[int, int, str, int, int], _Request]] = {}
        self._callers: dict[tuple[int, int], str] = {}
        self._newest_asked: dict[tuple[int, str], int] = {}
        self._rows: list[CoverageRow] | None = None
        self._modules = 0

    def update(self, session: Session, stop: int | None = None) -> bool:
        """Take in rows recorded since, up to `stop`; True if that may have changed rows()."""
        if session is not self._session:
            self._begin(session)
        run = self.wanted_run
        if run is None:
            run = session.newest_run
        if run != self.run:
            self.run = run
            self._reset()
        # Rows of other runs are skipped below, so a run that starts needs no second look at the past.
        in_run = {process.index for process in session.processes if process.run == run}
        total = len(session.calls) if stop is None else stop
        changed = self._scanned < total
        while self._scanned < total:
            end = min(self._scanned + BATCH, total)
            self._take(session, session.calls.part(self._scanned, end).of(in_run).without(INTERNAL))
            self._scanned = end
        known = sum(len(process.modules) for process in session.processes)
        changed |= known != self._modules
        self._modules = known
        if changed:
            self._rows = None
        return changed

    def rows(self) -> list[CoverageRow]:
        """Every name, what is fatal first, what nobody misses last."""
        if self._rows is None:
            self._rows = self._make_rows()
        return self._rows

    def saved(self) -> dict[str, Any]:
        """What is counted, as plain JSON, for resume()."""
        called = np.flatnonzero(self._calls).tolist()
        requests = [
            [key, *vars(request).values()] for key, of in self._names.items() for request in of.values()
        ]
        return {
            "calls": [[number, int(self._calls[number])] for number in called],
            "results": list(self._results.items()),
            "requests": requests,
        }

    def resume(self, session: Session, run: int, scanned: int, saved: dict[str, Any]) -> None:
        """Be what had been saved when `scanned` rows of a session had been taken in, of a run.

        KeyError, TypeError, IndexError or ValueError when that is nothing that saved() writes.
        """
        self._begin(session)
        self._reset()
        self.run, self._scanned = run, scanned
        for number, count in saved["calls"]:
            self._calls[number] = count
        self._results = {int(number): int(result) for number, result in saved["results"]}
        for key, *values in saved["requests"]:
            request = _Request(*values)
            place = request.process, request.caller, request.how, request.version, request.flags
            self._names.setdefault(key, {})[place] = request

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

    def _take(self, session: Session, part: Part) -> None:
        self._calls[: len(part.counts)] += part.counts
        returned = part.without(UNRETURNED)
        result = returned.column("result")
        for number, place in returned.last_by_function():
            self._results[number] = int(result[place])
        lookups = part.places(self._is_lookup)
        if not len(lookups):
            return
        picked = part.pick(_OF_LOOKUPS, lookups)
        for place, row in enumerate(part.rows(lookups).tolist()):
            self._take_lookup(session, row, {name: values[place] for name, values in picked.items()})

    def _take_lookup(self, session: Session, row: int, call: dict[str, int]) -> None:
        items = session.calls.payload_of(call["payload"])
        if call["function"] == self._table_id:
            self._take_table(session, row, call, items)
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
        else:
            if not name.startswith(("cu", "nvml")):
                return
            version, flags, key = 0, 0, name
            given = call["result"] == 1
            how = "link" if call["flags"] & LINK_TIME else "dlsym"
        answered = self._answer(answer, given, name)
        self._note(
            key, _Request(name, call["process"], call["caller"], how, version, flags, answered, 1, row, row)
        )

    def _take_table(self, session: Session, row: int, call: dict[str, int], items: list[Item]) -> None:
        data = next((item.data for item in items if item.kind == ItemKind.TABLE), b"")
        if len(data) < 16:
            return
        text = str(uuid.UUID(bytes=data[:16]))
        table = session.schema.model.get("tables", {}).get(text)
        name = f"table {table['name']} {text[:8]}" if table else f"table {text}"
        answered = name if call["result"] == 0 else None
        process, caller = call["process"], call["caller"]
        self._note(name, _Request(name, process, caller, "table", 0, 0, answered, 1, row, row, text))

    def _note(self, key: str, new: _Request) -> None:
        requests = self._names.setdefault(key, {})
        known = requests.setdefault((new.process, new.caller, new.how, new.version, new.flags), new)
        if known is not new:
            known.count += 1
            known.answered, known.last_call = new.answered, new.last_call

    def _answer(self, answer: Answer | None, given: bool, name: str) -> str | None:
        if not given:
            return None
        if answer is None:
            return name
        if not answer.function:
            return "an unknown address"
        assert self._session is not None
        return self._session.schema.function_name(answer.function)

    # Saying what is known

    def _make_rows(self) -> list[CoverageRow]:
        if self._session is None:
            return []
        schema = self._session.schema
        ours = self._shim_is_ours()
        self._newest_asked = self._newest_versions()
        called = {
            schema.function_name(n): n
            for n in np.flatnonzero(self._calls).tolist()
            if n < FIRST_PSEUDO_FUNCTION
        }
        rows = []
        for name in {*self._names, *called}:
            number = called.get(name, 0)
            function = schema.functions.get(schema.function_id(name) or 0)
            result = self._results.get(number) if number else None
            row = CoverageRow(
                name=name,
                asked=[],
                answered=True,
                performed=function.performed if function is not None and ours else None,
                calls=int(self._calls[number]),
                last_result=None if result is None else self._decoder.result_text(number, result),
                effect="",
                rank=RANK_ANSWERED,
            )
            self._judge(row)
            rows.append(row)
        return sorted(rows, key=lambda row: (row.rank, row.first_call or 0, row.name))

    def _library(self, request: _Request) -> str:
        """The library a request came from, without the offset inside of it."""
        key = request.process, request.caller
        name = self._callers.get(key)
        if name is None:
            assert self._session is not None
            name = self._session.caller_name(*key).rpartition("+0x")[0]
            if not name:
                return UNKNOWN_LIBRARY
            self._callers[key] = name
        return name

    def _newest_versions(self) -> dict[tuple[int, str], int]:
        """The newest API version each library of each process asked for."""
        newest: dict[tuple[int, str], int] = {}
        for requests in self._names.values():
            for request in requests.values():
                asker = request.process, self._library(request)
                newest[asker] = max(request.version, newest.get(asker, 0))
        return newest

    def _judge(self, row: CoverageRow) -> None:
        """Who asked for a name, and what it means if one of them got no answer."""
        asked: dict[tuple[str, str, int, int], Asked] = {}
        last: dict[tuple[str, str, int, int], _Request] = {}
        for request in self._names.get(row.name, {}).values():
            key = self._library(request), request.how, request.version, request.flags
            entry = asked.setdefault(key, Asked(*key, None, 0, request.first_call))
            entry.count += request.count
            entry.first_call = min(entry.first_call, request.first_call)
            if key not in last or last[key].last_call < request.last_call:
                last[key] = request
        worst: tuple[int, Verdict] | None = None
        for key, entry in asked.items():
            entry.answered = last[key].answered
            if entry.answered is not None:
                continue
            verdict = self._verdict(last[key], entry.by)
            entry.effect, entry.reason = verdict.effect, verdict.reason
            rank = EFFECTS.index(verdict.effect)
            if worst is None or rank < worst[0]:
                worst = rank, verdict
            if row.first_call is None or entry.first_call < row.first_call:
                row.first_call = entry.first_call
        row.asked = sorted(asked.values(), key=lambda entry: entry.first_call)
        if worst is not None:
            row.answered = False
            row.effect, row.error, row.reason = worst[1].effect, worst[1].error, worst[1].reason
            row.rank = RANK_MISSING[row.effect]
        elif row.calls and (row.performed is False or (row.last_result or "").endswith("NOT_SUPPORTED")):
            row.rank = RANK_REFUSED

    def _verdict(self, request: _Request, by: str) -> Verdict:
        # A runtime asks for nothing newer than itself, so its requests show its version.
        runtime = runtime_version(self._newest_asked.get((request.process, by), 0))
        if request.how == "table":
            return self._rules.of_table(request.uuid, runtime)
        if request.how == "link":
            return Verdict("fatal-at-init", None, f"{by} is not loaded without it")
        if request.how == "proc-address":
            per_thread = bool(request.flags & PER_THREAD)
            return self._rules.of_name([request.name], request.how, request.version, per_thread, runtime)
        if by == UNKNOWN_LIBRARY:
            return Verdict("unknown", None, "it is not known which library looked it up")
        if library_major(by) is None:
            return Verdict("unknown", None, f"looked up by {by}, which is no CUDA runtime")
        # Without cuGetProcAddress a runtime looks the versioned names up themselves.
        assert self._session is not None
        schema = self._session.schema
        function = schema.functions.get(schema.function_id(request.name) or 0)
        if function is None:
            return self._rules.of_name([request.name], request.how, 0, False, runtime)
        names = [request.name, function.base]
        return self._rules.of_name(names, request.how, function.version, function.per_thread, runtime)

    def _shim_is_ours(self) -> bool:
        assert self._session is not None
        for event in reversed(self._session.events):
            if event.kind == "run" and event.fields.get("run") == self.run:
                return bool(event.fields.get("ours"))
        return False
