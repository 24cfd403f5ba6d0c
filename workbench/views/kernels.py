"""Kernels of a run: time, launches by shape, instructions, and how often each PTX line was executed.

A forwarder may tell all of it (host/STATE.md). For processes of which none does, launches and their
shapes come from the recorded calls; then there are no times and no counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zstandard

from sessions.items import ItemKind, words_of
from workbench.views.device import BATCH, DeviceState

if TYPE_CHECKING:
    from sessions import Session
    from sessions.events import Event

Triple = tuple[int, int, int]

TEXT_LIMIT = 4 << 20
"""Bytes of a kernel's text, unpacked; a longer one is not shown."""

_SIZE = 1 << 16


@dataclass(frozen=True)
class Counted:
    """How often a line was executed: by warps, and by how many threads of theirs in all."""

    warps: int
    threads: int


@dataclass
class Shape:
    """Launches of a kernel with one grid, block and dynamic shared memory. Times in seconds, None unknown."""

    grid: Triple
    block: Triple
    shared: int  #: bytes
    launches: int
    instructions: int | None = None  #: performed by whole warps
    seconds: float | None = None
    shortest: float | None = None
    longest: float | None = None


@dataclass
class KernelUse:
    """What is known of a kernel that was launched. Times in seconds, None unknown."""

    name: str
    module: int  #: handle
    launches: int = 0
    instructions: int | None = None
    seconds: float | None = None
    compiled: bool | None = None  #: whether the last launch was machine code
    static_shared: int | None = None  #: bytes
    shapes: list[Shape] = field(default_factory=list)
    other_shapes: int = 0  #: launches of shapes that are not listed
    line: int = 0  #: of its module's text, where its own begins
    blob: int | None = None  #: payload that holds its text
    text_bytes: int | None = None  #: how long its text is, kept or not
    counted: int = 0  #: launches in which lines were counted
    counted_blocks: int = 0  #: of these launches, which may go on with code that counts nothing
    all_blocks: int = 0  #: of these launches
    lines: dict[int, Counted] = field(default_factory=dict)  #: by line of the module

    def counted_text(self, number: Callable[[int], str]) -> str:
        """In words, of how many launches `lines` is, and of which part of these when it is a part."""
        whole = self.counted_blocks == self.all_blocks
        part = "" if whole else f" ({number(self.counted_blocks)} of {number(self.all_blocks)} blocks)"
        return f"{number(self.counted)} of {number(self.launches)} launches{part}"


@dataclass
class ProcessKernels:
    """The kernels of one process, those that took longest first."""

    process: int
    told: bool = False  #: by the forwarder, rather than by calls
    kernels: dict[tuple[str, int], KernelUse] = field(default_factory=dict)

    @property
    def ranked(self) -> list[KernelUse]:
        """By time, else by launches."""
        return sorted(self.kernels.values(), key=lambda use: (-(use.seconds or 0), -use.launches, use.name))

    @property
    def seconds(self) -> float | None:
        """Of all kernels together; None when nobody measured."""
        known = [use.seconds for use in self.kernels.values() if use.seconds is not None]
        return sum(known) if known else None


class Kernels:
    """Takes in what a session has new; `processes` by index, of one run."""

    def __init__(self, run: int | None = None) -> None:
        """`run`: of this run; None: of the newest."""
        self.wanted_run = run
        self.run = -1
        self.processes: dict[int, ProcessKernels] = {}
        self._session: Session | None = None
        self._forget()

    def _forget(self) -> None:
        self.processes = {}
        self._events = self._scanned = 0
        self._device = DeviceState(self.run)
        self._shapes: dict[tuple[int, int], dict[tuple[Triple, Triple, int], int]] = {}

    def update(self, session: Session) -> None:
        """Read on. SessionError when what is read is damaged."""
        run = session.newest_run if self.wanted_run is None else self.wanted_run
        if session is not self._session or run != self.run:
            self._session, self.run = session, run
            self._forget()
        for event in session.events[self._events :]:
            if event.kind == "host" and event.fields.get("event") in _TOLD:
                self._take_told(session, event)
        self._events = len(session.events)
        self._take_calls(session)

    def text(self, use: KernelUse) -> str | None:
        """The kernel's PTX; None when the session has none, or it can't be read."""
        if self._session is None or use.blob is None:
            return None
        try:
            data = self._session.blob(use.blob)
            return zstandard.ZstdDecompressor().decompress(data, max_output_size=TEXT_LIMIT).decode()
        except (zstandard.ZstdError, UnicodeDecodeError):
            return None

    def _take_told(self, session: Session, event: Event) -> None:
        index = _process_of(session, event, self.run)
        if index is None:
            return
        process = self.processes.setdefault(index, ProcessKernels(index))
        if not process.told:
            process.told = True
            process.kernels = {}
        fields = event.fields
        if fields["event"] == "kernels":
            for told in _dicts(fields.get("kernels")):
                _add_told(process, told)
            return
        use = _kernel(process, fields.get("kernel"), fields.get("module"))
        if fields["event"] == "ptx":
            use.line, use.text_bytes = _whole(fields.get("line")), _whole(fields.get("bytes"))
            use.blob = fields["blob"] if isinstance(fields.get("blob"), int) else None
        else:
            use.counted = _whole(fields.get("counted"))
            use.counted_blocks, use.all_blocks = _whole(fields.get("blocks")), _whole(fields.get("of_blocks"))
            rows = fields.get("lines")
            use.lines = {
                row[0]: Counted(row[1], row[2])
                for row in (rows if isinstance(rows, list) else ())
                if isinstance(row, list) and len(row) == 3 and all(isinstance(n, int) for n in row)
            }

    def _take_calls(self, session: Session) -> None:
        """Launches of processes that no forwarder tells of."""
        total = len(session.calls)
        if self._scanned == total:
            return
        self._device.update(session, total)
        launching = np.zeros(_SIZE, np.uint8)
        for number, function in session.schema.functions.items():
            launching[number] = _LAUNCHES.get(function.name.removesuffix("_ptsz").removesuffix("_ptds"), 0)
        wanted = np.zeros(_SIZE, bool)
        for process in session.processes:
            told = self.processes.get(process.index)
            wanted[process.index] = process.run == self.run and not (told and told.told)
        while self._scanned < total:
            stop = min(self._scanned + BATCH, total)
            self._count(session, self._scanned, stop, launching, wanted)
            self._scanned = stop
        for (index, handle), shapes in self._shapes.items():
            known = self.processes.setdefault(index, ProcessKernels(index))
            device = self._device.processes.get(index)
            if known.told or device is None:
                continue
            use = _kernel(known, device.names.get(handle, f"0x{handle:x}"), handle)
            use.launches = device.launches.get(handle, 0)
            use.shapes = sorted(
                (Shape(*shape, launches) for shape, launches in shapes.items()), key=lambda s: -s.launches
            )
            use.other_shapes = max(use.launches - sum(shape.launches for shape in use.shapes), 0)

    def _count(
        self,
        session: Session,
        start: int,
        stop: int,
        launching: npt.NDArray[np.uint8],
        wanted: npt.NDArray[np.bool_],
    ) -> None:
        cheap = session.calls.columns(start, stop, ("process", "function", "result"))
        kind = launching[cheap["function"]]
        rows = np.flatnonzero((kind > 0) & (cheap["result"] == 0) & wanted[cheap["process"]])
        if not len(rows):
            return
        full = session.calls.columns(start, stop, ("payload", "arg0", "arg1", "arg2"))
        table = np.stack(
            [kind[rows], cheap["process"][rows], *(full[name][rows] for name in full)], axis=1
        ).astype(np.uint64)
        order = list(full)
        for row, launches in zip(*_distinct(table), strict=True):
            values = dict(zip(("kind", "process", *order), row, strict=True))
            words = [values["arg0"], values["arg1"], values["arg2"]]
            items = session.calls.payload_of(values["payload"])
            handle, shape = _from_config(words, items) if values["kind"] == 2 else _from_words(words, items)
            shapes = self._shapes.setdefault((values["process"], handle), {})
            if shape is not None:
                shapes[shape] = shapes.get(shape, 0) + launches


#: Functions that launch a kernel: 1 with its shape in arguments, 2 in a CUlaunchConfig.
_LAUNCHES = {"cuLaunchKernel": 1, "cuLaunchCooperativeKernel": 1, "cuLaunchKernelEx": 2}

_TOLD = ("kernels", "ptx", "lines")


def _distinct(table: npt.NDArray[np.uint64]) -> tuple[list[list[int]], list[int]]:
    rows, counts = np.unique(table, axis=0, return_counts=True)
    return rows.tolist(), counts.tolist()


def _from_words(words: list[int], items: list[Any]) -> tuple[int, tuple[Triple, Triple, int] | None]:
    args = words_of(words, items)
    if len(args) < 8:
        return args[0], None
    sizes = [value & 0xFFFFFFFF for value in args[1:8]]
    return args[0], ((sizes[0], sizes[1], sizes[2]), (sizes[3], sizes[4], sizes[5]), sizes[6])


def _from_config(words: list[int], items: list[Any]) -> tuple[int, tuple[Triple, Triple, int] | None]:
    for item in items:
        if item.kind == ItemKind.IN and item.index == 0 and len(item.data) >= 28:
            x = np.frombuffer(item.data, "<u4", 7).tolist()
            return words[1], ((x[0], x[1], x[2]), (x[3], x[4], x[5]), x[6])
    return words[1], None


def _process_of(session: Session, event: Event, run: int) -> int | None:
    """The newest process of that pid and run that had begun when the forwarder spoke of it."""
    pid = event.fields.get("pid")
    found = [process.index for process in session.processes if process.pid == pid and process.run == run]
    return found[-1] if found else None


def _kernel(process: ProcessKernels, name: object, module: object) -> KernelUse:
    key = str(name), _whole(module)
    return process.kernels.setdefault(key, KernelUse(*key))


def _add_told(process: ProcessKernels, told: Mapping[str, Any]) -> None:
    use = _kernel(process, told.get("name"), told.get("module"))
    use.launches, use.instructions = _whole(told.get("launches")), _whole(told.get("instructions"))
    use.seconds = _real(told.get("seconds"))
    use.compiled = told["compiled"] if isinstance(told.get("compiled"), bool) else None
    use.static_shared = told["static_shared"] if isinstance(told.get("static_shared"), int) else None
    use.other_shapes = _whole(told.get("other_shapes"))
    use.shapes = [
        Shape(
            _triple(shape.get("grid")),
            _triple(shape.get("block")),
            _whole(shape.get("shared")),
            _whole(shape.get("launches")),
            _whole(shape.get("instructions")),
            _real(shape.get("seconds")),
            _real(shape.get("shortest")),
            _real(shape.get("longest")),
        )
        for shape in _dicts(told.get("shapes"))
    ]


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _real(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _triple(value: object) -> Triple:
    if isinstance(value, list) and len(value) == 3 and all(isinstance(n, int) for n in value):
        return value[0], value[1], value[2]
    return 0, 0, 0
