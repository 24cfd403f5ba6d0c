"""What calls are given and fill is recorded where that is asked for: lanes, the session, the limit."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sessions import Session, open_session
from sessions.archive import unpack
from sessions.buffers import Buffer, BufferState, buffer_of
from sessions.format import CallFlag, ItemKind
from tests.replay.conftest import Desk, calls_of, opened
from workbench.config import load_config
from workbench.loop.loop import Loop, running
from workbench.target.command import Target


def buffers_of(session: Session, row: int) -> list[Buffer]:
    return [buffer for item in session.calls.payload(row) if (buffer := buffer_of(item))]


def test_what_was_copied_to_the_device_is_in_the_session_byte_for_byte(recorded: Callable[..., Path]) -> None:
    session = opened(recorded("saxpy", 3))
    (row,) = calls_of(session, "cuMemcpyHtoD_v2")
    (buffer,) = buffers_of(session, row)
    expected = (np.arange(1000, dtype=np.float32) * np.float32(0.25)).tobytes()
    assert (buffer.state, buffer.length, buffer.output) == (BufferState.KEPT, 4000, False)
    assert session.buffers.content(buffer.number) == expected
    assert session.lost == 0 and session.damage == []


def test_an_output_is_seen_when_its_stream_was_waited_for(recorded: Callable[..., Path]) -> None:
    session = opened(recorded("saxpy", 3))
    (copy,) = calls_of(session, "cuMemcpyDtoHAsync_v2")
    (wait,) = calls_of(session, "cuStreamSynchronize")
    (buffer,) = buffers_of(session, wait)
    assert (buffer.sequence, buffer.output) == (session.calls.row(copy).sequence, True)
    x = np.arange(1000, dtype=np.float32)
    assert session.buffers.content(buffer.number) == (x + np.float32(1.5) * x * np.float32(0.25)).tobytes()


def test_a_launch_has_its_parameters_where_the_kernel_wants_them(recorded: Callable[..., Path]) -> None:
    session = opened(recorded("saxpy", 3))
    launches = calls_of(session, "cuLaunchKernel")
    assert len(launches) == 3
    for row in launches:
        (item,) = [item for item in session.calls.payload(row) if item.kind == ItemKind.KERNEL]
        count, layout = struct.unpack_from("<II", item.data)
        pairs = [struct.unpack_from("<II", item.data, 8 + 8 * i) for i in range(count)]
        assert (layout, pairs) == (1, [(0, 8), (8, 8), (16, 4), (20, 4)])
        factor, size = struct.unpack_from("<fI", item.data, 8 + 8 * count + 16)
        assert (factor, size) == (0.5, 1000)


def test_a_module_is_in_the_session_whole(recorded: Callable[..., Path]) -> None:
    session = opened(recorded("saxpy", 3))
    (row,) = calls_of(session, "cuModuleLoadData")
    (buffer,) = buffers_of(session, row)
    image = session.buffers.content(buffer.number)
    assert image.startswith(b".version 7.0") and image.endswith(b"ret;\n}\n\0")


def test_buffers_larger_than_a_piece_are_whole_and_equal_ones_are_one(recorded: Callable[..., Path]) -> None:
    session = opened(recorded("wide"))
    (row,) = calls_of(session, "cuMemcpyHtoD_v2")
    (buffer,) = buffers_of(session, row)
    content = np.frombuffer(session.buffers.content(buffer.number), np.float32)
    assert len(content) == (12 << 20) // 4 and content[999] == 999 * 0.25 and content[1001] == 0.25
    pinned = opened(recorded("pinned"))
    copies = [buffers_of(pinned, row)[0].number for row in calls_of(pinned, "cuMemcpyHtoDAsync_v2")]
    ones = copies[1::2]
    assert len(ones) == 3 and len(set(ones)) == 1 and len(set(copies[::2])) == 3


def test_what_is_over_the_limit_is_left_out_and_said_to_be(desk: Desk) -> None:
    session = opened(desk.record("wide", buffers="1M"))
    (row,) = calls_of(session, "cuMemcpyHtoD_v2")
    (buffer,) = buffers_of(session, row)
    assert (buffer.state, buffer.number, buffer.length) == (BufferState.OVER_LIMIT, 0, 12 << 20)
    lost = [event.fields for event in session.events if event.kind == "buffers-lost"]
    assert lost[-1]["count"] == 3 and (session.path / "buffers.dat").stat().st_size <= 1 << 20
    (module,) = calls_of(session, "cuModuleLoadData")
    assert buffers_of(session, module)[0].state == BufferState.KEPT


def test_nothing_is_recorded_unless_it_is_asked_for(desk: Desk) -> None:
    session = opened(desk.record("saxpy", buffers=None))
    assert len(session.buffers) == 0
    kinds = {item.kind for row in range(len(session.calls)) for item in session.calls.payload(row)}
    assert not kinds & {ItemKind.BUFFER, ItemKind.KERNEL, ItemKind.NESTED}


def test_a_call_that_never_returns_has_what_it_was_given(desk: Desk) -> None:
    session = opened(desk.record("wild"))
    (row,) = calls_of(session, "cuMemcpyHtoD_v2")
    call = session.calls.row(row)
    assert call.flags & CallFlag.UNRETURNED
    (buffer,) = buffers_of(session, row)
    assert (buffer.state, buffer.length) == (BufferState.UNREADABLE, 64 << 10)


def test_shimbench_toml_asks_for_buffers_as_well(desk: Desk) -> None:
    (desk.folder / "shimbench.toml").write_text('[record]\nbuffers = "32M"\n')
    session = opened(desk.record("saxpy", buffers=None))
    assert len(session.buffers) >= 3
    (desk.folder / "shimbench.toml").write_text('[record]\nbuffers = "some"\n')
    done = desk.shimbench("run", "--", desk.program)
    assert done.returncode == 2 and "shimbench.toml:2: buffers wants a size" in done.stderr


def test_a_report_keeps_buffers_only_when_it_is_told_to(desk: Desk, recorded: Callable[..., Path]) -> None:
    for options, kept in (((), 0), (("--buffers",), 4)):
        done = desk.shimbench("report", recorded("saxpy", 3), "-o", f"r{kept}.zip", "--no-pictures", *options)
        assert done.returncode == 0, done.stderr
        unpacked = open_session(unpack(desk.folder / f"r{kept}.zip", desk.folder / f"unpacked{kept}"))
        assert len(unpacked.buffers) == kept
    status, said = desk.replay(desk.folder / "r4.zip", "--expect", "recorded")
    assert (status, said["same"]) == (0, True)
    _, said = desk.replay(desk.folder / "r0.zip")
    assert said["missing"] == {"the copy of the session leaves buffers out": 2}


def test_a_running_target_can_be_asked_for_buffers(tmp_path: Path, program: Path) -> None:
    """Before, none is recorded; from then on those of the calls that come."""

    async def record() -> Path:
        config = load_config(tmp_path)
        loop = Loop(
            config, tmp_path / "session", target=Target((str(program), "slow"), {}, tmp_path), watch=False
        )
        loop.open()
        async with running(loop):
            while not calls_of(loop.session, "cuMemcpyHtoD_v2"):
                await asyncio.sleep(0.02)
                loop.session.refresh()
            assert loop.record_buffers("1M") == "buffers are recorded, up to 1 MiB"
            (tmp_path / "go").touch()
            await loop.run_ended()
        return loop.session_dir

    session = opened(asyncio.run(record()))
    first, second = calls_of(session, "cuMemcpyHtoD_v2")
    assert buffers_of(session, first) == [] and len(buffers_of(session, second)) == 1
