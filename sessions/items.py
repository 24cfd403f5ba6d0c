"""Payload items of calls, read the one way all views need them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sessions.format import ItemKind, Pseudo

if TYPE_CHECKING:
    from sessions.blobs import Item

__all__ = ["Answer", "ItemKind", "Pseudo", "answer_of", "item_map", "out_word", "string_of", "words_of"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a lookup came to: the export's number (0: an address the model knows nothing of)."""

    function: int
    address: int


def item_map(items: Iterable[Item], kind: int) -> dict[int, Item]:
    """The items of one kind by the argument they belong to."""
    return {item.index: item for item in items if item.kind == kind}


def words_of(head: Sequence[int], items: Iterable[Item]) -> list[int]:
    """All argument words: those of the row, then those of its payload."""
    words = list(head)
    for item in items:
        if item.kind == ItemKind.ARGS:
            words += struct.unpack(f"<{len(item.data) // 8}Q", item.data[: len(item.data) // 8 * 8])
    return words


def string_of(items: Iterable[Item], index: int) -> str | None:
    """String argument `index`."""
    for item in items:
        if item.kind == ItemKind.STRING and item.index == index:
            return item.data.decode("utf-8", "replace")
    return None


def out_word(items: Iterable[Item], index: int) -> int | None:
    """What argument `index` pointed to after the call, up to 8 bytes as a number; None if not kept."""
    for item in items:
        if item.kind == ItemKind.OUT and item.index == index:
            return int.from_bytes(item.data[:8], "little") if item.data else None
    return None


def answer_of(items: Iterable[Item]) -> Answer | None:
    """The answer of a lookup, if one was recorded."""
    for item in items:
        if item.kind == ItemKind.RESOLVED and len(item.data) >= 16:
            function, _, _, address = struct.unpack("<HHIQ", item.data[:16])
            return Answer(function, address)
    return None
