"""The part of a session's API model that the session itself speaks of, for recordings that are kept small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from sessions.format import ItemKind
from sessions.session import Session

_BATCH = 65536
_RESULTS = ("CUresult", "cudaError_enum", "nvmlReturn_enum", "nvmlReturn_t")
_ALWAYS = ("cuInit", "cuGetExportTable", "cuGetProcAddress", "cuGetProcAddress_v2")
"""What every runtime begins with: that it was never called says something as well."""


def slim_model(session: Session) -> bytes:
    """model.json with the functions that were called, and of those only asked for their shape."""
    model = session.schema.model
    called, named = _spoken_of(session)
    named |= set(_ALWAYS)
    functions = [
        row if row["id"] in called else _shape(row)
        for row in model.get("functions", [])
        if row["id"] in called or row["name"] in named or row.get("base") in named
    ]
    kept = {row["base"] for row in functions if "base" in row} | {row["name"] for row in functions}
    types = _types_of(functions, model)
    return json.dumps(
        model
        | {
            "functions": functions,
            "enums": {name: row for name, row in model.get("enums", {}).items() if name in types},
            "structs": {name: row for name, row in model.get("structs", {}).items() if name in types},
            "typedefs": {name: to for name, to in model.get("typedefs", {}).items() if name in types},
            "ladders": {name: row for name, row in model.get("ladders", {}).items() if name in kept},
            "absence": {name: row for name, row in model.get("absence", {}).items() if name in kept | named},
        },
        separators=(",", ":"),
    ).encode()


def _shape(row: dict[str, Any]) -> dict[str, Any]:
    """A function nobody called: its parameters as far as variants are told apart by them."""
    kept = ("name", "kind", "size", "pointee_size")
    params = [{name: param[name] for name in kept if param.get(name)} for param in row.get("params", [])]
    return row | {"params": params}


def _spoken_of(session: Session) -> tuple[set[int], set[str]]:
    """Numbers of functions that were called, and names that were asked for or handed out."""
    called: set[int] = set()
    payloads: set[int] = set()
    for start in range(0, len(session.calls), _BATCH):
        columns = session.calls.columns(
            start, min(start + _BATCH, len(session.calls)), ("function", "payload")
        )
        called.update(np.unique(columns["function"]).tolist())
        payloads.update(np.unique(columns["payload"]).tolist())
    called.update(call.function for call in session.in_flight())
    named: set[str] = set()
    answered: set[int] = set()
    for payload in payloads:
        for item in session.calls.payload_of(payload):
            if item.kind == ItemKind.STRING:
                named.add(item.data.decode("utf-8", "replace"))
            elif item.kind == ItemKind.RESOLVED and len(item.data) >= 2:
                answered.add(int.from_bytes(item.data[:2], "little"))
    return called, named | {session.schema.function_name(number) for number in answered}


def _types_of(functions: list[dict[str, Any]], model: dict[str, Any]) -> set[str]:
    """Names of the types in these functions' signatures, and of those inside of them."""
    todo = [*_RESULTS, *(name for row in functions for name in _names(row))]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        todo += _names(model.get("structs", {}).get(name)) + _names(model.get("typedefs", {}).get(name))
    return found


def _names(row: Any) -> list[str]:
    """Every word in a row of the model that could be the name of a type."""
    return list(_words(row))


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from value.replace("*", " ").split()
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)
