"""Payloads of calls: strings, structs, buffers, further arguments. Equal contents share a number."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from sessions import format
from sessions.errors import SessionError
from sessions.files import IndexFile, StreamFile


@dataclass(frozen=True, slots=True)
class Item:
    """One part of a payload. `data` is what was kept, `original` its length before a cut."""

    kind: int
    index: int
    data: bytes
    original: int


class Blobs:
    """Contents by number, from 1."""

    def __init__(self, directory: Path) -> None:
        self._index = IndexFile(
            directory / "blobs.index", format.BLOB_INDEX_MAGIC, format.BLOB_ENTRY, checked=False
        )
        self._data = StreamFile(directory / "blobs.dat")
        self._cached = lru_cache(maxsize=4096)(self._items)

    def __len__(self) -> int:
        return len(self._index)

    def content(self, number: int) -> bytes:
        """The bytes of blob `number`; SessionError when they are damaged or missing."""
        if not 0 < number <= len(self._index):
            raise SessionError(f"{self._index.path}: no payload {number}")
        entry = self._index.entries(number - 1, number)
        offset, length = int(entry["offset"][0]), int(entry["length"][0])
        if offset + length > self._data.size():
            raise SessionError(f"{self._index.path}: payload {number} is damaged")
        data = self._data.read_exactly(offset, length)
        if zlib.crc32(data, zlib.crc32(entry.tobytes()[:-4])) != int(entry["crc"][0]):
            raise SessionError(f"{self._data.path}: payload {number} is damaged")
        return data

    def items(self, number: int) -> list[Item]:
        """Blob `number` as the items of a call's payload."""
        return list(self._cached(number))

    def _items(self, number: int) -> tuple[Item, ...]:
        data = self.content(number)
        items = []
        at = 0
        size = format.PAYLOAD_ITEM.itemsize
        while at + size <= len(data) and data[at] != format.ItemKind.END:
            head = np.frombuffer(data, dtype=format.PAYLOAD_ITEM, count=1, offset=at)[0]
            length = int(head["length"])
            body = data[at + size : at + size + length]
            if len(body) != length:
                raise SessionError(f"{self._data.path}: payload {number} ends inside an item")
            items.append(Item(int(head["kind"]), int(head["index"]), body, int(head["original"])))
            at += size + (length + 7) // 8 * 8
        return tuple(items)
