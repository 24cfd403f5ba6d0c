"""What each call changes of what its process holds on the device, by the function's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sessions.items import out_word, string_of
from workbench.views.held import Allocation, Context, Made, ProcessDevice

if TYPE_CHECKING:
    from sessions.blobs import Item


@dataclass(frozen=True)
class ChangingCall:
    """A call that may change what its process holds."""

    number: int
    time: int
    args: Sequence[int]
    items: Sequence[Item]
    owner: str

    def out(self, index: int = 0) -> int | None:
        return out_word(self.items, index)


Handler = Callable[[ProcessDevice, ChangingCall], None]


#: Launching functions, and where the handle of what is launched stands.
LAUNCHES = {
    "cuLaunchKernel": "arg0",
    "cuLaunchCooperativeKernel": "arg0",
    "cuLaunchKernelEx": "arg1",
    "cuLaunch": "arg0",
    "cuLaunchGrid": "arg0",
    "cuLaunchGridAsync": "arg0",
    "cuGraphLaunch": "graph",
}


def _allocate(kind: str, size: Callable[[ChangingCall], int]) -> Handler:
    def handle(device: ProcessDevice, call: ChangingCall) -> None:
        address = call.out()
        if address:
            device.held[address] = Allocation(address, size(call), kind, call.owner, call.number)

    return handle


def _free(device: ProcessDevice, call: ChangingCall) -> None:
    device.held.pop(call.args[0], None)


def _pitched(call: ChangingCall) -> int:
    return (call.out(1) or call.args[2]) * call.args[3] if len(call.args) > 3 else 0


def _registered(device: ProcessDevice, call: ChangingCall) -> None:
    device.held[call.args[0]] = Allocation(call.args[0], call.args[1], "host", call.owner, call.number)


def _released(device: ProcessDevice, call: ChangingCall) -> None:
    memory = device.held.get(call.args[0])
    if memory is not None:
        memory.released = True
        _drop_unused(device, memory)


def _drop_unused(device: ProcessDevice, memory: Allocation) -> None:
    """Physical memory lives as long as its handle or one of its mappings does."""
    if memory.released and not memory.mapped:
        device.held.pop(memory.address, None)


def _mapped(device: ProcessDevice, call: ChangingCall) -> None:
    address, size, _, handle = call.args[:4] if len(call.args) > 3 else (*call.args[:3], 0)
    memory = device.held.get(handle)
    if memory is not None:
        memory.mapped += 1
        device.mappings[address] = (size, handle)


def _unmapped(device: ProcessDevice, call: ChangingCall) -> None:
    first, size = call.args[0], call.args[1]
    for address in [at for at in device.mappings if first <= at < first + size]:
        _, handle = device.mappings.pop(address)
        memory = device.held.get(handle)
        if memory is not None:
            memory.mapped -= 1
            _drop_unused(device, memory)


def _told(device: ProcessDevice, call: ChangingCall) -> None:
    device.memory_free = call.out(0)
    device.memory_total = call.out(1) or device.memory_total


def _told_total(device: ProcessDevice, call: ChangingCall) -> None:
    device.memory_total = call.out(0) or device.memory_total


def _context_made(device: ProcessDevice, call: ChangingCall) -> None:
    handle = call.out()
    if handle:
        device.contexts[handle] = Context(handle, call.args[2], False, 1, call.number)


def _context_destroyed(device: ProcessDevice, call: ChangingCall) -> None:
    device.contexts.pop(call.args[0], None)


def _primary_retained(device: ProcessDevice, call: ChangingCall) -> None:
    handle = call.out()
    if not handle:
        return
    number = call.args[1] & 0xFFFFFFFF
    context = device.contexts.setdefault(handle, Context(handle, number, True, 0, call.number))
    context.retained += 1


def _primary_released(device: ProcessDevice, call: ChangingCall) -> None:
    for context in list(device.contexts.values()):
        if context.primary and context.device == call.args[0] & 0xFFFFFFFF:
            context.retained -= 1
            if context.retained <= 0:
                _primary_gone(device, context)


def _primary_reset(device: ProcessDevice, call: ChangingCall) -> None:
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


def _make(where: str, kind: str, detail: Callable[[ChangingCall], str] = lambda call: "") -> Handler:
    def handle(device: ProcessDevice, call: ChangingCall) -> None:
        made = call.out(1 if kind == "captured graph" else 0)
        if made:
            getattr(device, where)[made] = Made(made, kind, call.number, detail(call))

    return handle


def _destroy(where: str) -> Handler:
    def handle(device: ProcessDevice, call: ChangingCall) -> None:
        getattr(device, where).pop(call.args[0], None)

    return handle


def _kernel_found(device: ProcessDevice, call: ChangingCall) -> None:
    handle, name = call.out(), string_of(call.items, 2)
    if handle and name:
        device.names[handle] = name


def _kernel_function(device: ProcessDevice, call: ChangingCall) -> None:
    handle = call.out()
    if handle and call.args[1] in device.names:
        device.names[handle] = device.names[call.args[1]]


def _second(call: ChangingCall) -> int:
    return call.args[1]


_DEVICE = _allocate("device", _second)

#: What each function changes, by its name without _ptsz and _ptds.
HANDLERS: dict[str, Handler] = {
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
