"""Kernels: as a forwarder tells them, and as the calls show them when none does."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import zstandard

from sessions import format
from sessions.blobs import Item
from sessions.testing import SessionBuilder, out_item, string_item
from workbench.views.kernels import Counted, Kernels, Shape

SHAPE = {
    "grid": [4, 2, 1], "block": [32, 4, 1], "shared": 512, "launches": 3, "instructions": 900,
    "seconds": 0.003, "shortest": 0.0005, "longest": 0.002,
}  # fmt: skip


def word(value: int) -> Item:
    return out_item(0, struct.pack("<Q", value))


def told(builder: SessionBuilder, event: str, **fields: Any) -> None:
    builder.event("host", event=event, pid=builder.open().processes[0].pid, **fields)


def kernels_of(builder: SessionBuilder) -> Kernels:
    view = Kernels()
    view.update(builder.open())
    return view


def test_what_a_forwarder_tells_last_of_a_kernel_holds(builder: SessionBuilder) -> None:
    fast = {"name": "fast", "module": 16, "launches": 9, "instructions": 9, "seconds": 0.001, "shapes": []}
    slow = {"name": "slow", "module": 16, "launches": 1, "instructions": 300, "seconds": 0.001}
    told(builder, "kernels", kernels=[fast, slow])
    told(builder, "kernels", kernels=[{**slow, "launches": 3, "seconds": 0.003, "shapes": [SHAPE]}])
    process = kernels_of(builder).processes[0]
    assert [(use.name, use.launches) for use in process.ranked] == [("slow", 3), ("fast", 9)]
    assert process.told and process.seconds == 0.004
    assert process.ranked[0].shapes == [Shape((4, 2, 1), (32, 4, 1), 512, 3, 900, 0.003, 0.0005, 0.002)]


def test_text_and_counts_of_lines_belong_to_their_kernel(builder: SessionBuilder) -> None:
    blob = builder.blob(zstandard.compress(b".entry k()\n{ ret; }\n"))
    told(builder, "ptx", module=16, kernel="k", line=40, bytes=20, blob=blob)
    told(builder, "lines", module=16, kernel="k", counted=2, lines=[[41, 8, 250], "junk", [1, 2]])
    view = kernels_of(builder)
    (use,) = view.processes[0].kernels.values()
    assert view.text(use) == ".entry k()\n{ ret; }\n" and use.line == 40
    assert use.counted == 2 and use.lines == {41: Counted(8, 250)}


def test_lines_that_are_none_say_nothing(builder: SessionBuilder) -> None:
    told(builder, "lines", module=16, kernel="k", counted=2, lines=7)
    (use,) = kernels_of(builder).processes[0].kernels.values()
    assert use.counted == 2 and not use.lines


def test_a_text_that_was_not_kept_or_is_no_text_is_none(builder: SessionBuilder) -> None:
    told(builder, "ptx", module=16, kernel="long", line=1, bytes=1 << 30)
    told(builder, "ptx", module=16, kernel="bad", line=1, bytes=4, blob=builder.blob(b"nope"))
    view = kernels_of(builder)
    assert [view.text(use) for use in view.processes[0].ranked] == [None, None]
    assert max(use.text_bytes or 0 for use in view.processes[0].ranked) == 1 << 30


def test_without_a_forwarders_word_launches_and_shapes_come_from_the_calls(builder: SessionBuilder) -> None:
    builder.call("cuModuleGetFunction", args=(1, 0x5000, 2), items=[word(0x6000), string_item(2, "k")])
    for stream in range(3):
        builder.call("cuLaunchKernel", args=(0x6000, 4, 2, 1, 32, 4, 1, 512, stream, 0, 0))
    builder.call("cuLaunchKernel", args=(0x6000, 1, 1, 1, 64, 1, 1, 0, 0, 0, 0))
    builder.call("cuLaunchKernel", args=(0x6000, 1, 1, 1, 64, 1, 1, 0, 0, 0, 0), result=719)
    process = kernels_of(builder).processes[0]
    (use,) = process.ranked
    assert (use.name, use.launches, use.seconds, process.told) == ("k", 4, None, False)
    assert use.shapes == [Shape((4, 2, 1), (32, 4, 1), 512, 3), Shape((1, 1, 1), (64, 1, 1), 0, 1)]


def test_a_config_of_cu_launch_kernel_ex_holds_the_shape(builder: SessionBuilder) -> None:
    config = Item(format.ItemKind.IN, 0, np.array([7, 1, 1, 96, 1, 1, 64, 0], "<u4").tobytes(), 56)
    builder.call("cuLaunchKernelEx", args=(0x7FFD0000, 0x6000, 0, 0), items=[config])
    (use,) = kernels_of(builder).processes[0].ranked
    assert use.shapes == [Shape((7, 1, 1), (96, 1, 1), 64, 1)] and use.launches == 1


def test_a_session_that_grows_is_read_on(builder: SessionBuilder) -> None:
    view = Kernels()
    session = builder.open()
    for launches in (1, 2):
        builder.call("cuLaunchKernel", args=(0x6000, 1, 1, 1, 64, 1, 1, 0, 0, 0, 0))
        builder.publish()
        session.refresh()
        view.update(session)
        assert view.processes[0].ranked[0].launches == launches
    told(builder, "kernels", kernels=[{"name": "k", "module": 1, "launches": 5, "shapes": [SHAPE]}])
    builder.publish()
    session.refresh()
    view.update(session)
    assert [(use.name, use.launches) for use in view.processes[0].ranked] == [("k", 5)]
