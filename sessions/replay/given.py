"""What a recorded call was given and what it wrote, by argument."""

from __future__ import annotations

from collections.abc import Callable

from sessions.blobs import Item
from sessions.buffers import Buffer, buffer_of
from sessions.format import ItemKind
from sessions.schema import Function


def size_of(function: Function, words: list[int], given: Given) -> int:
    """Bytes of the memory that a call made; 1 where nothing says it, so that at least its start is known."""
    names = [param.name for param in function.params]
    if "pPitch" in names and "Height" in names:
        return max(1, given.number(names.index("pPitch")) * words[names.index("Height")])
    for name in ("bytesize", "size"):
        if name in names and function.params[names.index(name)].kind == "uint":
            return max(1, words[names.index(name)])
    for name in ("bytes", "psize"):
        if name in names:
            return max(1, given.number(names.index(name)))
    return 1


class Given:
    """A payload's items by argument."""

    def __init__(self, items: list[Item]) -> None:
        self.values: dict[int, Item] = {}
        self.strings: dict[int, Item] = {}
        self.inputs: dict[int, Buffer] = {}
        self.kernels: dict[int, bytes] = {}
        self.nested: dict[int, bytes] = {}
        self.tables: dict[int, bytes] = {}
        self.written: dict[int, bytes] = {}
        self.outputs: dict[int, int] = {}
        for item in items:
            buffer = buffer_of(item)
            if buffer is not None and not buffer.output:
                self.inputs[buffer.argument] = buffer
            elif buffer is not None and not buffer.sequence:
                self.outputs[buffer.argument] = buffer.length
            elif (take := _TAKES.get(item.kind)) is not None:
                take(self, item)

    def number(self, place: int) -> int:
        """What an argument pointed to, as a number: after the call if it wrote there, else before it."""
        content = self.written.get(place)
        if content is None and place in self.values:
            content = self.values[place].data
        return int.from_bytes((content or b"")[:8], "little")

    def take_output(self, item: Item) -> None:
        self.written[item.index] = item.data
        self.outputs[item.index] = max(self.outputs.get(item.index, 0), item.original)


_TAKES: dict[int, Callable[[Given, Item], object]] = {
    ItemKind.IN: lambda given, item: given.values.setdefault(item.index, item),
    ItemKind.STRING: lambda given, item: given.strings.setdefault(item.index, item),
    ItemKind.KERNEL: lambda given, item: given.kernels.setdefault(item.index, item.data),
    ItemKind.NESTED: lambda given, item: given.nested.setdefault(item.index, item.data),
    ItemKind.TABLE: lambda given, item: given.tables.setdefault(1, item.data),
    ItemKind.OUT: lambda given, item: given.take_output(item),
}
