"""What of a call's arguments and out-values can be compared between two runs.

Addresses, handles, pids and times are different each time and say nothing; enums, counts, sizes, names,
structs (without the pointers in them) must be the same.
"""

from __future__ import annotations

import re
import struct
from fnmatch import fnmatchcase

from sessions.blobs import Item
from sessions.format import ItemKind, Pseudo
from sessions.schema import Function, Param, Schema

Value = int | str | bytes

_QUALIFIERS = re.compile(r"\b(?:const|struct|union|enum)\b|\*")
_ADDRESS_KINDS = frozenset({"pointer", "handle", "string", "function"})
_ADDRESS_TYPES = ("CUdeviceptr", "CUmemGenericAllocationHandle", "CUtexObject", "CUsurfObject", "uintptr_t")

IGNORED = (
    "cuEventElapsedTime*.*",
    "cuMemGetInfo*.free",
    "cuGraph*GetId*.*",
    "cuStreamGetId*.*",
    "cuCtxGetId*.*",
    "nvmlDeviceGetUtilizationRates*.*",
    "nvmlDeviceGetTemperature*.*",
    "nvmlDeviceGetPowerUsage*.*",
    "nvmlDeviceGetClock*.*",
    "nvmlDeviceGetMemoryInfo*.memory",
    "nvmlDeviceGet*RunningProcesses*.*",
)
"""FUNCTION.PARAMETER, as globs: measurements and numbers given at random."""

POLLS = frozenset({"cuStreamQuery", "cuEventQuery"})
"""Whether something is ready by now: CUDA_SUCCESS and CUDA_ERROR_NOT_READY are a matter of time."""

READY_OR_NOT = (0, 600)
"""CUDA_SUCCESS, CUDA_ERROR_NOT_READY"""

NORMALISED = (
    "addresses and handles",
    "process and thread ids",
    "times and durations",
    f"whether it is ready yet, of {' and '.join(sorted(POLLS))}",
)
"""What is never compared, whatever the function."""


def polls_of(schema: Schema) -> list[int]:
    """The functions of POLLS, as the schema numbers them."""
    return [number for number, function in schema.functions.items() if function.base in POLLS]


class Values:
    """Comparable values of one session's calls, by its own schema."""

    def __init__(self, schema: Schema, ignored: tuple[str, ...] = IGNORED) -> None:
        self.schema = schema
        self._ignored = ignored
        self._named: dict[tuple[str, str], bool] = {}

    def scalars(self, function: Function) -> tuple[int, ...]:
        """Which of the first three arguments are numbers that can be compared."""
        return tuple(
            place
            for place, param in enumerate(function.params[:3])
            if not self._is_address(param.kind, param.type) and not self.is_ignored(function.name, param.name)
            if param.kind != "struct"
        )

    def of_payload(self, function: int, items: list[Item]) -> dict[str, Value]:
        """The comparable values of a payload, by the name of the argument (with `*` for an out-value)."""
        known = self.schema.functions.get(function)
        values: dict[str, Value] = {}
        for item in items:
            if item.kind == ItemKind.RESOLVED and len(item.data) >= 2:
                (answer,) = struct.unpack("<H", item.data[:2])
                values["answer"] = self.schema.function_name(answer) if answer else "unknown to the model"
            elif item.kind == ItemKind.STRING:
                values[f"text {item.index}"] = _text(item.data, function)
            elif known is not None:
                values |= self._typed(known, item)
        if known is not None:
            return {name: value for name, value in values.items() if not self._drops(known.name, name)}
        return values

    def is_ignored(self, function: str, param: str) -> bool:
        """Whether one of the globs names it."""
        key = function, param
        if key not in self._named:
            text = f"{function}.{param}"
            self._named[key] = any(fnmatchcase(text, glob) for glob in self._ignored)
        return self._named[key]

    def _drops(self, function: str, name: str) -> bool:
        return self.is_ignored(function, name.removeprefix("*"))

    def _typed(self, function: Function, item: Item) -> dict[str, Value]:
        if item.kind == ItemKind.ARGS:
            words = struct.unpack(f"<{len(item.data) // 8}Q", item.data[: len(item.data) // 8 * 8])
            return {
                param.name: word & ((1 << (8 * (param.size or 8))) - 1)
                for param, word in zip(function.params[3:], words, strict=False)
                if not self._is_address(param.kind, param.type) and param.kind != "struct"
            }
        if item.kind not in (ItemKind.OUT, ItemKind.IN) or item.index >= len(function.params):
            return {}
        param = function.params[item.index]
        if self._is_address(param.pointee_kind, param.pointee) or param.pointee_kind == "void":
            return {}
        name = f"*{param.name}" if item.kind == ItemKind.OUT else param.name
        return {name: self._pointed(param, item.data)}

    def _pointed(self, param: Param, data: bytes) -> Value:
        if _base(param.pointee) == "char":
            return data.partition(b"\0")[0].decode("utf-8", "backslashreplace")
        if param.pointee_kind == "struct":
            return self._without_addresses(param.pointee, data)
        if len(data) <= 8 and param.pointee_size == len(data):
            return int.from_bytes(data, "little")
        return data

    def _without_addresses(self, spelling: str, data: bytes) -> bytes:
        name = _base(spelling)
        name = self.schema.model.get("typedefs", {}).get(name, name)
        layout = self.schema.structs.get(name)
        if layout is None:
            return data
        bare = bytearray(len(data))  # what lies between members is not written by everybody
        size = int(layout.get("size") or 0) or len(data)
        for start in range(0, len(data), size):
            for member in layout["fields"]:
                if not self._is_address(member.get("kind", ""), member.get("type", "")):
                    first = start + int(member["offset"])
                    last = min(first + int(member["size"]), len(bare))
                    bare[first:last] = data[first:last]
        return bytes(bare)

    @staticmethod
    def _is_address(kind: str, spelling: str) -> bool:
        return kind in _ADDRESS_KINDS or _base(spelling).startswith(_ADDRESS_TYPES)


def _base(spelling: str) -> str:
    return " ".join(_QUALIFIERS.sub(" ", spelling).split())


def _text(data: bytes, function: int) -> str:
    """A string argument; of a file that was opened its name, since runs have folders of their own."""
    text = data.decode("utf-8", "backslashreplace")
    return text.rpartition("/")[2] if function in (Pseudo.DLOPEN, Pseudo.LOAD) else text
