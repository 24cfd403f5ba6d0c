"""What the rules look at: a few calls and lines of one run, and the questions they ask of them."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sessions import FIRST_PSEUDO_FUNCTION
from sessions.decode import CallDecoder
from sessions.items import ItemKind, Pseudo, out_word, string_of, words_of
from workbench.diagnosis.calls import ATTRIBUTES, INTEGRITY_TABLE, Call, Lookups
from workbench.diagnosis.model import Evidence
from workbench.diagnosis.saying import Said
from workbench.diagnosis.startup import Startup
from workbench.diagnosis.waits import Waited
from workbench.views.coverage import CoverageRow
from workbench.views.summary import GpuMode

if TYPE_CHECKING:
    from sessions import InFlight, Process, Session
    from sessions.blobs import Item
    from sessions.events import Event


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
