"""Reading the files of a session with pread: never mapped, so that a file cut short is a short read."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sessions import format
from sessions.errors import SessionError


class StreamFile:
    """A file of a session that grows while it is read. A missing one is an error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SessionError(f"{path}: {error.strerror}") from error

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def size(self) -> int:
        """Its length now, in bytes."""
        return os.fstat(self._fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end of the file."""
        parts: list[bytes] = []
        while length > 0 and offset <= self.size():
            part = os.pread(self._fd, min(length, 1 << 28), offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, offset: int, into: npt.NDArray[np.generic]) -> int:
        """Fill an array's bytes from `offset`; how many there were, fewer only at the end of the file."""
        view = memoryview(into.view(np.uint8).data)
        done = 0
        while done < len(view):
            count = self._read_some(view[done:], offset + done)
            if not count:
                break
            done += count
        return done

    def _read_some(self, into: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._fd, [into], offset)
        part = os.pread(self._fd, len(into), offset)  # where there is none: an older macOS
        into[: len(part)] = part
        return len(part)

    def read_exactly(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, or SessionError."""
        data = self.read(offset, length)
        if len(data) != length:
            raise SessionError(f"{self.path}: ends at {offset + len(data)}, {offset + length} bytes expected")
        return data


class IndexFile(StreamFile):
    """A stream head, then entries of one size; a torn entry at the end is not counted.

    Entries end in `crc`, a CRC-32 of what stands before it; `checked` says whether that is verified
    here (blobs' also covers their data and is verified with it).
    """

    def __init__(self, path: Path, magic: bytes, entry: np.dtype[np.void], checked: bool = True) -> None:
        super().__init__(path)
        self._entry = entry
        self._checked = checked
        head_size = format.STREAM_HEAD.itemsize
        check_head(path, self.read(0, head_size), magic, entry.itemsize)

    def __len__(self) -> int:
        return max(0, self.size() - format.STREAM_HEAD.itemsize) // self._entry.itemsize

    def torn(self) -> int:
        """Bytes behind the last whole entry."""
        return max(0, self.size() - format.STREAM_HEAD.itemsize) % self._entry.itemsize

    def entries(self, start: int, stop: int) -> npt.NDArray[np.void]:
        """Entries start..stop, checked; SessionError when one is damaged or missing."""
        size = self._entry.itemsize
        data = self.read_exactly(format.STREAM_HEAD.itemsize + start * size, (stop - start) * size)
        entries = np.frombuffer(data, dtype=self._entry)
        if self._checked:
            stored = entries["crc"]
            for i in range(stop - start):
                if zlib.crc32(data[i * size : (i + 1) * size - 4]) != stored[i]:
                    raise SessionError(f"{self.path}: entry {start + i} is damaged")
        return entries


def check_head(path: Path, data: bytes, magic: bytes, entry_size: int) -> None:
    """SessionError unless `data` is the head of a stream of this kind, format and entry size."""
    if len(data) < format.STREAM_HEAD.itemsize:
        raise SessionError(f"{path}: cut before its head")
    head = np.frombuffer(data, dtype=format.STREAM_HEAD, count=1)[0]
    if bytes(head["magic"]) != magic:
        raise SessionError(f"{path}: damaged head, or no stream of a session")
    if int(head["format"].byteswap()) == format.FORMAT and int(head["entry_size"].byteswap()) == entry_size:
        raise SessionError(f"{path}: written with the bytes of its numbers in the other order")
    if int(head["format"]) != format.FORMAT or int(head["entry_size"]) != entry_size:
        raise SessionError(
            f"{path}: format {int(head['format'])} with entries of {int(head['entry_size'])} bytes; "
            f"this version reads format {format.FORMAT} with {entry_size}"
        )
