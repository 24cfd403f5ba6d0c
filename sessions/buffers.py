"""Buffers that calls were given or filled, where their recording was asked for. Equal contents are one."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zstandard

from sessions import format
from sessions.blobs import Item
from sessions.errors import SessionError
from sessions.files import IndexFile, StreamFile

_ITEM = struct.Struct("<QQIIBBHI")


class BufferState(IntEnum):
    """Whether a buffer is there; why not."""

    KEPT = 0
    OVER_LIMIT = 1
    UNREADABLE = 2
    DROPPED = 3
    LEFT_OUT = 4

    @property
    def reason(self) -> str:
        """In words, of one that is not kept."""
        return _REASONS[self]


_REASONS = {
    BufferState.KEPT: "kept",
    BufferState.OVER_LIMIT: "the limit of recorded buffers was reached",
    BufferState.UNREADABLE: "the program could not have read it either",
    BufferState.DROPPED: "it could not be handed over",
    BufferState.LEFT_OUT: "the copy of the session leaves buffers out",
}


@dataclass(frozen=True, slots=True)
class Buffer:
    """What a call's payload says of a buffer. `number` is 0 unless it is kept; `length` in bytes.

    `output`: as it was after the call. `sequence` 0: of this call; else of the copy that thread `thread`
    had begun with that sequence, seen once it was waited for.
    """

    argument: int
    number: int
    length: int
    state: BufferState
    output: bool
    sequence: int = 0
    thread: int = 0

    def item(self) -> Item:
        """As an item of a payload."""
        data = _ITEM.pack(
            self.number, self.length, self.sequence, self.thread, self.state, self.output, 0, 0
        )  # fmt: skip
        return Item(format.ItemKind.BUFFER, self.argument, data, len(data))


def buffer_of(item: Item) -> Buffer | None:
    """The buffer an item of kind BUFFER tells of; None when it tells of none."""
    if item.kind != format.ItemKind.BUFFER or len(item.data) != _ITEM.size:
        return None
    number, length, sequence, thread, state, output, _, _ = _ITEM.unpack(item.data)
    known = BufferState(state) if state in _REASONS else BufferState.DROPPED
    if known == BufferState.KEPT and number == 0:
        known = BufferState.DROPPED
    return Buffer(item.index, number, length, known, bool(output), sequence, thread)


class Buffers:
    """Contents by number, from 1. A session that recorded none has none."""

    def __init__(self, directory: Path) -> None:
        self._index: IndexFile | None = None
        if (directory / "buffers.index").exists():
            self._index = IndexFile(
                directory / "buffers.index", format.BUFFER_INDEX_MAGIC, format.BUFFER_ENTRY
            )
            self._data = StreamFile(directory / "buffers.dat")

    def __len__(self) -> int:
        return 0 if self._index is None else len(self._index)

    def length(self, number: int) -> int:
        """Bytes of a buffer; SessionError when there is no such buffer."""
        return int(self._entry(number)["length"][0])

    def content(self, number: int) -> bytes:
        """All of a buffer; SessionError when it is damaged or missing."""
        entry = self._entry(number)
        length = int(entry["length"][0])
        stored = self._data.read_exactly(int(entry["offset"][0]), int(entry["stored"][0]))
        if zlib.crc32(stored) != int(entry["data_crc"][0]):
            raise SessionError(f"{self._data.path}: buffer {number} is damaged")
        parts, done = [], 0
        try:
            while stored and done < length:
                if zstandard.get_frame_parameters(stored).content_size > format.BUFFER_PIECE:
                    raise SessionError(f"{self._data.path}: buffer {number}: a frame larger than any written")
                frame = zstandard.ZstdDecompressor().decompressobj()
                parts.append(frame.decompress(stored))
                stored = frame.unused_data
                done += len(parts[-1])
        except zstandard.ZstdError as error:
            raise SessionError(f"{self._data.path}: buffer {number}: {error}") from error
        if done != length:
            raise SessionError(f"{self._data.path}: buffer {number} is damaged")
        return b"".join(parts)

    def _entry(self, number: int) -> npt.NDArray[np.void]:
        if self._index is None or not 0 < number <= len(self._index):
            raise SessionError(f"there is no buffer {number} in the session")
        return self._index.entries(number - 1, number)
