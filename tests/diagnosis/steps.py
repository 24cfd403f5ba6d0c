"""Calls of a runtime, as sessions made by hand hold them."""

from __future__ import annotations

import uuid
from typing import Any

from sessions.blobs import Item
from sessions.format import ItemKind, Pseudo
from sessions.testing import SessionBuilder, out_item, resolved_item, string_item
from workbench.diagnosis import Diagnosis, diagnose

CALLER = 0x10000010
RUNTIME = "6bd5fb6c-5bf4-e74a-8987-d93912fd9df9"
HOOKS = "a094798c-2e74-2e74-93f2-0800200c0a66"
TOOLS = "42d85a81-23f6-cb47-8298-f6e78a3aecdc"
INTEGRITY = "d4082055-bde6-704b-8d34-ba123c66e1f2"
NOT_FOUND, NOT_SUPPORTED = 500, 801
SECOND = 1_000_000_000


def ask(
    builder: SessionBuilder, name: str, version: int, answer: str | None, process: int = 0, flags: int = 0
) -> None:
    """cuGetProcAddress_v2 as a runtime calls it."""
    items: list[Item] = [string_item(0, name)]
    if answer:
        items.append(resolved_item(builder.function(answer), 0x5000))
    builder.call(
        "cuGetProcAddress_v2",
        process=process,
        args=(1, 2, version, flags, 0),
        items=items,
        result=0 if answer else NOT_FOUND,
        caller=CALLER,
    )


def table(
    builder: SessionBuilder, name: str, *, process: int = 0, result: int = 0, pointer: int = 0x7000
) -> None:
    data = uuid.UUID(name).bytes
    items = [Item(ItemKind.TABLE, 0, data, 16)]
    if result == 0:
        items.append(out_item(0, pointer.to_bytes(8, "little")))
    call(builder, "cuGetExportTable", process=process, args=(1, 2), result=result, items=items)


def slot(builder: SessionBuilder, name: str, number: int, process: int = 0) -> None:
    items = [Item(ItemKind.TABLE, 0, uuid.UUID(name).bytes, 16)]
    call(builder, int(Pseudo.TABLE_SLOT), process=process, args=(number,), items=items)


def call(builder: SessionBuilder, function: str | int, **fields: Any) -> None:
    builder.call(function, caller=CALLER, **fields)


def number(builder: SessionBuilder, function: str, value: int, process: int = 0, size: int = 4) -> None:
    """A query whose first argument takes a number."""
    items = [out_item(0, value.to_bytes(size, "little"))]
    call(builder, function, process=process, args=(1, 0, 0), items=items)


def bootstrap(builder: SessionBuilder, process: int = 0) -> None:
    """What a runtime does until it has its devices."""
    ask(builder, "", 0, None, process)
    ask(builder, "cuInit", 2000, "cuInit", process)
    ask(builder, "cuDeviceTotalMem", 3020, "cuDeviceTotalMem_v2", process)
    ask(builder, "cuGetExportTable", 3000, "cuGetExportTable", process)
    ask(builder, "cuLogsCurrent", 12090, None, process)
    table(builder, "f8cff951-2146-8b4e-b9e2-fb469e7c0dd9", process=process, result=NOT_FOUND)
    number(builder, "cuDriverGetVersion", 13000, process)
    call(builder, "cuInit", process=process, args=(0,))
    table(builder, RUNTIME, process=process)
    table(builder, HOOKS, process=process)
    number(builder, "cuDeviceGetCount", 1, process)
    call(builder, "cuDeviceGet", process=process, args=(1, 0))
    slot(builder, RUNTIME, 2, process)
    number(builder, "cuDeviceTotalMem_v2", 8 << 30, process, 8)
    call(builder, "cuDeviceGetAttribute", process=process, args=(1, 75, 0))


def rest_of_bootstrap(builder: SessionBuilder, process: int = 0) -> None:
    slot(builder, HOOKS, 2, process)
    slot(builder, HOOKS, 6, process)
    table(builder, TOOLS, process=process)
    table(builder, INTEGRITY, process=process)


def only(builder: SessionBuilder) -> Diagnosis:
    """The one diagnosis that follows from no other."""
    [found] = [found for found in diagnose(builder.open()) if found.consequence_of is None]
    assert found.evidence
    return found
