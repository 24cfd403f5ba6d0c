"""The bytes of a session, mirror of sessions/native/format.h. Records and nothing else.

FORMAT.md says what they mean. Everything is little endian.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np
import numpy.typing as npt

FORMAT = 1
CHUNK_ROWS = 65536
TAIL_ROWS = 4 * CHUNK_ROWS
TAIL_HEADER_SIZE = 4096
ROWS_KEY = 0x5348494D42454E43
IN_FLIGHT_ROWS = 4096
BUFFER_PIECE = 8 << 20  # bytes of content in a frame of buffers.dat
CHUNK_MAGIC = 0x4B4E4843

TAIL_MAGIC = b"SBTAIL01"
IN_FLIGHT_MAGIC = b"SBFLYI01"
CHUNK_INDEX_MAGIC = b"SBCALL01"
BLOB_INDEX_MAGIC = b"SBBLOB01"
BUFFER_INDEX_MAGIC = b"SBBUFF01"
LOG_INDEX_MAGIC = b"SBLOGS01"

STREAM_HEAD = np.dtype([("magic", "S8"), ("format", "<u4"), ("entry_size", "<u4")])

CALL_ROW = np.dtype(
    [
        ("time", "<i8"),
        ("duration", "<i8"),
        ("caller", "<u8"),
        ("arg0", "<u8"),
        ("arg1", "<u8"),
        ("arg2", "<u8"),
        ("thread", "<u4"),
        ("sequence", "<u4"),
        ("parent", "<u4"),
        ("payload", "<u4"),
        ("result", "<i4"),
        ("process", "<u2"),
        ("function", "<u2"),
        ("flags", "u1"),
        ("nesting", "u1"),
        ("reserved", "<u2"),
        ("check", "<u4"),
    ]
)

TAIL_HEAD = np.dtype(
    [
        ("head", STREAM_HEAD),
        ("capacity", "<u4"),
        ("header_size", "<u4"),
        ("rows", "<u8"),
        ("rows_copy", "<u8"),
        ("lines", "<u8"),
        ("lines_copy", "<u8"),
        ("events", "<u8"),
        ("events_copy", "<u8"),
        ("blobs", "<u8"),
        ("blobs_copy", "<u8"),
        ("ahead", "<u8"),
    ]
)

IN_FLIGHT_HEAD = np.dtype(
    [
        ("head", STREAM_HEAD),
        ("generation", "<u8"),
        ("time", "<i8"),
        ("count", "<u4"),
        ("crc", "<u4"),
    ]
)

IN_FLIGHT_ROW = np.dtype(
    [
        ("started", "<i8"),
        ("caller", "<u8"),
        ("args", "<u8", (4,)),
        ("thread", "<u4"),
        ("sequence", "<u4"),
        ("parent", "<u4"),
        ("process", "<u2"),
        ("function", "<u2"),
        ("reserved", "<u4"),
        ("check", "<u4"),
    ]
)

CHUNK_ENTRY = np.dtype(
    [
        ("first_row", "<u8"),
        ("offset", "<u8"),
        ("time_min", "<i8"),
        ("time_max", "<i8"),
        ("length", "<u4"),
        ("rows", "<u4"),
        ("reserved", "<u4"),
        ("crc", "<u4"),
    ]
)

CHUNK_HEAD = np.dtype(
    [("magic", "<u4"), ("rows", "<u4"), ("first_row", "<u8"), ("columns", "<u4"), ("crc", "<u4")]
)

COLUMN_ENTRY = np.dtype(
    [
        ("column", "u1"),
        ("encoding", "u1"),
        ("width", "u1"),
        ("reserved", "u1"),
        ("length", "<u4"),
        ("raw", "<u4"),
        ("crc", "<u4"),
    ]
)

BLOB_ENTRY = np.dtype([("offset", "<u8"), ("length", "<u4"), ("crc", "<u4")])

BUFFER_ENTRY = np.dtype(
    [
        ("offset", "<u8"),
        ("stored", "<u8"),
        ("length", "<u8"),
        ("digest", "<u8", (2,)),
        ("data_crc", "<u4"),
        ("crc", "<u4"),
    ]
)

LOG_ENTRY = np.dtype(
    [
        ("offset", "<u8"),
        ("time", "<i8"),
        ("after_call", "<u8"),
        ("length", "<u4"),
        ("pid", "<u4"),
        ("process", "<i4"),
        ("stream", "u1"),
        ("role", "u1"),
        ("flags", "u1"),
        ("reserved", "u1"),
        ("text_crc", "<u4"),
        ("crc", "<u4"),
    ]
)

PAYLOAD_ITEM = np.dtype([("kind", "u1"), ("index", "u1"), ("length", "<u2"), ("original", "<u4")])

#: Columns of a call, in the order of their numbers in a chunk, with the type a reader gives.
COLUMNS: dict[str, np.dtype[np.generic]] = {
    "time": np.dtype("<i8"),
    "duration": np.dtype("<i8"),
    "process": np.dtype("<u2"),
    "thread": np.dtype("<u4"),
    "sequence": np.dtype("<u4"),
    "parent": np.dtype("<u4"),
    "function": np.dtype("<u2"),
    "flags": np.dtype("u1"),
    "result": np.dtype("<i4"),
    "caller": np.dtype("<u8"),
    "arg0": np.dtype("<u8"),
    "arg1": np.dtype("<u8"),
    "arg2": np.dtype("<u8"),
    "payload": np.dtype("<u4"),
    "nesting": np.dtype("u1"),
}

STREAMS = ("stdout", "stderr", "build", "host", "shim")
ROLES = ("target", "host", "build", "exercise", "shim", "workbench")
LINE_TORN, LINE_IN_PIECES = 1, 2
LINE_PIECE = np.dtype([("offset", "<u8"), ("length", "<u8")])


class Encoding(IntEnum):
    """How a column lies in a chunk."""

    CONSTANT = 0
    PLAIN = 1
    DELTA = 2
    DICTIONARY = 3
    THREAD_DELTA = 4


class CallFlag(IntFlag):
    """Bits of a call's `flags`."""

    INTERNAL = 1  # the shim called itself through the tap
    UNRETURNED = 2  # its process ended while it was under way
    TRUNCATED = 4  # the payload was cut
    LOST_BEFORE = 8  # calls of this thread were lost before this one
    LINK_TIME = 16  # a lookup made by the loader, not by dlsym


class ItemKind(IntEnum):
    """Kinds of payload items."""

    END = 0
    ARGS = 1  # u64 words: arguments from number 3 on
    OUT = 2  # what argument `index` pointed to, after the call
    IN = 3  # what it pointed to, before the call
    STRING = 4  # string argument `index`, without its NUL
    RESOLVED = 5  # u16 function number of the answer, u16, u32, u64 address
    TABLE = 6  # 16-byte UUID of an export table
    LOST = 7  # u64: calls lost before this one
    RETURN = 8  # u64: a return value that is no 32-bit result
    BUFFER = 9  # sessions.buffers: what argument `index` points to, in buffers.dat
    KERNEL = 10  # a launch's parameters: u32 count, u32 layout, count x (u32 offset, u32 size), the block
    NESTED = 11  # what a pointer inside of argument `index` points to


FIRST_PSEUDO_FUNCTION = 0xF000
"""Function numbers from here on name what is no call of the API: Pseudo."""


class Pseudo(IntEnum):
    """Function numbers that are no functions of the model."""

    DLSYM = 0xF001
    DLVSYM = 0xF002
    DLOPEN = 0xF003
    LOAD = 0xF004
    TABLE_SLOT = 0xF005
    UNKNOWN = 0xF006


def row_checks(rows: npt.NDArray[np.void], first_number: int) -> npt.NDArray[np.uint32]:
    """The check each of these consecutive rows should end in; `first_number` is that of the first."""
    factor = np.uint64(0x9E3779B97F4A7C15)
    size = rows.dtype.itemsize // 8
    words = np.ascontiguousarray(rows).view("<u8").reshape(len(rows), size)
    numbers = np.arange(first_number + 1, first_number + 1 + len(rows), dtype=np.uint64)
    with np.errstate(over="ignore"):
        mixed = numbers * factor
        high = np.empty_like(mixed)
        for place in range(size):
            word = words[:, place]
            if place == size - 1:
                word = word & np.uint64(0xFFFFFFFF)
            mixed ^= word
            mixed *= factor
            np.right_shift(mixed, np.uint64(32), out=high)
            mixed ^= high
    return mixed.astype(np.uint32)
