"""The stream of buffers: written once, read back, left out of copies, and never wrong when it is damaged."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sessions import Session, SessionError, open_session
from sessions.blobs import Item
from sessions.buffers import Buffer, BufferState, buffer_of
from sessions.copy import copy_session
from sessions.format import CALL_ROW, ItemKind
from sessions.writer import SessionWriter, pack_items

CONTENTS = (b"x" * 1000, os.urandom(5000), b"", bytes(20 << 20))


def a_session(path: Path) -> Session:
    """One call a buffer."""
    writer = SessionWriter(path, b"", "test")
    rows = np.zeros(len(CONTENTS), dtype=CALL_ROW)
    for row, content in zip(rows, CONTENTS, strict=True):
        number = writer.buffer(content)
        buffer = Buffer(1, number, len(content), BufferState.KEPT, False)
        row["payload"] = writer.blob(pack_items([buffer.item()]))
        row["function"] = 1
    writer.calls(rows)
    writer.close()
    return open_session(path)


def buffers_of(session: Session) -> list[Buffer]:
    found = [buffer_of(session.calls.payload(row)[0]) for row in range(len(session.calls))]
    return [buffer for buffer in found if buffer is not None]


def test_contents_come_back_and_equal_ones_are_one(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "s", b"", "test")
    numbers = [writer.buffer(content) for content in (*CONTENTS, *CONTENTS)]
    writer.close()
    session = open_session(tmp_path / "s")
    assert numbers[:4] == numbers[4:] and len(session.buffers) == 4
    assert tuple(session.buffers.content(number) for number in numbers[:4]) == CONTENTS
    assert session.buffers.length(numbers[3]) == 20 << 20
    with pytest.raises(SessionError, match="no buffer 5"):
        session.buffers.content(5)


def test_a_copy_leaves_buffers_out_unless_it_is_to_keep_them(tmp_path: Path) -> None:
    session = a_session(tmp_path / "s")
    copy_session(session, tmp_path / "bare")
    bare = open_session(tmp_path / "bare")
    assert len(bare.buffers) == 0
    assert {(buffer.state, buffer.number) for buffer in buffers_of(bare)} == {(BufferState.LEFT_OUT, 0)}
    copy_session(session, tmp_path / "whole", keep_buffers=True)
    whole = open_session(tmp_path / "whole")
    assert [whole.buffers.content(buffer.number) for buffer in buffers_of(whole)] == list(CONTENTS)


def test_a_session_from_before_there_were_buffers_opens(tmp_path: Path) -> None:
    a_session(tmp_path / "s")
    for name in ("buffers.dat", "buffers.index"):
        (tmp_path / "s" / name).unlink()
    session = open_session(tmp_path / "s")
    assert len(session.buffers) == 0 and len(session.calls) == 4


def test_no_flipped_byte_gives_other_content(tmp_path: Path) -> None:
    session = a_session(tmp_path / "s")
    for name in ("buffers.dat", "buffers.index"):
        path = tmp_path / "s" / name
        whole = path.read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 200)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
            try:
                damaged = open_session(session.path)
                for number, content in enumerate(CONTENTS, 1):
                    assert damaged.buffers.content(number) == content
            except SessionError:
                pass
        path.write_bytes(whole)


def test_an_item_of_another_length_is_no_buffer() -> None:
    assert buffer_of(Item(ItemKind.BUFFER, 0, b"short", 5)) is None
    lying = Buffer(0, 0, 10, BufferState.KEPT, False).item()
    found = buffer_of(lying)
    assert found is not None and found.state == BufferState.DROPPED
