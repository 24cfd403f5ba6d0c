"""Values as text: scalars, enums, strings, structs and arrays, by the types of the session's schema."""

from __future__ import annotations

import re
import struct
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessions.schema import Schema

MAX_ELEMENTS = 8  # of an array shown
MAX_TEXT = 400  # characters of a string shown in a line
_QUALIFIERS = re.compile(r"\b(?:const|struct|union|enum)\b|\*")
_FLOATS = {4: "<f", 8: "<d"}
_ADDRESS_TYPES = ("CUdeviceptr", "CUmemGenericAllocationHandle", "CUtexObject", "CUsurfObject", "uintptr_t")
_UUID_STRUCTS = ("CUuuid_st", "CUuuid")


def base_type(spelling: str) -> str:
    """`const CUuuid *` -> `CUuuid`."""
    return " ".join(_QUALIFIERS.sub(" ", spelling).split())


def struct_name(schema: Schema, spelling: str) -> str | None:
    """The struct a C type spells, as the schema's `structs` are called."""
    name = base_type(spelling)
    name = schema.model.get("typedefs", {}).get(name, name)
    return name if name in schema.structs else None


def pointer_text(value: int) -> str:
    """An address or handle."""
    return f"0x{value:x}" if value else "NULL"


def string_text(data: bytes, cut: bool = False) -> str:
    """A C string in quotes, unprintable bytes escaped."""
    text = data.decode("utf-8", "backslashreplace")
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    shown = shown.replace('"', '\\"')
    if len(shown) > MAX_TEXT:
        shown, cut = shown[:MAX_TEXT], True
    return f'"{shown}"' + ("..." if cut else "")


def scalar_text(
    schema: Schema, value: int, kind: str, size: int, type_name: str, enum: str | None, name: str = ""
) -> str:
    """A value of up to 8 bytes, given as the unsigned word that was recorded."""
    size = size or 8
    value &= (1 << (8 * size)) - 1
    if kind in ("pointer", "handle", "string", "function"):
        return pointer_text(value)
    if kind == "float" and size in _FLOATS:
        return f"{struct.unpack(_FLOATS[size], value.to_bytes(size, 'little'))[0]:g}"
    signed = value - (1 << (8 * size)) if value >> (8 * size - 1) else value
    if kind == "enum":
        return (enum and schema.enum_name(enum, signed)) or str(signed)
    if kind == "int":
        return str(signed)
    if base_type(type_name).startswith(_ADDRESS_TYPES):
        return pointer_text(value)
    if name.lower().endswith("flags"):
        return f"0x{value:x}" if value > 9 else str(value)
    return str(value)


def data_text(
    schema: Schema, data: bytes, original: int, kind: str, size: int, type_name: str, enum: str | None
) -> str:
    """What a pointer pointed to: one value or an array of them. `size` is that of an element."""
    name = base_type(type_name)
    if name == "char":
        end = data.find(0)
        return string_text(data if end < 0 else data[:end], cut=end < 0 and original > len(data))
    if kind == "void" or size <= 0 or len(data) < size:
        return f"{original} bytes"
    structure = struct_name(schema, type_name) if kind == "struct" else None
    count = len(data) // size
    shown = [
        _element_text(schema, data[at * size : (at + 1) * size], kind, type_name, enum, structure)
        for at in range(min(count, MAX_ELEMENTS))
    ]
    if original <= size:
        return shown[0]
    rest = original // size - len(shown)
    return f"[{', '.join(shown)}{f', {rest} more' if rest > 0 else ''}]"


def _element_text(
    schema: Schema, data: bytes, kind: str, type_name: str, enum: str | None, structure: str | None
) -> str:
    if structure is not None:
        return struct_text(schema, structure, data)
    if len(data) > 8:
        return f"{len(data)} bytes"
    return scalar_text(schema, int.from_bytes(data, "little"), kind, len(data), type_name, enum)


def struct_text(schema: Schema, name: str, data: bytes) -> str:
    """A struct's members in braces; of members that share a place the first. A union: its size."""
    if name in _UUID_STRUCTS and len(data) >= 16:
        return str(uuid.UUID(bytes=data[:16]))
    members: list[dict[str, Any]] = schema.structs[name]["fields"]
    if len(members) > 1 and all(member["offset"] == 0 for member in members):
        return f"{len(data)} bytes"
    parts: list[str] = []
    shown_to = 0
    for member in members:
        end = member["offset"] + member["size"]
        shared = member["offset"] < shown_to and not member.get("bits")
        if shared or member["name"].startswith("reserved") or end > len(data):
            continue
        shown_to = end
        parts.append(f"{member['name']}={_member_text(schema, member, data[member['offset'] : end])}")
    return "{" + ", ".join(parts) + "}"


def _member_text(schema: Schema, member: dict[str, Any], data: bytes) -> str:
    bits = member.get("bits", 0)
    if bits:
        word = int.from_bytes(data, "little") >> member.get("first_bit", 0)
        return str(word & ((1 << bits) - 1))
    count = member.get("count") or 1
    return data_text(
        schema, data, len(data), member["kind"], len(data) // count, member["type"], member.get("enum")
    )
