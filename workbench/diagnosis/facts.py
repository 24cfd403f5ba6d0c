"""What the rules look at, gathered once from a session: a few calls of millions, by whole columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sessions import FIRST_PSEUDO_FUNCTION
from workbench.diagnosis.model import Evidence
from workbench.diagnosis.saying import ANY, Said, parse
from workbench.views.coverage import Coverage, CoverageRow
from workbench.views.decode import INTERNAL, UNRETURNED, CallDecoder
from workbench.views.items import ItemKind, Pseudo, out_word, words_of
from workbench.views.log import numbered_lines, of_run
from workbench.views.summary import GpuMode, gpu_mode

if TYPE_CHECKING:
    from sessions import InFlight, Process, Session

BATCH = 1 << 20
_SIZE = 1 << 16
KEPT_FIRST, KEPT_LAST = 64, 16
"""So many calls of each function and process are looked at, in each batch."""

#: Looked at even when they succeed.
WATCHED = (
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceTotalMem",
    "cuDeviceTotalMem_v2",
    "cuGetExportTable",
    "cuMemGetInfo_v2",
    "cuDevicePrimaryCtxRetain",
)
_PROC_ADDRESS = ("cuGetProcAddress", "cuGetProcAddress_v2", "cuGetProcAddress_v2_ptsz")
INTEGRITY_TABLE = "d4082055-bde6-704b-8d34-ba123c66e1f2"
_COLUMNS = ("time", "duration", "process", "thread", "function", "result", "flags", "payload")

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Call:
    """A call by its row, with what rules ask most. Times in ns."""

    row: int
    name: str
    function: int
    process: int
    thread: int
    time: int
    duration: int
    result: int
    flags: int

    @property
    def returned(self) -> bool:
        return not self.flags & UNRETURNED

    @property
    def own(self) -> bool:
        """The shim's call of itself."""
        return bool(self.flags & INTERNAL)


@dataclass
class Lookups:
    """cuGetProcAddress of one process: how often asked, how often it failed."""

    asked: int = 0
    failed: int = 0
    first_failed: int = -1


@dataclass
class Facts:
    """Of one run, the newest unless told."""

    session: Session
    run: int
    processes: list[Process]
    decoder: CallDecoder
    calls: list[Call] = field(default_factory=list)  #: watched, failed and unreturned, by row
    last_rows: dict[int, int] = field(default_factory=dict)  #: process -> its last own call
    last_by_thread: dict[tuple[int, int], int] = field(default_factory=dict)
    lookups: dict[int, Lookups] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)

    @cached_property
    def coverage(self) -> list[CoverageRow]:
        """Names of the run."""
        coverage = Coverage(self.run)
        coverage.update(self.session)
        return coverage.rows()

    @cached_property
    def mode(self) -> GpuMode:
        """Whether the run computed on the GPU."""
        return gpu_mode(self.session, self.run)

    @cached_property
    def in_flight(self) -> list[InFlight]:
        """Calls of the run under way at the last look."""
        mine = {process.index for process in self.processes}
        return [call for call in self.session.in_flight() if call.process in mine]

    @cached_property
    def _by_name(self) -> dict[str, list[Call]]:
        found: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            found[call.name].append(call)
        return found

    def of(self, *names: str) -> list[Call]:
        """Watched or failed calls of these functions that the target made and that returned."""
        calls = [call for name in names for call in self._by_name.get(name, ())]
        return sorted((c for c in calls if c.returned and not c.own), key=lambda call: call.row)

    @cached_property
    def failed(self) -> list[Call]:
        """Failed calls of the driver's functions (no lookups, no table slots, not the shim's own)."""
        return [
            c
            for c in self.calls
            if c.function < FIRST_PSEUDO_FUNCTION and c.result and c.returned and not c.own
        ]

    @cached_property
    def unreturned(self) -> list[Call]:
        return [call for call in self.calls if not call.returned]

    @cached_property
    def tables(self) -> list[tuple[Call, str, int | None]]:
        """Requests of export tables: the call, the UUID, the pointer given (None: not recorded)."""
        import uuid

        found = []
        for call in self.of("cuGetExportTable"):
            items = self.session.calls.payload(call.row)
            data = next((item.data for item in items if item.kind == ItemKind.TABLE), b"")
            if len(data) >= 16:
                found.append((call, str(uuid.UUID(bytes=data[:16])), out_word(items, 0)))
        return found

    @cached_property
    def slots(self) -> list[tuple[Call, str, int]]:
        """The first calls through export tables of each process: the call, the UUID, the slot."""
        import uuid

        found = []
        for call in self.calls:
            if call.function != Pseudo.TABLE_SLOT:
                continue
            items = self.session.calls.payload(call.row)
            data = next((item.data for item in items if item.kind == ItemKind.TABLE), b"")
            if len(data) >= 16:
                slot = self.session.calls.row(call.row).args[0]
                found.append((call, str(uuid.UUID(bytes=data[:16])), slot))
        return found

    def bootstrapped_after(self, process: int, row: int) -> bool:
        """Whether a runtime of this process got as far as the self-test's table later than that row.

        It is what a runtime asks for last, once every device has answered its queries.
        """
        return any(
            call.process == process and call.row > row and table == INTEGRITY_TABLE
            for call, table, _ in self.tables
        )

    def out(self, row: int, index: int) -> int | None:
        """What a call wrote through argument `index`, as a number."""
        return out_word(self.session.calls.payload(row), index)

    def words(self, row: int) -> list[int]:
        """All arguments of a call."""
        return words_of(self.session.calls.row(row).args, self.session.calls.payload(row))

    def text(self, row: int) -> str:
        return self.decoder.text(self.session, row)

    def result(self, call: Call) -> str:
        """The name of what a call returned."""
        return self.decoder.result_text(call.function, call.result)

    def call_evidence(self, row: int) -> Evidence:
        return Evidence(f"call {row + 1}: {self.text(row)}", call=row)

    def line_evidence(self, said: Said) -> Evidence:
        return Evidence(f"log {said.log + 1}: {said.text}", log=said.log)

    def errors(self, codes: Iterable[int], process: int = -1) -> list[Said]:
        """Lines in which a target (this process, unless -1) told of one of these cudaErrors."""
        wanted = set(codes)
        return [s for s in self.said if s.code in wanted and process in (-1, s.process)]

    def error_evidence(self, codes: Iterable[int], process: int = -1) -> list[Evidence]:
        """The first such line, if there is one."""
        return [self.line_evidence(said) for said in self.errors(codes, process)[:1]]

    def process(self, index: int) -> Process | None:
        return self.session.processes[index] if 0 <= index < len(self.session.processes) else None


def gather(session: Session, run: int | None = None) -> Facts:
    """Look through a session once."""
    if run is None:
        run = session.newest_run
    processes = [p for p in session.processes if p.run == run and p.role in ("target", "exercise")]
    facts = Facts(session, run, processes, CallDecoder(session.schema))
    _take_calls(facts)
    _take_lines(facts)
    return facts


def _take_calls(facts: Facts) -> None:
    session = facts.session
    schema = session.schema
    mine = np.zeros(_SIZE, bool)
    mine[[process.index for process in facts.processes]] = True
    watched = np.zeros(_SIZE, bool)
    ids = [schema.function_id(name) for name in WATCHED]
    watched[[number for number in ids if number is not None]] = True
    watched[[int(Pseudo.LOAD), int(Pseudo.TABLE_SLOT)]] = True
    lookup = np.zeros(_SIZE, bool)
    lookup[[number for name in _PROC_ADDRESS if (number := schema.function_id(name)) is not None]] = True
    for start in range(0, len(session.calls), BATCH):
        stop = min(start + BATCH, len(session.calls))
        columns = session.calls.columns(start, stop, _COLUMNS)
        function, process, result = columns["function"], columns["process"], columns["result"]
        flags = columns["flags"]
        here = mine[process]
        outer = here & ((flags & INTERNAL) == 0)
        _note_last(facts, columns, outer, start)
        _count_lookups(facts, columns, outer & lookup[function], start)
        failed = (result != 0) & (function < FIRST_PSEUDO_FUNCTION) & ~lookup[function]
        # A lost call's end is worth more than many alike, so unreturned ones are all kept.
        unreturned = np.flatnonzero(here & ((flags & UNRETURNED) != 0))
        several = np.flatnonzero(here & (watched[function] | failed))
        keys = (process[several].astype(np.int64) << 16) | function[several]
        keys = (keys << 1) | (result[several] != 0)
        rows = np.union1d(unreturned, several[_ends(keys)])
        picked = {name: column[rows].tolist() for name, column in columns.items()}
        for place, row in enumerate(rows.tolist()):
            number = picked["function"][place]
            facts.calls.append(
                Call(
                    row=start + row,
                    name=schema.function_name(number),
                    function=number,
                    process=picked["process"][place],
                    thread=picked["thread"][place],
                    time=picked["time"][place],
                    duration=picked["duration"][place],
                    result=picked["result"][place],
                    flags=picked["flags"][place],
                )
            )


def _ends(keys: Rows) -> npt.NDArray[np.bool_]:
    """Which of these are among the first or the last of their key."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.searchsorted(ordered, ordered, "left")
    behind = np.searchsorted(ordered, ordered, "right")
    place = np.arange(len(keys))
    kept = (place - first < KEPT_FIRST) | (behind - place <= KEPT_LAST)
    picked = np.zeros(len(keys), bool)
    picked[order] = kept
    return picked


def _note_last(
    facts: Facts, columns: dict[str, npt.NDArray[np.generic]], mask: npt.NDArray[np.bool_], start: int
) -> None:
    rows = np.flatnonzero(mask)[::-1]
    process = columns["process"][rows].astype(np.int64)
    for number, place in zip(*np.unique(process, return_index=True), strict=True):
        facts.last_rows[int(number)] = start + int(rows[place])
    keys = (process << 32) | columns["thread"][rows].astype(np.int64)
    for key, place in zip(*np.unique(keys, return_index=True), strict=True):
        facts.last_by_thread[int(key) >> 32, int(key) & 0xFFFFFFFF] = start + int(rows[place])


def _count_lookups(
    facts: Facts, columns: dict[str, npt.NDArray[np.generic]], mask: npt.NDArray[np.bool_], start: int
) -> None:
    rows = np.flatnonzero(mask)
    process = columns["process"][rows].astype(np.int64)
    bad = columns["result"][rows] != 0
    for number in np.unique(process).tolist():
        of_it = process == number
        known = facts.lookups.setdefault(number, Lookups())
        known.asked += int(of_it.sum())
        failed = rows[of_it & bad]
        known.failed += len(failed)
        if known.first_failed < 0 and len(failed):
            known.first_failed = start + int(failed[0])


def _take_lines(facts: Facts) -> None:
    session = facts.session
    for number, line in numbered_lines(session, 0, len(session.log)):
        if line.role not in ("target", "exercise") or not ANY.search(line.text):
            continue
        if of_run(session, line, facts.run):
            facts.said += parse(line.text, number, line.process, line.time_ns, line.after_call)
