"""The state of the device, from recorded calls."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from target_libraries import GGML

from sessions import CallFlag, format
from sessions.blobs import Item
from sessions.testing import SessionBuilder, out_item, string_item
from workbench.views.device import DeviceState
from workbench.views.held import ProcessDevice


def word(value: int, index: int = 0) -> Item:
    return out_item(index, struct.pack("<Q", value))


def state_of(builder: SessionBuilder) -> tuple[DeviceState, ProcessDevice]:
    state = DeviceState()
    state.update(builder.open())
    return state, state.processes[0]


def test_memory_is_counted_by_size_and_owner_until_it_is_freed(builder: SessionBuilder) -> None:
    builder.call("cuMemAlloc_v2", args=(1, 1000), items=[word(0x1000)], caller=GGML + 5)
    builder.call("cuMemAlloc_v2", args=(1, 5000), items=[word(0x2000)], caller=GGML + 5)
    builder.call("cuMemAlloc_v2", args=(1, 1 << 40), result=2)
    builder.call("cuMemHostAlloc", args=(1, 700, 0), items=[word(0x3000)])
    builder.call("cuMemFree_v2", args=(0x1000,))
    state, process = state_of(builder)
    assert (state.memory_used, process.memory_used, process.pinned) == (5000, 5000, 700)
    largest = process.allocations[0]
    assert (largest.address, largest.owner, largest.call) == (0x2000, "libggml-cuda.so", 2)


def test_a_call_that_never_returned_changed_nothing(builder: SessionBuilder) -> None:
    builder.call("cuMemAlloc_v2", args=(1, 1000), items=[word(0x1000)])
    builder.call("cuMemFree_v2", args=(0x1000,), flags=int(CallFlag.UNRETURNED))
    builder.call("cuLaunchKernel", args=(0x6200,), flags=int(CallFlag.UNRETURNED))
    state, process = state_of(builder)
    assert (state.memory_used, process.launches) == (1000, {})


def test_physical_memory_lives_as_long_as_handle_or_mapping(builder: SessionBuilder) -> None:
    builder.call("cuMemCreate", args=(1, 2 << 20, 3, 0), items=[word(0x77)])
    builder.call("cuMemMap", args=(0x9000, 2 << 20, 0, 0x77, 0))
    builder.call("cuMemRelease", args=(0x77,))
    state, process = state_of(builder)
    assert process.memory_used == 2 << 20
    builder.call("cuMemUnmap", args=(0x9000, 2 << 20))
    session = builder.open()
    state.update(session)
    assert state.processes[0].memory_used == 0


def test_what_the_process_was_told_of_the_memory(builder: SessionBuilder) -> None:
    builder.call("cuMemGetInfo_v2", args=(1, 2), items=[word(7 << 30), word(8 << 30, 1)])
    state, process = state_of(builder)
    assert (state.memory_total, process.memory_free) == (8 << 30, 7 << 30)


def test_a_primary_context_ends_with_its_last_release_and_takes_all_with_it(builder: SessionBuilder) -> None:
    for _ in range(2):
        builder.call("cuDevicePrimaryCtxRetain", args=(1, 0), items=[word(0xC0)])
    builder.call("cuStreamCreate", args=(1, 0), items=[word(0x51)])
    builder.call("cuEventCreate", args=(1, 0), items=[word(0xE1)])
    builder.call("cuMemAlloc_v2", args=(1, 4096), items=[word(0x1000)])
    builder.call("cuDevicePrimaryCtxRelease_v2", args=(0,))
    _, process = state_of(builder)
    assert process.contexts[0xC0].retained == 1
    assert (len(process.streams), len(process.events)) == (1, 1)
    builder.call("cuDevicePrimaryCtxRelease_v2", args=(0,))
    _, process = state_of(builder)
    assert not process.contexts and not process.streams and not process.allocations


def test_kernels_are_counted_by_name_through_module_and_kernel_handles(builder: SessionBuilder) -> None:
    builder.call("cuLibraryLoadData", args=(1, 2), items=[word(0x11)])
    builder.call("cuLibraryGetKernel", args=(1, 0x11, 3), items=[word(0x22), string_item(2, "rms_norm_f32")])
    builder.call("cuKernelGetFunction", args=(1, 0x22), items=[word(0x33)])
    for _ in range(3):
        builder.call("cuLaunchKernel", args=(0x33, 40, 1, 1))
    builder.call("cuLaunchKernelEx", args=(0x9999, 0x22, 0))
    builder.call("cuLaunchKernel", args=(0x44, 1, 1, 1))
    builder.call("cuLaunchKernel", args=(0x33, 40, 1, 1), result=700)
    _, process = state_of(builder)
    assert [(kernel.name, kernel.launches) for kernel in process.kernels] == [
        ("rms_norm_f32", 4),
        ("0x44", 1),
    ]
    assert [made.kind for made in process.modules.values()] == ["library"]


def test_captured_graphs_and_their_launches(builder: SessionBuilder) -> None:
    builder.call("cuStreamEndCapture", args=(0x51, 2), items=[word(0x61, 1)])
    builder.call("cuGraphInstantiateWithFlags", args=(1, 0x61, 0), items=[word(0x71)])
    for _ in range(4):
        builder.call("cuGraphLaunch", args=(0x71, 0x51))
    _, process = state_of(builder)
    assert {made.kind for made in process.graphs.values()} == {"captured graph", "executable"}
    assert process.graph_launches == {0x71: 4}


def test_a_process_that_ended_holds_nothing_of_the_device(builder: SessionBuilder) -> None:
    builder.call("cuMemAlloc_v2", args=(1, 4096), items=[word(0x1000)])
    builder.exit(0)
    state, process = state_of(builder)
    assert process.ended and state.memory_used == 0


def test_the_forwarder_s_figures_stand_beside_and_disagreement_is_said(builder: SessionBuilder) -> None:
    builder.call("cuMemAlloc_v2", args=(1, 4096), items=[word(0x1000)])
    device = {"kind": "count-only", "executes_kernels": False}
    builder.event("host", device=device, clients=[{"pid": 4121, "memory": 4096}])
    state, _ = state_of(builder)
    assert state.executes is False and state.disagreements() == []
    builder.event("host", device=device, clients=[{"pid": 4121, "memory": 8192}])
    state, _ = state_of(builder)
    assert state.disagreements() == ["process 4121 holds 4096 bytes by its calls, 8192 on the host"]
    builder.event("host", device=device, clients=[{"pid": 4121, "memory": 8192, "variables": 4096}])
    state, _ = state_of(builder)
    assert state.disagreements() == []  # what a module's variables take no call asked for


def test_a_million_launches_are_counted_without_looking_at_each(
    builder: SessionBuilder, identify: Any
) -> None:
    rows = np.zeros(1_000_000, dtype=format.CALL_ROW)
    rows["function"] = identify("cuLaunchKernel")
    rows["arg0"] = np.arange(len(rows)) % 3 + 0x100
    rows["thread"], rows["sequence"], rows["time"] = 1, np.arange(1, len(rows) + 1), np.arange(len(rows))
    builder.calls(rows)
    _, process = state_of(builder)
    assert sum(process.launches.values()) == 1_000_000
    assert len(process.kernels) == 3
