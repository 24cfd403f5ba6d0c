"""The records of a plan, mirror of workbench/replay/player/plan.hpp. Sizes and offsets stand there."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

MAGIC = b"SBPLAN01"
HEAD = struct.Struct("<8sIIQQQQQQQ")
OPERATION = struct.Struct("<IIHHHHHHiHHI")
WAIT = struct.Struct("<II")
ARGUMENT = struct.Struct("<BBHIQQQ")
FIXUP = struct.Struct("<IBBHQ")
OUTCOME = struct.Struct("<BBBBIQQ")
MOST_ARGUMENTS = 16
ALIGNMENT = 64


class Kind(IntEnum):
    """What an argument is."""

    WORD = 0
    HANDLE = 1
    ADDRESS = 2
    DATA = 3
    SCRATCH = 4
    FILLED = 5
    SOURCE = 6
    IMAGE = 7
    KERNEL = 8
    PACKED = 9
    CALLBACK = 10
    REGISTER = 11
    NOWHERE = 12
    PRIMARY = 13
    FORBIDDEN = 14


class Made(IntEnum):
    """What a call that succeeds makes."""

    HANDLE = 0
    RANGE = 1
    BACKED = 2


class Flag(IntFlag):
    """Bits of an operation."""

    HASHED = 1
    CAPTURING = 2
    CAPTURED = 4
    GRAPH = 8
    UNRETURNED = 16
    POLL = 32


@dataclass(slots=True)
class Fixup:
    """Eight bytes of an argument's data to be replaced."""

    offset: int
    kind: Kind
    type: int = 0
    value: int = 0


@dataclass(slots=True)
class Argument:
    """One argument. `data` is a place in the data section, `length` in bytes."""

    kind: Kind
    value: int = 0
    length: int = 0
    data: int = 0
    type: int = 0
    fixups: list[Fixup] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """Something that stands for a value of the recording from then on; `size` in bytes."""

    argument: int
    made: Made
    recorded: int
    size: int = 0
    type: int = 0
    offset: int = 0


def pack_operation(
    call: int,
    function: int,
    thread: int,
    result: int,
    flags: int,
    waits: list[tuple[int, int]],
    arguments: list[Argument],
    outcomes: list[Outcome],
) -> bytes:
    """An operation with all its parts."""
    fixups = [fixup for argument in arguments for fixup in argument.fixups]
    body = b"".join(
        [
            *(WAIT.pack(*wait) for wait in waits),
            *(ARGUMENT.pack(a.kind, a.type, len(a.fixups), 0, a.value, a.length, a.data) for a in arguments),
            *(FIXUP.pack(f.offset, f.kind, f.type, 0, f.value) for f in fixups),
            *(OUTCOME.pack(o.argument, o.made, o.type, 0, o.offset, o.recorded, o.size) for o in outcomes),
        ]
    )
    counts = len(arguments), len(waits), len(fixups), len(outcomes)
    head = OPERATION.pack(
        OPERATION.size + len(body), call, function, thread, *counts, result, flags, 0, 0
    )  # fmt: skip
    return head + body
