"""What a recorded call was given, as the player is to give it again: handles and addresses to be translated,
data to be pointed to, memory to be filled."""

from __future__ import annotations

import re
import struct
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

from sessions.blobs import Item
from sessions.buffers import Buffer, BufferState
from sessions.errors import SessionError
from sessions.replay.given import Given, size_of
from sessions.replay.records import MOST_ARGUMENTS, Argument, Fixup, Kind, Made, Outcome
from sessions.replay.store import Lacking, NotReplayable, Store
from sessions.schema import Function, Param, Schema
from sessions.session import Session

_QUALIFIERS = re.compile(r"\b(?:const|struct|union|enum)\b|\*")
_ADDRESSES = ("CUdeviceptr", "CUdeviceptr_v1", "CUdeviceptr_v2")
_NUMBERED = ("CUmemGenericAllocationHandle", "CUtexObject", "CUsurfObject")
"""Handles that the headers write as numbers."""
_SAME = {"CUkernel": "CUfunction"}
"""A CUkernel may be given where a CUfunction is wanted: one kind of handle."""

_PINNED = re.compile(r"cuMem(?:Host)?Alloc(?:Host)?(?:_v2)?")
_FILE_NAMES = ("cuModuleLoad", "cuLibraryLoadFromFile", "cuLinkAddFile")
_JIT_LOGS = (3, 5)  # CU_JIT_INFO_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER
_JIT_LOG_SIZE = 1 << 16
_LOWEST_POINTER = 4096
_MOST_SCRATCH = 1 << 30
_DAMAGED = "the session's buffers.dat is cut off or damaged there"

NOT_AGAIN = re.compile(
    r"cuIpc|cuMemExport|cuMemImport|cuMemPoolExport|cuMemPoolImport|cuImportExternal|cuGraphics|cuGL|cuEGL|cuVDPAU"
    r"|cuCheckpoint|cuCoredump|cuLogs|cuDeviceRegisterAsync|cuMulticast"
)
"""Functions that deal with other processes, screens, or files: they mean nothing elsewhere."""


@cache
def base_type(spelling: str) -> str:
    """`const CUgraphNode *` -> `CUgraphNode`."""
    return " ".join(_QUALIFIERS.sub(" ", spelling).split())


@cache
def _is_elsewhere(name: str) -> bool:
    return NOT_AGAIN.match(name) is not None


@dataclass
class Ready:
    """A call made ready."""

    arguments: list[Argument]
    outcomes: list[Outcome]


class Translator:
    """Makes the calls of one session ready, into `store`. `missing` counts inputs that aren't there."""

    def __init__(self, session: Session, store: Store) -> None:
        self.schema: Schema = session.schema
        self.store = store
        self.missing: Counter[str] = Counter()
        self.missing_bytes = 0
        self.guessed = 0
        self.callbacks = 0
        self.primary: dict[int, int] = {}  #: handle -> device, of contexts that some call retains
        self._buffers = session.buffers
        self._types: dict[str, int] = {}
        self._unmade: set[tuple[int, int]] = set()  #: handles of calls that are left out
        self._contents: dict[int, int] = {}
        self._typedefs = self.schema.model.get("typedefs", {})

    def call(self, function: Function, words: list[int], items: list[Item], succeeded: bool) -> Ready:
        """One call; NotReplayable when it can't be performed again."""
        if _is_elsewhere(function.name):
            raise NotReplayable("deals with other processes, screens or files")
        if len(function.params) > MOST_ARGUMENTS or len(words) < len(function.params):
            raise Lacking("its arguments were not recorded")
        given = Given(items)
        outcomes = self._outcomes(function, words, given) if succeeded else []
        made = {(one.type, one.recorded) for one in outcomes if one.made == Made.HANDLE}
        try:
            arguments = self._arguments(function, words, given)
        except NotReplayable:
            self._unmade |= made
            raise
        self._unmade -= made
        return Ready(arguments, outcomes)

    def _arguments(self, function: Function, words: list[int], given: Given) -> list[Argument]:
        return [
            self._argument(function, place, param, words, given)
            for place, param in enumerate(function.params)
        ]

    def type_number(self, name: str) -> int:
        """A number for a type of handle, from 1."""
        name = _SAME.get(name, name)
        return self._types.setdefault(name, len(self._types) + 1)

    # Arguments

    def _argument(
        self, function: Function, place: int, param: Param, words: list[int], given: Given
    ) -> Argument:
        word = words[place]
        kind, name = param.kind, base_type(param.type)
        if kind == "float" or (kind == "struct" and param.size > 8):
            raise NotReplayable("a parameter that is no word")
        if kind == "handle" and word in self.primary:
            return Argument(Kind.PRIMARY, word, length=self.primary[word], type=self.type_number(name))
        if kind == "handle" or (kind == "uint" and name in _NUMBERED):
            number = self.type_number(name)
            if (number, word) in self._unmade:
                raise NotReplayable("it needs what a call had made that is left out")
            return Argument(Kind.HANDLE, word, type=number)
        if kind == "function":
            self.callbacks += word != 0
            return Argument(Kind.CALLBACK if word else Kind.WORD, 0)
        if kind == "uint" and name in _ADDRESSES:
            return self._device_address(param, word, place, given)
        if kind == "string":
            return self._string(function, param, place, word, given)
        if kind != "pointer" or word == 0:
            return Argument(Kind.WORD, word & (1 << 8 * (param.size or 8)) - 1)
        return self._pointer(function, place, param, words, given)

    def _device_address(self, param: Param, word: int, place: int, given: Given) -> Argument:
        buffer = given.inputs.get(place)
        if buffer is not None:  # a copy from an address of either side, which was the host's
            return self._source(word, buffer)
        return Argument(Kind.ADDRESS, word)

    def _string(self, function: Function, param: Param, place: int, word: int, given: Given) -> Argument:
        if word == 0:
            return Argument(Kind.WORD, 0)
        if param.direction == "out":
            return Argument(Kind.SCRATCH, word, length=4096)
        text = given.strings.get(place)
        if text is None:
            raise Lacking("a text was not recorded")
        content = text.data + b"\0"
        return Argument(Kind.DATA, word, len(content), self.store.put(content))

    def _pointer(
        self, function: Function, place: int, param: Param, words: list[int], given: Given
    ) -> Argument:
        word = words[place]
        if param.name == "kernelParams":
            return self._kernel(function, place, word, given, Kind.KERNEL)
        if param.name == "extra":
            return self._kernel(function, place - 1, word, given, Kind.PACKED)
        if place in given.inputs and param.name in ("image", "code", "fatCubin"):
            return self._image(word, given.inputs[place], place in given.values)
        if param.name in ("image", "code", "fatCubin"):
            raise Lacking("a module's image was not recorded")
        if function.base.startswith("cuMemHostRegister"):
            return Argument(Kind.REGISTER, word, length=words[1])
        if param.direction == "out":
            return self._output(function, place, param, words, given)
        if param.pointee_kind == "void" and param.length is not None:
            return self._bytes(function, place, param, words, given)
        if place in given.inputs or place in given.values:
            return self._data(function, place, param, words, given)
        if place in given.tables:
            return Argument(Kind.DATA, word, 16, self.store.put(given.tables[place]))
        if param.pointee_kind == "void":
            return Argument(Kind.ADDRESS, word)  # to be freed, asked about, or handed to a callback
        if isinstance(param.length, str) and self._count(function, param, words, given) == 0:
            return Argument(Kind.SCRATCH, word, 64)  # nothing, wherever it points to
        raise Lacking(f"what {param.name} points to was not recorded")

    def _bytes(
        self, function: Function, place: int, param: Param, words: list[int], given: Given
    ) -> Argument:
        """Host memory that the call reads, perhaps later than it returns."""
        if place in given.inputs:
            return self._source(words[place], given.inputs[place])
        value = given.values.get(place)
        length = self._count(function, param, words, given)
        if value is not None and len(value.data) == max(value.original, length):
            return Argument(Kind.SOURCE, words[place], length, self.store.put(value.data))
        self._miss("it was not recorded: `shimbench run --buffers` does", length)
        return Argument(Kind.SOURCE, words[place], length, self.store.zeros(length))

    def _count(self, function: Function, param: Param, words: list[int], given: Given) -> int:
        """The elements that a parameter points to, by the call's other arguments; 0 when that is not said."""
        if isinstance(param.length, int):
            return param.length
        names = [each.name for each in function.params]
        name = (param.length or "").lstrip("*")
        if name not in names:
            return 0
        index = names.index(name)
        return words[index] if name == param.length else given.number(index)

    def _output(
        self, function: Function, place: int, param: Param, words: list[int], given: Given
    ) -> Argument:
        if words[place] < _LOWEST_POINTER:
            return Argument(Kind.WORD, words[place])  # a mistake that the recording shows
        size = self._output_size(function, place, param, words, given)
        if param.pointee_kind == "void" and param.length is not None:
            return Argument(Kind.FILLED, words[place], max(size, 8))
        return Argument(Kind.SCRATCH, words[place], max(size, 64))

    def _output_size(
        self, function: Function, place: int, param: Param, words: list[int], given: Given
    ) -> int:
        """Bytes that may be written: what was written, or what the length says of the arguments given."""
        said = self._count(function, param, words, given) * (param.pointee_size or 1)
        size = max(said, given.outputs.get(place, 0))
        if size > _MOST_SCRATCH:
            raise NotReplayable("an output of more than a gibibyte")
        return size

    def _data(self, function: Function, place: int, param: Param, words: list[int], given: Given) -> Argument:
        content = self._content(given.inputs[place]) if place in given.inputs else given.values[place].data
        length = len(content)
        fixups = self._fixups(function, param, content, place, given)
        data = self.store.put(content + bytes(64))  # what lies behind a value cut short is not read elsewhere
        return Argument(Kind.DATA, words[place], length, data, fixups=fixups)

    def _fixups(
        self, function: Function, param: Param, content: bytes, place: int, given: Given
    ) -> list[Fixup]:
        name = base_type(param.pointee)
        if param.pointee_kind == "handle" or name in _NUMBERED:
            number = self.type_number(name)
            return [Fixup(at, Kind.HANDLE, number) for at in range(0, len(content) - 7, 8)]
        if name in _ADDRESSES:
            return [Fixup(at, Kind.ADDRESS) for at in range(0, len(content) - 7, 8)]
        if param.pointee_kind == "struct":
            return list(self._struct_fixups(function, name, content, place, given))
        if param.name in ("jitOptionsValues", "optionValues"):
            options = given.values.get(place - 1)
            ids = struct.unpack(f"<{len(options.data) // 4}I", options.data) if options else ()
            return [
                Fixup(8 * at, Kind.SCRATCH, value=_JIT_LOG_SIZE) for at, n in enumerate(ids) if n in _JIT_LOGS
            ]
        if param.pointee_kind == "pointer":
            return [Fixup(at, Kind.NOWHERE) for at in range(0, len(content) - 7, 8)]
        return []

    def _struct_fixups(
        self, function: Function, name: str, content: bytes, place: int, given: Given
    ) -> list[Fixup]:
        layout = self.schema.structs.get(self._typedefs.get(name, name))
        if layout is None:
            return []
        size = int(layout.get("size") or 0) or len(content)
        fixups: list[Fixup] = []
        for start in range(0, len(content), size):
            for member in layout["fields"]:
                offset = start + int(member["offset"])
                word = int.from_bytes(content[offset : offset + 8], "little")
                if offset + 8 <= len(content) and word:
                    fixups += self._member_fixups(name, member, offset, place, given)
        return fixups

    def _member_fixups(
        self, struct_name: str, member: dict[str, Any], offset: int, place: int, given: Given
    ) -> list[Fixup]:
        kind, name = member.get("kind", ""), base_type(member.get("type", ""))
        if kind == "handle" or name in _NUMBERED:
            return [Fixup(offset, Kind.HANDLE, self.type_number(name))]
        if name in _ADDRESSES:
            return [Fixup(offset, Kind.ADDRESS)]
        if kind == "function":
            raise NotReplayable("a callback inside of a struct")
        if kind != "pointer":
            return []
        if member["name"] == "attrs" and place in given.nested:
            return [Fixup(offset, Kind.DATA, value=self.store.put(given.nested[place]))]
        if member["name"] in ("kernelParams", "srcHost", "dstHost"):
            raise Lacking(f"what {struct_name}.{member['name']} points to is not recorded")
        return [Fixup(offset, Kind.NOWHERE)]

    # Buffers

    def _place(self, buffer: Buffer) -> int:
        """Where a buffer's content lies in the plan; zeros stand for one that is missing."""
        content: bytes | None = None
        if buffer.state == BufferState.KEPT:
            if buffer.number in self._contents:
                return self._contents[buffer.number]
            try:
                content = self._buffers.content(buffer.number)
            except SessionError:
                self._miss(_DAMAGED, buffer.length)
        else:
            self._miss(buffer.state.reason, buffer.length)
        if content is None:
            return self.store.zeros(buffer.length)
        place = self._contents[buffer.number] = self.store.put(content, ("buffer", buffer.number))
        return place

    def _content(self, buffer: Buffer) -> bytes:
        if buffer.state == BufferState.KEPT:
            try:
                return self._buffers.content(buffer.number)
            except SessionError:
                raise Lacking(f"what it was given is missing: {_DAMAGED}") from None
        raise Lacking(f"what it was given is missing: {buffer.state.reason}")

    def _miss(self, reason: str, length: int) -> None:
        self.missing[reason] += 1
        self.missing_bytes += length

    def _source(self, word: int, buffer: Buffer) -> Argument:
        if buffer.state == BufferState.UNREADABLE:
            return Argument(Kind.FORBIDDEN, word, max(buffer.length, 1))
        return Argument(Kind.SOURCE, word, buffer.length, self._place(buffer))

    def _image(self, word: int, buffer: Buffer, wrapped: bool) -> Argument:
        if buffer.state != BufferState.KEPT:
            raise Lacking(f"a module's image is missing: {buffer.state.reason}")
        if buffer.number not in self._contents:
            self._content(buffer)  # zeros are no image: without it the call is left out
        return Argument(Kind.IMAGE, word, buffer.length, self._place(buffer), type=int(wrapped))

    def _kernel(self, function: Function, place: int, word: int, given: Given, kind: Kind) -> Argument:
        item = given.kernels.get(place)
        packed = item is not None and int.from_bytes(item[4:8], "little") == 2
        if word == 0 or packed != (kind == Kind.PACKED):
            return Argument(Kind.WORD, 0)
        if item is None:
            raise Lacking("a launch's parameters were not recorded")
        self.guessed += int.from_bytes(item[4:8], "little") == 0
        names = [param.name for param in function.params]
        launched = names.index("f") + 1 if "f" in names else 0
        return Argument(kind, word, len(item), self.store.put(item), type=launched)

    # What a call makes

    def _outcomes(self, function: Function, words: list[int], given: Given) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for place, param in enumerate(function.params):
            if param.kind != "pointer" or param.direction == "in" or place not in given.written:
                continue
            content, name = given.written[place], base_type(param.pointee)
            recorded = int.from_bytes(content[:8], "little")
            if param.pointee_kind == "handle" or name in _NUMBERED:
                number = self.type_number(name)
                outcomes += [
                    Outcome(place, Made.HANDLE, value, type=number, offset=at)
                    for at in range(0, len(content) - 7, 8)
                    if (value := int.from_bytes(content[at : at + 8], "little"))
                ]
            elif len(content) == 8 and (name in _ADDRESSES or _PINNED.fullmatch(function.name)):
                size = size_of(function, words, given)
                outcomes.append(Outcome(place, Made.RANGE, recorded, size))
                if name in _ADDRESSES and function.base != "cuMemAddressReserve":
                    outcomes.append(Outcome(place, Made.BACKED, recorded, size))
        if function.base == "cuMemMap":
            outcomes.append(Outcome(0, Made.BACKED, words[0], words[1]))
        return outcomes
