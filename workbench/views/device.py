"""The state of the device as the recorded calls show it, for any shim: what each process holds.

What a forwarder tells of itself stands beside it; where the two disagree, that is said.

Launches are counted by numpy over whole columns; only calls that make or destroy something, which
are few, are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sessions.items import out_word, string_of, words_of
from workbench.views.tally import distinct, tally

if TYPE_CHECKING:
    from sessions import Session
    from sessions.blobs import Item

Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

BATCH = 1 << 20
_SIZE = 1 << 16
_ROUNDING = 4096  # bytes an allocation may take more than was asked for
_CHEAP = ("process", "function", "result")
_FULL = ("time", "process", "function", "caller", "payload", "arg0", "arg1", "arg2")


@dataclass
class Allocation:
    """Memory somebody asked for. `kind`: device, managed, host (pinned), physical (cuMemCreate)."""

    address: int  #: or the handle, of physical memory
    size: int  #: bytes
    kind: str
    owner: str  #: library of the caller
    call: int  #: number of the call that made it, as displayed
    mapped: int = 0  #: physical: how often it is mapped
    released: bool = False  #: physical: its handle is gone, its mappings hold it


@dataclass
class Context:
    """A context; `call` is the number of the call that made it."""

    handle: int
    device: int
    primary: bool
    retained: int  #: how often a primary context is held
    call: int


@dataclass
class Made:
    """A stream, event, module, graph or executable graph; `call` is the number of the call that made it."""

    handle: int
    kind: str
    call: int
    detail: str = ""


@dataclass
class Kernel:
    """A function of a module by its handle, with how often it was launched."""

    handle: int
    name: str
    launches: int


@dataclass
class ProcessDevice:
    """What one process holds."""

    process: int
    contexts: dict[int, Context] = field(default_factory=dict)
    held: dict[int, Allocation] = field(default_factory=dict)  #: by address
    streams: dict[int, Made] = field(default_factory=dict)
    events: dict[int, Made] = field(default_factory=dict)
    modules: dict[int, Made] = field(default_factory=dict)
    graphs: dict[int, Made] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)  #: kernel handle -> name
    launches: dict[int, int] = field(default_factory=dict)  #: kernel handle -> count
    graph_launches: dict[int, int] = field(default_factory=dict)  #: executable graph -> count
    memory_total: int = 0  #: bytes, as the process was told last; 0: it did not ask
    memory_free: int | None = None  #: bytes, as the process was told last
    ended: bool = False
    changed_ns: int = 0  #: when it last took or gave back memory
    _mappings: dict[int, tuple[int, int]] = field(default_factory=dict)  # address -> size, handle

    @property
    def allocations(self) -> list[Allocation]:
        """What it holds, the largest first."""
        return sorted(self.held.values(), key=lambda allocation: -allocation.size)

    @property
    def memory_used(self) -> int:
        """Bytes of device memory it holds by its own calls."""
        return sum(a.size for a in self.held.values() if a.kind != "host")

    @property
    def pinned(self) -> int:
        """Bytes of pinned host memory."""
        return sum(a.size for a in self.held.values() if a.kind == "host")

    @property
    def kernels(self) -> list[Kernel]:
        """Kernels by number of launches, most first. Handles of one name are one kernel."""
        by_name: dict[str, Kernel] = {}
        for handle, count in self.launches.items():
            name = self.names.get(handle, f"0x{handle:x}")
            known = by_name.setdefault(name, Kernel(handle, name, 0))
            known.launches += count
        return sorted(by_name.values(), key=lambda kernel: (-kernel.launches, kernel.name))


@dataclass(frozen=True)
class _Call:
    number: int
    time: int
    args: Sequence[int]
    items: Sequence[Item]
    owner: str

    def out(self, index: int = 0) -> int | None:
        return out_word(self.items, index)


_Handler = Callable[[ProcessDevice, _Call], None]


class DeviceState:
    """What the processes of one run hold; of the newest run unless told."""

    def __init__(self, run: int | None = None) -> None:
        self.wanted_run = run
        self.run = -1
        self.processes: dict[int, ProcessDevice] = {}
        self.host: dict[str, Any] = {}  #: the forwarder's last state line (host/STATE.md), if it has one
        self._host_ns = 0
        self._session: Session | None = None
        self._scanned = 0
        self._events = 0

    @property
    def memory_total(self) -> int:
        """Bytes of the device, as any process was told; 0 when none asked."""
        told = [process.memory_total for process in self.processes.values() if process.memory_total]
        return told[-1] if told else 0

    @property
    def memory_used(self) -> int:
        """Bytes of device memory that living processes hold."""
        return sum(process.memory_used for process in self.processes.values() if not process.ended)

    @property
    def executes(self) -> bool | None:
        """Whether the forwarder's device executes kernels; None when no forwarder says so."""
        device = self.host.get("device")
        return device.get("executes_kernels") if isinstance(device, dict) else None

    def disagreements(self) -> list[str]:
        """Where the forwarder's figures are not those of the calls, for living processes."""
        if self._session is None:
            return []
        by_pid = {
            self._session.processes[device.process].pid: device
            for device in self.processes.values()
            if not device.ended and device.changed_ns <= self._host_ns
        }
        found = []
        for client in self.host.get("clients", []):
            device = by_pid.get(client.get("pid"))
            if device is None:
                continue
            more = client.get("memory", device.memory_used) - device.memory_used
            # An allocator rounds each size up; the calls only tell what was asked for.
            if not 0 <= more < _ROUNDING * max(len(device.allocations), 1):
                found.append(
                    f"process {client['pid']} holds {device.memory_used} bytes by its calls, "
                    f"{client['memory']} on the host"
                )
        return found

    def update(self, session: Session, stop: int | None = None) -> bool:
        """Take in rows recorded since, up to `stop`; True if anything may have changed."""
        if session is not self._session:
            self._session, self._scanned, self._events, self.run, self.host = session, 0, 0, -1, {}
            self._prepare(session)
        run = self.wanted_run
        if run is None:
            run = session.newest_run
        if run != self.run:
            self.run, self.processes = run, {}
        in_run = np.zeros(_SIZE, bool)
        in_run[[process.index for process in session.processes if process.run == run]] = True
        total = len(session.calls) if stop is None else stop
        changed = self._scanned < total or self._events < len(session.events)
        self._take_host(session)
        while self._scanned < total:
            end = min(self._scanned + BATCH, total)
            self._take(session, self._scanned, end, in_run)
            self._scanned = end
        for index, device in self.processes.items():
            ended = session.processes[index].ended_ns is not None
            changed, device.ended = changed or ended != device.ended, ended
        return changed

    def _take_host(self, session: Session) -> None:
        for event in session.events[self._events :]:
            if event.kind == "host" and isinstance(event.fields.get("device"), dict):
                self.host, self._host_ns = event.fields, event.time_ns
        self._events = len(session.events)

    def _prepare(self, session: Session) -> None:
        """Which function numbers mean something, in this session's schema."""
        self._owners: dict[tuple[int, int], str] = {}
        self._handlers: dict[int, _Handler] = {}
        self._launch: dict[int, str] = {}
        self._is_launch = np.zeros(_SIZE, bool)
        self._is_change = np.zeros(_SIZE, bool)
        for number, function in session.schema.functions.items():
            name = function.name.removesuffix("_ptsz").removesuffix("_ptds")
            if name in _LAUNCHES:
                self._launch[number] = _LAUNCHES[name]
                self._is_launch[number] = True
            elif name in HANDLERS:
                self._handlers[number] = HANDLERS[name]
                self._is_change[number] = True

    def _take(self, session: Session, start: int, stop: int, in_run: Flags) -> None:
        columns = session.calls.columns(start, stop, _CHEAP)
        function = columns["function"]
        fine = in_run[columns["process"]] & (columns["result"] == 0)
        self._count_launches(session, start, stop, np.flatnonzero(fine & self._is_launch[function]))
        changes = np.flatnonzero(fine & self._is_change[function])
        if not len(changes):
            return
        full = session.calls.columns(start, stop, _FULL)
        picked = {name: column[changes].tolist() for name, column in full.items()}
        for place, at in enumerate(changes.tolist()):
            items = session.calls.payload_of(picked["payload"][place])
            words = [picked[f"arg{number}"][place] for number in range(3)]
            process = picked["process"][place]
            owner = self._owner(session, process, picked["caller"][place])
            call = _Call(start + at + 1, picked["time"][place], words_of(words, items), items, owner)
            device = self._of(process)
            held = len(device.held)
            self._handlers[picked["function"][place]](device, call)
            if len(device.held) != held:
                device.changed_ns = call.time

    def _owner(self, session: Session, process: int, caller: int) -> str:
        """The library of a caller; "" where it is not known, or not known yet."""
        key = process, caller
        owner = self._owners.get(key)
        if owner is None:
            owner = session.caller_name(*key).rpartition("+0x")[0]
            if owner:
                self._owners[key] = owner
        return owner

    def _count_launches(self, session: Session, start: int, stop: int, rows: Rows) -> None:
        if not len(rows):
            return
        columns = session.calls.columns(start, stop, ("process", "function", "arg0", "arg1"))
        process, function = columns["process"][rows], columns["function"][rows]
        for number in distinct(function):
            column = columns["arg1" if self._launch[number] == "arg1" else "arg0"][rows]
            of_function = function == number
            for index in distinct(process[of_function]):
                chosen = column[of_function & (process == index)]
                device = self._of(index)
                counts = device.graph_launches if self._launch[number] == "graph" else device.launches
                for handle, count in tally(chosen):
                    counts[handle] = counts.get(handle, 0) + count

    def _of(self, process: int) -> ProcessDevice:
        return self.processes.setdefault(process, ProcessDevice(process))


#: Launching functions, and where the handle of what is launched stands.
_LAUNCHES = {
    "cuLaunchKernel": "arg0",
    "cuLaunchCooperativeKernel": "arg0",
    "cuLaunchKernelEx": "arg1",
    "cuLaunch": "arg0",
    "cuLaunchGrid": "arg0",
    "cuLaunchGridAsync": "arg0",
    "cuGraphLaunch": "graph",
}


def _allocate(kind: str, size: Callable[[_Call], int]) -> _Handler:
    def handle(device: ProcessDevice, call: _Call) -> None:
        address = call.out()
        if address:
            device.held[address] = Allocation(address, size(call), kind, call.owner, call.number)

    return handle


def _free(device: ProcessDevice, call: _Call) -> None:
    device.held.pop(call.args[0], None)


def _pitched(call: _Call) -> int:
    return (call.out(1) or call.args[2]) * call.args[3] if len(call.args) > 3 else 0


def _registered(device: ProcessDevice, call: _Call) -> None:
    device.held[call.args[0]] = Allocation(call.args[0], call.args[1], "host", call.owner, call.number)


def _released(device: ProcessDevice, call: _Call) -> None:
    memory = device.held.get(call.args[0])
    if memory is not None:
        memory.released = True
        _drop_unused(device, memory)


def _drop_unused(device: ProcessDevice, memory: Allocation) -> None:
    """Physical memory lives as long as its handle or one of its mappings does."""
    if memory.released and not memory.mapped:
        device.held.pop(memory.address, None)


def _mapped(device: ProcessDevice, call: _Call) -> None:
    address, size, _, handle = call.args[:4] if len(call.args) > 3 else (*call.args[:3], 0)
    memory = device.held.get(handle)
    if memory is not None:
        memory.mapped += 1
        device._mappings[address] = (size, handle)


def _unmapped(device: ProcessDevice, call: _Call) -> None:
    first, size = call.args[0], call.args[1]
    for address in [at for at in device._mappings if first <= at < first + size]:
        _, handle = device._mappings.pop(address)
        memory = device.held.get(handle)
        if memory is not None:
            memory.mapped -= 1
            _drop_unused(device, memory)


def _told(device: ProcessDevice, call: _Call) -> None:
    device.memory_free = call.out(0)
    device.memory_total = call.out(1) or device.memory_total


def _told_total(device: ProcessDevice, call: _Call) -> None:
    device.memory_total = call.out(0) or device.memory_total


def _context_made(device: ProcessDevice, call: _Call) -> None:
    handle = call.out()
    if handle:
        device.contexts[handle] = Context(handle, call.args[2], False, 1, call.number)


def _context_destroyed(device: ProcessDevice, call: _Call) -> None:
    device.contexts.pop(call.args[0], None)


def _primary_retained(device: ProcessDevice, call: _Call) -> None:
    handle = call.out()
    if not handle:
        return
    number = call.args[1] & 0xFFFFFFFF
    context = device.contexts.setdefault(handle, Context(handle, number, True, 0, call.number))
    context.retained += 1


def _primary_released(device: ProcessDevice, call: _Call) -> None:
    for context in list(device.contexts.values()):
        if context.primary and context.device == call.args[0] & 0xFFFFFFFF:
            context.retained -= 1
            if context.retained <= 0:
                _primary_gone(device, context)


def _primary_reset(device: ProcessDevice, call: _Call) -> None:
    for context in list(device.contexts.values()):
        if context.primary and context.device == call.args[0] & 0xFFFFFFFF:
            _primary_gone(device, context)


def _primary_gone(device: ProcessDevice, context: Context) -> None:
    """Everything that was made in a context ends with it; with the last one, all of it."""
    del device.contexts[context.handle]
    if device.contexts:
        return
    for kept in (device.streams, device.events, device.graphs, device.modules):
        kept.clear()
    device.held = {a.address: a for a in device.held.values() if a.kind == "physical"}


def _make(where: str, kind: str, detail: Callable[[_Call], str] = lambda call: "") -> _Handler:
    def handle(device: ProcessDevice, call: _Call) -> None:
        made = call.out(1 if kind == "captured graph" else 0)
        if made:
            getattr(device, where)[made] = Made(made, kind, call.number, detail(call))

    return handle


def _destroy(where: str) -> _Handler:
    def handle(device: ProcessDevice, call: _Call) -> None:
        getattr(device, where).pop(call.args[0], None)

    return handle


def _kernel_found(device: ProcessDevice, call: _Call) -> None:
    handle, name = call.out(), string_of(call.items, 2)
    if handle and name:
        device.names[handle] = name


def _kernel_function(device: ProcessDevice, call: _Call) -> None:
    handle = call.out()
    if handle and call.args[1] in device.names:
        device.names[handle] = device.names[call.args[1]]


def _second(call: _Call) -> int:
    return call.args[1]


_DEVICE = _allocate("device", _second)

#: What each function changes, by its name without _ptsz and _ptds.
HANDLERS: dict[str, _Handler] = {
    "cuMemAlloc": _DEVICE,
    "cuMemAlloc_v2": _DEVICE,
    "cuMemAllocAsync": _DEVICE,
    "cuMemAllocFromPoolAsync": _DEVICE,
    "cuMemAllocPitch": _allocate("device", _pitched),
    "cuMemAllocPitch_v2": _allocate("device", _pitched),
    "cuMemAllocManaged": _allocate("managed", _second),
    "cuMemAllocHost": _allocate("host", _second),
    "cuMemAllocHost_v2": _allocate("host", _second),
    "cuMemHostAlloc": _allocate("host", _second),
    "cuMemHostRegister": _registered,
    "cuMemHostRegister_v2": _registered,
    "cuMemHostUnregister": _free,
    "cuMemFree": _free,
    "cuMemFree_v2": _free,
    "cuMemFreeAsync": _free,
    "cuMemFreeHost": _free,
    "cuMemCreate": _allocate("physical", _second),
    "cuMemRelease": _released,
    "cuMemMap": _mapped,
    "cuMemUnmap": _unmapped,
    "cuMemGetInfo": _told,
    "cuMemGetInfo_v2": _told,
    "cuDeviceTotalMem": _told_total,
    "cuDeviceTotalMem_v2": _told_total,
    "cuDevicePrimaryCtxRetain": _primary_retained,
    "cuDevicePrimaryCtxRelease": _primary_released,
    "cuDevicePrimaryCtxRelease_v2": _primary_released,
    "cuDevicePrimaryCtxReset": _primary_reset,
    "cuDevicePrimaryCtxReset_v2": _primary_reset,
    "cuCtxCreate": _context_made,
    "cuCtxCreate_v2": _context_made,
    "cuCtxCreate_v3": _context_made,
    "cuCtxCreate_v4": _context_made,
    "cuCtxDestroy": _context_destroyed,
    "cuCtxDestroy_v2": _context_destroyed,
    "cuStreamCreate": _make("streams", "stream"),
    "cuStreamCreateWithPriority": _make("streams", "stream"),
    "cuStreamDestroy": _destroy("streams"),
    "cuStreamDestroy_v2": _destroy("streams"),
    "cuEventCreate": _make("events", "event"),
    "cuEventDestroy": _destroy("events"),
    "cuEventDestroy_v2": _destroy("events"),
    "cuModuleLoad": _make("modules", "module", lambda call: string_of(call.items, 1) or ""),
    "cuModuleLoadData": _make("modules", "module"),
    "cuModuleLoadDataEx": _make("modules", "module"),
    "cuModuleLoadFatBinary": _make("modules", "module"),
    "cuModuleUnload": _destroy("modules"),
    "cuLibraryLoadData": _make("modules", "library"),
    "cuLibraryLoadFromFile": _make("modules", "library", lambda call: string_of(call.items, 1) or ""),
    "cuLibraryUnload": _destroy("modules"),
    "cuModuleGetFunction": _kernel_found,
    "cuLibraryGetKernel": _kernel_found,
    "cuKernelGetFunction": _kernel_function,
    "cuGraphCreate": _make("graphs", "graph"),
    "cuStreamEndCapture": _make("graphs", "captured graph"),
    "cuGraphClone": _make("graphs", "graph"),
    "cuGraphDestroy": _destroy("graphs"),
    "cuGraphInstantiate": _make("graphs", "executable"),
    "cuGraphInstantiate_v2": _make("graphs", "executable"),
    "cuGraphInstantiateWithFlags": _make("graphs", "executable"),
    "cuGraphInstantiateWithParams": _make("graphs", "executable"),
    "cuGraphExecDestroy": _destroy("graphs"),
}
