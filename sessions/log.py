"""The log: every line of every process in full, with what it came from."""

from __future__ import annotations

import re
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sessions import format
from sessions.errors import SessionError
from sessions.files import IndexFile, StreamFile

_BLOCK = 4096
_WINDOW = 1 << 18  # bytes of text read at once for lines that lie side by side
_KEPT = 1024  # lines
_COUNT = struct.Struct("<Q")  # of the pieces of a line
_COLUMNS = ("length", "text_crc", "time", "process", "pid", "stream", "role", "flags", "after_call")


class Line(NamedTuple):  # made a million times for a long log: a frozen dataclass takes five times as long
    """A line. `text` has no newline, `length` counts it; `torn` when it ended without one.

    `process` is an index into Session.processes or -1, `after_call` the number of the last call
    recorded before it (0: none), `stream` one of stdout, stderr, build, host, shim.
    """

    time_ns: int
    process: int
    pid: int
    stream: str
    role: str
    text: bytes
    length: int
    torn: bool
    after_call: int


class Log:
    """Lines by index, from 0."""

    def __init__(self, directory: Path, live: Callable[[], bool]) -> None:
        self._directory = directory
        self._live = live
        self._index = IndexFile(directory / "log.index", format.LOG_INDEX_MAGIC, format.LOG_ENTRY)
        self._text = StreamFile(directory / "log.bytes")
        self._count = 0
        self._left: list[Line] = []
        # Read last: several views go through them together.
        self._newest: tuple[int, int, list[Line]] = (0, 0, [])
        self._blocks: dict[int, npt.NDArray[np.void]] = {}
        self.damage: list[str] = []
        self.refresh()

    def __len__(self) -> int:
        return self._count + len(self._left)

    @property
    def whole(self) -> int:
        """How many lines are in the stream, without those whose end a killed writer still awaited."""
        return self._count

    def refresh(self) -> bool:
        """Pick up lines written since; True when there are more."""
        before = len(self)
        live = self._live()
        self._count = len(self._index)
        if not live:
            if self._index.torn() and not self.damage:
                self.damage.append(f"{self._index.path.name}: its last line is torn")
            self._cut()
            self._left = self._partial()
        return len(self) != before

    def line(self, number: int) -> Line:
        """Line `number` (from 0, negative ones from the end); SessionError when it is damaged."""
        if number < 0:
            number += len(self)
        return self.lines(number, number + 1)[0]

    def lines(self, start: int, stop: int) -> list[Line]:
        """Lines start..stop; IndexError outside of what is known since refresh()."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"lines {start}..{stop} of {len(self)}")
        *span, newest = self._newest
        if span == [start, stop]:
            return newest.copy()
        result: list[Line] = []
        at, last = start, min(stop, self._count)
        while at < last:
            entries = self._block(at)[at % _BLOCK :][: last - at]
            result += self._read(entries, at)
            at += len(entries)
        if start < stop <= self._count and stop - start <= _KEPT:
            self._newest = start, stop, result.copy()
        result += self._left[max(0, start - self._count) : max(0, stop - self._count)]
        return result

    def search(self, pattern: str | bytes | re.Pattern[bytes], start: int = 0) -> Iterator[int]:
        """Numbers of the lines from `start` on in which the regular expression is found."""
        if isinstance(pattern, str):
            pattern = pattern.encode()
        compiled = re.compile(pattern)
        for number in range(start, len(self)):
            if compiled.search(self.line(number).text):
                yield number

    def written_by(self, time_ns: int) -> int:
        """How many lines had been written by a time, in ns since the session's start."""

        def written(number: int) -> int:
            if number >= self._count:
                return self._left[number - self._count].time_ns
            return int(self._index.entries(number, number + 1)["time"][0])

        return bisect_right(range(len(self)), time_ns, key=written)

    def _entry(self, number: int) -> np.void:
        entry: np.void = self._block(number)[number % _BLOCK]
        return entry

    def _block(self, number: int) -> npt.NDArray[np.void]:
        """The entries of log.index around one, from a multiple of _BLOCK on."""
        block = number // _BLOCK
        entries = self._blocks.get(block)
        if entries is None or number - block * _BLOCK >= len(entries):
            stop = min((block + 1) * _BLOCK, self._count)
            entries = self._index.entries(block * _BLOCK, stop)
            self._blocks[block] = entries
            while len(self._blocks) > 64:
                self._blocks.pop(next(iter(self._blocks)))
        return entries

    def _read(self, entries: npt.NDArray[np.void], first: int) -> list[Line]:
        """The lines of some entries; `first` is the number of the first of them."""
        texts = self._texts(entries, first)
        columns = (entries[name].tolist() for name in _COLUMNS)
        return [
            self._line(fields, text, number)
            for number, (text, *fields) in enumerate(zip(texts, *columns, strict=True), first)
        ]

    def _texts(self, entries: npt.NDArray[np.void], first: int) -> Iterator[bytes]:
        """Texts that lie side by side are read together: a read a line takes longer than all else."""
        offsets, lengths, flags = (entries[name].tolist() for name in ("offset", "length", "flags"))
        size = self._text.size()
        held, base = b"", 0
        for index, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
            if length > size or flags[index] & format.LINE_IN_PIECES:
                yield self._stored(entries[index], first + index)
                continue
            at = offset - base
            if at < 0:
                yield self._text.read(offset, length)
                continue
            if at + length > len(held):
                ahead = min(offsets[-1] + lengths[-1] - offset, _WINDOW)
                held, base, at = self._text.read(offset, max(length, ahead)), offset, 0
            yield held[at : at + length]

    def _stored(self, entry: np.void, number: int) -> bytes:
        """The text of an entry of log.index; less of it when it is damaged."""
        offset, length = int(entry["offset"]), int(entry["length"])
        if length > self._text.size():
            raise SessionError(f"{self._text.path}: line {number} is missing")
        if int(entry["flags"]) & format.LINE_IN_PIECES == 0:
            return self._text.read(offset, length)
        head = self._text.read(offset, _COUNT.size)
        table = self._text.read(offset + _COUNT.size, self._table_size(head, number))
        first, missing = self._joined(table, length, number)
        return first + self._text.read(offset + _COUNT.size + len(table), missing)

    def _table_size(self, head: bytes, number: int) -> int:
        """Bytes of the table of pieces that a count begins."""
        count = _COUNT.unpack(head)[0] if len(head) == _COUNT.size else 0
        if not 0 < count <= self._text.size():
            raise SessionError(f"{self._text.path}: line {number} is damaged")
        return int(count) * format.LINE_PIECE.itemsize

    def _joined(self, table: bytes, length: int, number: int) -> tuple[bytes, int]:
        """The pieces of a line, and how many bytes of it follow."""
        whole = len(table) // format.LINE_PIECE.itemsize * format.LINE_PIECE.itemsize
        pieces = np.frombuffer(table[:whole], format.LINE_PIECE).tolist()
        missing = length - sum(size for _, size in pieces)
        if missing < 0:
            raise SessionError(f"{self._text.path}: line {number} is damaged")
        return b"".join(self._text.read(offset, size) for offset, size in pieces), missing

    def _line(self, fields: Sequence[int], text: bytes, number: int, torn: bool = False) -> Line:
        """A line of its text and the _COLUMNS of its entry."""
        length, crc, time, process, pid, stream, role, flags, after_call = fields
        if len(text) != length or zlib.crc32(text) != crc:
            raise SessionError(f"{self._text.path}: line {number} is damaged")
        if stream >= len(format.STREAMS) or role >= len(format.ROLES):
            raise SessionError(f"{self._index.path}: line {number} is of an unknown kind")
        return Line(
            time,
            process,
            pid,
            format.STREAMS[stream],
            format.ROLES[role],
            text[:-1] if text.endswith(b"\n") else text,
            length,
            torn or bool(flags & format.LINE_TORN),
            after_call,
        )

    def _cut(self) -> None:
        """Of a log nobody writes any more: drop entries whose text is not in the file."""
        size = self._text.size()
        missing = 0
        while self._count:
            entry = self._entry(self._count - 1)
            if self._end(entry) <= size:
                break
            self._count -= 1
            missing += 1
        if missing:
            self.damage.append(f"{self._text.path.name}: cut, its last {missing} lines are missing")

    def _end(self, entry: np.void) -> int:
        """Where what is stored of a line ends in log.bytes; 0 when that is damaged, as reading it tells."""
        offset, length = int(entry["offset"]), int(entry["length"])
        if int(entry["flags"]) & format.LINE_IN_PIECES == 0:
            return offset + length
        head = self._text.read(offset, _COUNT.size)
        if len(head) < _COUNT.size:
            return offset + _COUNT.size
        try:
            size = self._table_size(head, self._count - 1)
            table = self._text.read(offset + _COUNT.size, size)
            missing = self._joined(table, length, self._count - 1)[1] if len(table) == size else 0
        except SessionError:
            return 0
        return offset + _COUNT.size + size + missing

    def _partial(self) -> list[Line]:
        """Lines that had no end yet when the writer was killed."""
        path = self._directory / "log.partial"
        if not path.exists():
            return []
        data = path.read_bytes()
        lines: list[Line] = []
        at, size = 0, format.LOG_ENTRY.itemsize
        while at < len(data):
            head = data[at : at + size]
            if len(head) < size:
                self.damage.append(f"{path.name}: cut")
                break
            entry = np.frombuffer(head, dtype=format.LOG_ENTRY)[0]
            if zlib.crc32(head[:-4]) != int(entry["crc"]):
                raise SessionError(f"{path}: damaged at byte {at}")
            number, at, first, missing = self._count + len(lines), at + size, b"", int(entry["length"])
            if int(entry["flags"]) & format.LINE_IN_PIECES:
                table = at + _COUNT.size
                at = table + self._table_size(data[at:table], number)
                first, missing = self._joined(data[table:at], missing, number)
            end = at + missing
            if end > len(data) or len(first) + missing < int(entry["length"]):
                self.damage.append(f"{path.name if end > len(data) else self._text.path.name}: cut")
                break
            fields = [int(entry[name]) for name in _COLUMNS]
            line = self._line(fields, first + data[at:end], number, torn=True)
            # Here `offset` is how many lines there were: the line may have been ended since.
            since = self.lines(min(int(entry["offset"]), self._count), self._count)
            if not any(
                (whole.pid, whole.process, whole.stream) == (line.pid, line.process, line.stream)
                and whole.text.startswith(line.text)
                for whole in since
            ):
                lines.append(line)
            at = end
        return lines
