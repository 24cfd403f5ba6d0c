"""What the rules look at, gathered from a session: a few calls of millions, found by whole columns.

A Gatherer takes in what a session has new, so a live session is never looked through twice, and keeps a
bounded number of calls and lines however long the session grows.
"""

from __future__ import annotations

import uuid
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from sessions import FIRST_PSEUDO_FUNCTION
from sessions.decode import INTERNAL, UNRETURNED, CallDecoder
from sessions.items import ItemKind, Pseudo, out_word, string_of, words_of
from workbench.diagnosis.model import Evidence
from workbench.diagnosis.saying import ANY, Said, parse
from workbench.diagnosis.startup import Startup, StartupTimes
from workbench.diagnosis.waits import Waited, WaitTimes, kinds_of
from workbench.target.roles import is_kernel_probe
from workbench.views.coverage import Coverage, CoverageRow
from workbench.views.log import HEAD_BYTES, numbered_lines, of_run
from workbench.views.summary import GpuMode, GpuModeTracker

if TYPE_CHECKING:
    from sessions import InFlight, Process, Session
    from sessions.blobs import Item
    from sessions.events import Event
    from sessions.part import Part

BATCH = 1 << 17
_SIZE = 1 << 16
KEPT_FIRST, KEPT_LAST = 64, 16
"""So many calls of each function, process and outcome are kept."""
SAID_FIRST, SAID_LAST = 64, 16
"""So many lines of each process and kind."""
SLOW_NS = 100_000_000
"""Calls that took longer are kept whatever they are."""

#: Kept even when they succeed.
WATCHED = (
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetUuid",
    "cuDeviceGetUuid_v2",
    "cuDeviceGetPCIBusId",
    "cuDeviceTotalMem",
    "cuDeviceTotalMem_v2",
    "cuGetExportTable",
    "cuMemGetInfo_v2",
    "cuDevicePrimaryCtxRetain",
    "cuCtxCreate_v2",
    "cuCtxCreate_v3",
    "cuCtxCreate_v4",
    "cuMemAlloc_v2",
    "cuMemAllocAsync",
    "cuMemHostAlloc",
    "cuMemCreate",
    "cuMemAddressReserve",
    "cuStreamCreate",
    "cuEventCreate",
    "cuModuleLoadData",
    "cuLibraryLoadData",
    "cuModuleGetFunction",
    "cuLibraryGetKernel",
    "cuKernelGetFunction",
    "cuGraphInstantiateWithFlags",
    "cuStreamBeginCapture",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "nvmlInit",
    "nvmlInit_v2",
    "nvmlInitWithFlags",
    "nvmlSystemGetDriverVersion",
    "nvmlSystemGetCudaDriverVersion",
    "nvmlSystemGetCudaDriverVersion_v2",
    "nvmlDeviceGetCount",
    "nvmlDeviceGetCount_v2",
)
#: Attributes of a device that rules ask for: multiprocessors, PCI bus, device and domain, the capability.
ATTRIBUTES = {
    "multiprocessors": 16,
    "pci_bus": 33,
    "pci_device": 34,
    "pci_domain": 50,
    "major": 75,
    "minor": 76,
}
_LAUNCHES = ("cuLaunchKernel", "cuLaunchKernelEx", "cuLaunchCooperativeKernel", "cuGraphLaunch")
_PROC_ADDRESS = ("cuGetProcAddress", "cuGetProcAddress_v2", "cuGetProcAddress_v2_ptsz")
INTEGRITY_TABLE = "d4082055-bde6-704b-8d34-ba123c66e1f2"
_COLUMNS = (
    "time",
    "duration",
    "process",
    "thread",
    "function",
    "result",
    "flags",
    "payload",
    "caller",
    "arg1",
)

Rows = npt.NDArray[np.int64]
T = TypeVar("T")


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
    payload: int = 0
    caller: int = 0

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


class _Ends(Generic[T]):
    """The first and the last of what comes, so many of each."""

    def __init__(self, first: int, last: int) -> None:
        self.first: list[T] = []
        self.last: deque[T] = deque(maxlen=last)
        self._room = first

    def add(self, item: T) -> bool:
        """True when it was among the first."""
        if len(self.first) < self._room:
            self.first.append(item)
            return True
        self.last.append(item)
        return False

    def all(self) -> Iterable[T]:
        yield from self.first
        yield from self.last


@dataclass
class Facts:
    """Of one run, the newest unless told."""

    session: Session
    run: int
    processes: list[Process]
    decoder: CallDecoder
    calls: list[Call] = field(default_factory=list)  #: watched, failed, slow and unreturned, by row
    last_rows: dict[int, int] = field(default_factory=dict)  #: process -> its last own call
    last_by_thread: dict[tuple[int, int], int] = field(default_factory=dict)
    lookups: dict[int, Lookups] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    launched: dict[int, int] = field(default_factory=dict)  #: process -> its last launch that succeeded
    coverage: list[CoverageRow] = field(default_factory=list)
    mode: GpuMode = field(default_factory=lambda: GpuMode("unknown"))
    in_flight: list[InFlight] = field(default_factory=list)  #: calls of the run under way at the last look
    waited: dict[int, Waited] = field(default_factory=dict)  #: process -> how promptly its waits end
    startup: dict[int, Startup] = field(default_factory=dict)  #: process -> its time up to the first kernel

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

    def items(self, call: Call) -> list[Item]:
        """What was recorded with a call besides its columns."""
        return self.session.calls.payload_of(call.payload)

    @cached_property
    def tables(self) -> list[tuple[Call, str, int | None]]:
        """Requests of export tables: the call, the UUID, the pointer given (None: not recorded)."""
        found = []
        for call in self.of("cuGetExportTable"):
            items = self.items(call)
            data = next((item.data for item in items if item.kind == ItemKind.TABLE), b"")
            if len(data) >= 16:
                found.append((call, str(uuid.UUID(bytes=data[:16])), out_word(items, 0)))
        return found

    @cached_property
    def slots(self) -> list[tuple[Call, str, int]]:
        """The first calls through export tables of each process: the call, the UUID, the slot."""
        found = []
        for call in self.calls:
            if call.function != Pseudo.TABLE_SLOT:
                continue
            data = next((item.data for item in self.items(call) if item.kind == ItemKind.TABLE), b"")
            if len(data) >= 16:
                slot = self.session.calls.row(call.row).args[0]
                found.append((call, str(uuid.UUID(bytes=data[:16])), slot))
        return found

    @cached_property
    def _bootstraps(self) -> dict[int, list[tuple[int, str]]]:
        """process -> (row, asker) of each request of the self-test's table."""
        found: dict[int, list[tuple[int, str]]] = defaultdict(list)
        for call, table, _ in self.tables:
            if table == INTEGRITY_TABLE:
                found[call.process].append((call.row, self.library_of(call)))
        return found

    @property
    def calls_by_target(self) -> bool:
        """Whether any process of the run called, or loaded, a driver that the tap stands before."""
        return bool(self.last_rows) or any(call.function == Pseudo.LOAD for call in self.calls)

    def bootstrapped_after(self, process: int, row: int, by: str = "") -> bool:
        """Whether a runtime of this process got as far as the self-test's table later than that row.

        It is what a runtime asks for last, once every device has answered its queries. `by`: only that
        library's.
        """
        return any(at > row and by in ("", asker) for at, asker in self._bootstraps.get(process, ()))

    @cached_property
    def runtimes(self) -> dict[tuple[int, str], list[int]]:
        """(process, library) of each CUDA runtime that asked for export tables -> rows of the requests."""
        found: dict[tuple[int, str], list[int]] = defaultdict(list)
        for call, _, _ in self.tables:
            found[call.process, self.library_of(call)].append(call.row)
        return found

    def library_of(self, call: Call) -> str:
        """File name of the library a call came from; "" when it lies in none that is known."""
        return self.library_at(call.process, call.caller)

    def library_at(self, process: int, address: int) -> str:
        """The same by an address."""
        known = self.process(process)
        module = known.module_at(address) if known is not None else None
        return PurePosixPath(module.path).name if module is not None else ""

    def recovered(self, process: int, row: int) -> bool:
        """Whether a kernel was launched later than that row: then what failed there was not needed."""
        return self.launched.get(process, -1) > row

    def out(self, row: int, index: int) -> int | None:
        """What a call wrote through argument `index`, as a number."""
        return out_word(self.session.calls.payload(row), index)

    def out_of(self, call: Call, index: int) -> int | None:
        """The same of a call at hand."""
        return out_word(self.items(call), index)

    def text_of(self, call: Call, index: int) -> str | None:
        """The text a call wrote through argument `index`, None when it was not kept."""
        for item in self.items(call):
            if item.kind == ItemKind.OUT and item.index == index:
                return item.data.split(b"\0")[0].decode("utf-8", "replace")
        return None

    def words(self, row: int) -> list[int]:
        """All arguments of a call."""
        return words_of(self.session.calls.row(row).args, self.session.calls.payload(row))

    def attribute(self, name: str) -> list[tuple[Call, int, int]]:
        """Successful queries of a device attribute (a key of ATTRIBUTES): the call, device, value."""
        found = []
        for call in self.of("cuDeviceGetAttribute"):
            args = self.session.calls.row(call.row).args
            value = self.out_of(call, 0)
            if call.result == 0 and args[1] == ATTRIBUTES[name] and value is not None:
                found.append((call, args[2] & 0xFFFFFFFF, value))
        return found

    def opened(self, prefix: str, process: int) -> list[tuple[Call, str]]:
        """dlopen calls of that process for libraries of that name: the call and what was asked for."""
        found = []
        for call in self.calls:
            if call.function == Pseudo.DLOPEN and call.process == process:
                name = string_of(self.items(call), 0) or ""
                if PurePosixPath(name).name.startswith(prefix):
                    found.append((call, name))
        return found

    def text(self, row: int) -> str:
        return self.decoder.text(self.session, row)

    def result(self, call: Call) -> str:
        """The name of what a call returned."""
        return self.decoder.result_text(call.function, call.result)

    def call_evidence(self, row: int, name: str | None = None) -> Evidence:
        return Evidence(f"call {row + 1}: {self.text(row)}", call=row, name=name)

    def line_evidence(self, said: Said) -> Evidence:
        return Evidence(f"log {said.log + 1}: {said.text}", log=said.log, bytes=said.length)

    def errors(self, codes: Iterable[int], process: int = -1) -> list[Said]:
        """Lines in which a target (this process, unless -1) told of one of these cudaErrors."""
        wanted = set(codes)
        return [s for s in self.said if s.code in wanted and process in (-1, s.process)]

    def error_evidence(self, codes: Iterable[int], process: int = -1) -> list[Evidence]:
        """The first such line, if there is one."""
        return [self.line_evidence(said) for said in self.errors(codes, process)[:1]]

    def lines(self, kind: str, process: int = -1) -> list[Said]:
        """Lines of a kind (of this process, unless -1)."""
        return [said for said in self.said if said.kind == kind and process in (-1, said.process)]

    def process(self, index: int) -> Process | None:
        return self.session.processes[index] if 0 <= index < len(self.session.processes) else None

    def related(self, index: int) -> set[int]:
        """A process and those it came from."""
        found: set[int] = set()
        while (known := self.process(index)) is not None and index not in found:
            found.add(index)
            index = known.parent_index
        return found

    def events(self, kind: str) -> list[Event]:
        """Events of a kind, those that name another run left out."""
        return [
            e for e in self.session.events if e.kind == kind and e.fields.get("run", self.run) == self.run
        ]

    @cached_property
    def run_event(self) -> dict[str, object]:
        """Fields of the event with which the run began."""
        found = [event.fields for event in self.session.events if event.kind == "run"]
        return next((fields for fields in reversed(found) if fields.get("run") == self.run), {})


def gather(session: Session, run: int | None = None) -> Facts:
    """Look through a session once."""
    gatherer = Gatherer(run)
    gatherer.update(session)
    return gatherer.facts()


class Gatherer:
    """Takes in what a session has new. `facts()` is what the rules see of the run, the newest unless told.

    Coverage and mode may be given by who keeps them up to date anyway.
    """

    def __init__(
        self, run: int | None = None, coverage: Coverage | None = None, mode: GpuModeTracker | None = None
    ) -> None:
        self.wanted_run = run
        self.run = -1
        self._session: Session | None = None
        self._calls = self._lines = self._events = 0
        self._kinds = np.zeros(_SIZE, np.int8)
        self._keeps_views = coverage is None or mode is None
        self._coverage = Coverage(run) if coverage is None else coverage
        self._mode = GpuModeTracker(run) if mode is None else mode
        self._reset()

    def _reset(self) -> None:
        self._kept: dict[tuple[int, int, bool], _Ends[Call]] = {}
        self._unreturned: list[Call] = []
        self._said: dict[tuple[int, str, int], _Ends[Said]] = {}
        self._last_rows: dict[int, int] = {}
        self._last_by_thread: dict[tuple[int, int], int] = {}
        self._lookups: dict[int, Lookups] = {}
        self._launched: dict[int, int] = {}
        self._startup = StartupTimes()
        self._waits = WaitTimes(self._kinds)

    def update(self, session: Session, stop: int | None = None) -> bool:
        """Take in rows (up to `stop`), lines and events recorded since; True if a rule may have more to
        say now."""
        if session is not self._session:
            self._begin(session)
        run = session.newest_run if self.wanted_run is None else self.wanted_run
        changed = run != self.run
        if changed:
            self.run = run
            self._reset()
        changed |= self._take_events(session)
        changed |= self._take_calls(session, len(session.calls) if stop is None else stop)
        changed |= self._take_lines(session)
        if self._keeps_views:
            self._coverage.update(session, stop)
            self._mode.update(session, stop)
        return changed

    def facts(self) -> Facts:
        """What is known now."""
        session = self._session
        assert session is not None, "update() first"
        processes = self._processes(session)
        mine = {process.index for process in processes}
        kept = {call.row: call for ends in self._kept.values() for call in ends.all()}
        kept |= {call.row: call for call in self._unreturned}
        return Facts(
            session,
            self.run,
            processes,
            CallDecoder(session.schema),
            [kept[row] for row in sorted(kept)],
            dict(self._last_rows),
            dict(self._last_by_thread),
            {number: replace(lookups) for number, lookups in self._lookups.items()},
            sorted((s for ends in self._said.values() for s in ends.all()), key=lambda said: said.log),
            dict(self._launched),
            self._coverage.rows(),
            self._mode.mode,
            [call for call in session.in_flight() if call.process in mine],
            self._waits.all(),
            self._startup.all(),
        )

    def _processes(self, session: Session) -> list[Process]:
        mine = [p for p in session.processes if p.run == self.run and p.role in ("target", "exercise")]
        return [process for process in mine if not is_kernel_probe(process.argv)]

    def _begin(self, session: Session) -> None:
        self._session = session
        self._calls = self._lines = self._events = 0
        self.run = -1
        schema = session.schema

        def table(names: Iterable[str], *more: int) -> npt.NDArray[np.bool_]:
            marked = np.zeros(_SIZE, bool)
            marked[[number for name in names if (number := schema.function_id(name)) is not None]] = True
            marked[list(more)] = True
            return marked

        self._watched = table(WATCHED, int(Pseudo.LOAD), int(Pseudo.TABLE_SLOT), int(Pseudo.DLOPEN))
        self._lookup = table(_PROC_ADDRESS)
        self._search = table((), int(Pseudo.DLSYM), int(Pseudo.DLVSYM), int(Pseudo.DLOPEN))
        self._launch = table([*_LAUNCHES, *(f"{name}_ptsz" for name in _LAUNCHES)])
        self._attribute = table(["cuDeviceGetAttribute"])
        self._kinds = kinds_of(schema.function_id, _SIZE)

    def _take_events(self, session: Session) -> bool:
        fresh = session.events[self._events :]
        self._events = len(session.events)
        return any(event.kind not in ("modules", "lost", "mark", "first-call") for event in fresh)

    def _take_calls(self, session: Session, total: int) -> bool:
        mine = {process.index for process in self._processes(session)}
        changed = False
        while self._calls < total:
            stop = min(self._calls + BATCH, total)
            changed |= self._take_batch(session, session.calls.part(self._calls, stop).of(mine))
            self._calls = stop
        return changed

    def _take_batch(self, session: Session, here: Part) -> bool:
        if not len(here):
            return False
        outer = here.without(INTERNAL)
        self._count_lookups(outer)
        outermost = outer  # whose calls lie in no other
        if len(outer.places(self._search)):
            outermost = outer.only(~self._search.take(outer.column("function")))
        self._note_last(outermost)
        ended = outermost.without(UNRETURNED)
        self._startup.take(ended, self._launch)
        self._waits.take(ended)
        launches = outer.places(self._launch)
        launches = launches[outer.column("result")[launches] == 0]
        for number in outer.processes if len(launches) else ():
            last = launches[outer.column("process")[launches] == number][-1:]
            if len(last):
                self._launched[number] = outer.row(int(last[0]))
        changed = False
        returned = here.without(UNRETURNED)
        for call in self._made(session, returned, self._several(returned)):
            key = call.process, call.function, call.result != 0
            ends = self._kept.get(key)
            if ends is None:
                ends = self._kept[key] = _Ends(KEPT_FIRST, KEPT_LAST)
            changed |= ends.add(call)
        # How a call was lost is worth more than many alike, so these are all kept.
        lost = self._made(session, here, here.having(UNRETURNED))
        self._unreturned += lost
        return changed or bool(lost)

    def _several(self, part: Part) -> Rows:
        """Places of what a rule may ask for; of many alike the first and the last."""
        function, result = part.column("function"), part.column("result")
        watched = part.places(self._watched)
        failed = part.failed[function[part.failed] < FIRST_PSEUDO_FUNCTION]
        failed = failed[~self._lookup[function[failed]]]
        slow = np.flatnonzero(part.column("duration") > SLOW_NS) if part.longest > SLOW_NS else watched[:0]
        attributes = part.places(self._attribute)
        if len(attributes):
            attributes = attributes[np.isin(part.column("arg1")[attributes], list(ATTRIBUTES.values()))]
        several = np.unique(np.concatenate((watched, failed, slow, attributes)))
        keys = (part.column("process")[several].astype(np.int64) << 16) | function[several]
        return several[_ends((keys << 1) | (result[several] != 0))]

    def _made(self, session: Session, part: Part, places: Rows) -> list[Call]:
        picked = part.pick(_COLUMNS, places)
        return [
            Call(
                row=row,
                name=session.schema.function_name(picked["function"][place]),
                function=picked["function"][place],
                process=picked["process"][place],
                thread=picked["thread"][place],
                time=picked["time"][place],
                duration=picked["duration"][place],
                result=picked["result"][place],
                flags=picked["flags"][place],
                payload=picked["payload"][place],
                caller=picked["caller"][place],
            )
            for place, row in enumerate(part.rows(places).tolist())
        ]

    def _note_last(self, part: Part) -> None:
        for process, thread, place in part.last_by_thread():
            self._last_rows[process] = self._last_by_thread[process, thread] = part.row(place)

    def _count_lookups(self, part: Part) -> None:
        places = part.places(self._lookup)
        if not len(places):
            return
        process = part.column("process")[places]
        bad = part.column("result")[places] != 0
        for number in np.unique(process).tolist():
            of_it = process == number
            known = self._lookups.setdefault(number, Lookups())
            known.asked += int(of_it.sum())
            failed = places[of_it & bad]
            known.failed += len(failed)
            if known.first_failed < 0 and len(failed):
                known.first_failed = part.row(int(failed[0]))

    def _take_lines(self, session: Session) -> bool:
        changed = False
        total = len(session.log)
        for number, line in numbered_lines(session, self._lines, total):
            if line.role not in ("target", "exercise") or not ANY.search(line.text[:HEAD_BYTES]):
                continue
            if not of_run(session, line, self.run):
                continue
            for said in parse(line, number):
                key = said.process, said.kind, said.code
                ends = self._said.get(key)
                if ends is None:
                    ends = self._said[key] = _Ends(SAID_FIRST, SAID_LAST)
                changed |= ends.add(said)
        self._lines = total
        return changed


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
