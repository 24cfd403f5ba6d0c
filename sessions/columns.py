"""One sealed column back into an array: the mirror of sessions/native/columns.cpp."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from sessions.errors import SessionError
from sessions.format import Encoding

Array = npt.NDArray[Any]


def decompress(stored: bytes, raw: int, where: str) -> bytes:
    """zstd data that must become exactly `raw` bytes."""
    try:
        if zstandard.get_frame_parameters(stored).content_size != raw:
            raise SessionError(f"{where}: says another size than its frame")
        return zstandard.ZstdDecompressor().decompress(stored, max_output_size=raw)
    except zstandard.ZstdError as error:
        raise SessionError(f"{where}: {error}") from error


def from_planes(raw: bytes, rows: int, dtype: np.dtype[np.generic]) -> Array:
    """Byte planes (all first bytes, then all second ones ...) to values."""
    planes = np.frombuffer(raw, dtype=np.uint8).reshape(dtype.itemsize, rows)
    values = np.zeros(rows, dtype=dtype)
    value_bytes = values.view(np.uint8).reshape(rows, dtype.itemsize)
    for place, plane in enumerate(planes):
        if plane.any():  # the high bytes of most columns are zero
            value_bytes[:, place] = plane
    return values


def from_zigzag(values: Array) -> Array:
    """0, 1, 2, 3 ... to 0, -1, 1, -2 ..., in the same unsigned type."""
    one = values.dtype.type(1)
    with np.errstate(over="ignore"):
        result: Array = (values >> one) ^ (~(values & one) + one)
    return result


def thread_sums(differences: Array, keys: npt.NDArray[np.uint64]) -> Array:
    """Running sums of `differences` within each run of equal `keys`, wherever they stand."""
    order = np.argsort(keys, kind="stable")
    sums = np.cumsum(differences[order], dtype=differences.dtype)
    sorted_keys = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], sorted_keys[1:] != sorted_keys[:-1])))
    before = np.zeros(len(starts), dtype=differences.dtype)
    before[1:] = sums[starts[1:] - 1]
    lengths = np.diff(np.concatenate((starts, [len(keys)])))
    result = np.empty_like(differences)
    with np.errstate(over="ignore"):
        result[order] = sums - np.repeat(before, lengths)
    return result


def decode(
    encoding: int,
    stored: bytes,
    raw: int,
    rows: int,
    dtype: np.dtype[np.generic],
    thread_keys: npt.NDArray[np.uint64] | None,
    where: str,
) -> Array:
    """The column's values, shape (rows,). SessionError when the bytes can't be such a column."""
    width = dtype.itemsize
    unsigned = np.dtype(f"<u{width}")
    if encoding == Encoding.CONSTANT:
        if len(stored) != width:
            raise SessionError(f"{where}: a constant of {len(stored)} bytes")
        return np.full(rows, np.frombuffer(stored, dtype=dtype)[0], dtype=dtype)
    if encoding == Encoding.DICTIONARY:
        if not 2 < raw <= 2 + 256 * width + rows:
            raise SessionError(f"{where}: impossible size {raw}")
        data = decompress(stored, raw, where)
        count = int.from_bytes(data[:2], "little")
        indices = np.frombuffer(data, dtype=np.uint8)[2 + count * width :]
        if len(indices) != rows or (rows and int(indices.max()) >= count):
            raise SessionError(f"{where}: its dictionary does not fit")
        return np.frombuffer(data, dtype=dtype, count=count, offset=2)[indices]
    if raw != rows * width or encoding not in (Encoding.PLAIN, Encoding.DELTA, Encoding.THREAD_DELTA):
        raise SessionError(f"{where}: unknown encoding {encoding} or impossible size {raw}")
    values = from_planes(decompress(stored, raw, where), rows, unsigned)
    if encoding == Encoding.DELTA:
        values = np.cumsum(from_zigzag(values), dtype=unsigned)
    elif encoding == Encoding.THREAD_DELTA:
        if thread_keys is None:
            raise SessionError(f"{where}: an encoding of the sequence column only")
        values = thread_sums(from_zigzag(values), thread_keys)
    return values.view(dtype)
