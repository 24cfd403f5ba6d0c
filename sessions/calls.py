"""The calls of a session: sealed chunks and the raw tail, as columns."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sessions import format
from sessions.blobs import Blobs, Item
from sessions.columns import Array, decode
from sessions.errors import SessionError
from sessions.files import IndexFile, StreamFile
from sessions.part import Part
from sessions.tail import Tail

_CACHE_BYTES = 96 << 20
_NEIGHBOURS = 64  # rows read at once for one that is looked at
_SHARED_ROWS = 1 << 17  # of a part that is kept for the next who asks for it


@dataclass(frozen=True, slots=True)
class Row:
    """One call. `number` is what is displayed: its place, from 1. Times in ns."""

    number: int
    time: int
    duration: int
    process: int
    thread: int
    sequence: int
    parent: int
    function: int
    flags: format.CallFlag
    result: int
    caller: int
    args: tuple[int, int, int]
    payload: int
    nesting: int


class Calls:
    """Columns over all calls. Rows are numbered from 0 here; the displayed number is one more."""

    def __init__(self, directory: Path, live: Callable[[], bool]) -> None:
        self._directory = directory
        self._live = live
        self._index = IndexFile(directory / "calls.index", format.CHUNK_INDEX_MAGIC, format.CHUNK_ENTRY)
        self._chunks = StreamFile(directory / "calls.dat")
        self._tail = Tail(directory / "calls.tail")
        self._blobs = Blobs(directory)
        self._entries = np.empty(0, dtype=format.CHUNK_ENTRY)
        self._first_rows: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._rows = 0
        self._neighbours: tuple[int, int, dict[str, Array]] = (0, 0, {})
        self._part: Part | None = None
        self._directories: dict[int, npt.NDArray[np.void]] = {}
        self._cache: OrderedDict[tuple[int, str], Array] = OrderedDict()
        self._cached_bytes = 0
        self.damage: list[str] = []
        self.refresh()

    def __len__(self) -> int:
        return self._rows

    @property
    def sealed(self) -> int:
        """How many rows lie in chunks."""
        if not len(self._entries):
            return 0
        return int(self._entries[-1]["first_row"]) + int(self._entries[-1]["rows"])

    @property
    def stored_bytes(self) -> int:
        """Bytes of the sealed chunks and their index."""
        return int(self._entries["length"].sum(dtype=np.int64)) + self._entries.nbytes

    @property
    def payloads(self) -> int:
        """How many payloads there are; calls with equal ones share theirs."""
        return len(self._blobs)

    def counts(self) -> dict[str, int]:
        """How many `lines`, `events` and `blobs` the writer last said there are; {} of an older writer."""
        return self._tail.counts()

    def refresh(self) -> bool:
        """Pick up rows written since; True when there are more."""
        before = self._rows
        # The tail first: a chunk sealed in between only makes the rows reachable twice.
        live = self._live()
        rows = self._published()
        self._read_index()
        if rows is None:
            rows = self.sealed + self._tail.valid(self.sealed)
        rows = max(rows, self.sealed)
        if not live and rows > self.sealed:
            rows = self._cut_tail(rows)
        self._rows = max(rows, before)
        return self._rows != before

    def columns(self, start: int, stop: int, names: Iterable[str] | None = None) -> dict[str, Array]:
        """Columns of rows start..stop, each of shape (stop - start,); all columns unless named.

        IndexError outside of the rows known since refresh(); SessionError when they are damaged.
        """
        wanted = list(format.COLUMNS) if names is None else list(names)
        for name in wanted:
            if name not in format.COLUMNS:
                raise KeyError(name)
        if not 0 <= start <= stop <= self._rows:
            raise IndexError(f"rows {start}..{stop} of {self._rows}")
        parts: list[dict[str, Array]] = []
        at = start
        while at < stop:
            part = self._tail_part(at, stop, wanted)
            if part is None:
                part = self._chunk_part(at, stop, wanted)
            parts.append(part)
            at += len(next(iter(part.values()))) if wanted else stop - at
        if not parts:
            return {name: np.empty(0, dtype=format.COLUMNS[name]) for name in wanted}
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in wanted}

    def part(self, start: int, stop: int) -> Part:
        """Rows start..stop, shared by all who ask for just these one after another."""
        part = self._part
        if part is None or part.start != start or len(part) != stop - start:
            part = Part(self, start, stop)
            self._part = part if len(part) <= _SHARED_ROWS else None
        return part

    def pick(self, rows: npt.NDArray[np.int64], names: Iterable[str]) -> dict[str, Array]:
        """Columns at a few rows, which lie not far from each other; shape (len(rows),)."""
        found = self._tail.pick(rows, names)
        return self._picked(rows, names) if found is None else found

    def _picked(self, rows: npt.NDArray[np.int64], names: Iterable[str]) -> dict[str, Array]:
        start = int(rows.min())
        columns = self.columns(start, int(rows.max()) + 1, names)
        return {name: column[rows - start] for name, column in columns.items()}

    def row(self, number: int) -> Row:
        """Row `number` (from 0)."""
        start, columns = self._around(number)
        value = {name: column[number - start].item() for name, column in columns.items()}
        return Row(
            number=number + 1,
            time=value["time"],
            duration=value["duration"],
            process=value["process"],
            thread=value["thread"],
            sequence=value["sequence"],
            parent=value["parent"],
            function=value["function"],
            flags=format.CallFlag(value["flags"]),
            result=value["result"],
            caller=value["caller"],
            args=(value["arg0"], value["arg1"], value["arg2"]),
            payload=value["payload"],
            nesting=value["nesting"],
        )

    def payload(self, number: int) -> list[Item]:
        """What was recorded with row `number` (from 0) besides its columns."""
        start, columns = self._around(number)
        return self.payload_of(int(columns["payload"][number - start]))

    def _around(self, number: int) -> tuple[int, dict[str, Array]]:
        """The first row and the columns of a few rows that hold `number`: whoever shows a row wants its
        neighbours next. Rows never change once they are known."""
        start, stop, columns = self._neighbours
        if not start <= number < stop:
            start = number - number % _NEIGHBOURS
            stop = min(start + _NEIGHBOURS, self._rows)
            try:
                columns = self.columns(start, stop)
            except SessionError:  # damage beside it is none of its own
                stop = start
            if not start <= number < stop:
                start, stop = number, number + 1
                columns = self.columns(start, stop)
            self._neighbours = start, stop, columns
        return start, columns

    def blob(self, number: int) -> bytes:
        """The bytes of a payload, whatever they are; SessionError when there is none of that number."""
        return self._blobs.content(number)

    def payload_of(self, blob: int) -> list[Item]:
        """The same by the value of the payload column, for who has read it already."""
        return self._blobs.items(blob) if blob else []

    def blocks_begun_by(self, time_ns: int) -> list[tuple[int, int]]:
        """Stretches of rows (start, stop), ascending, that may hold a call which had begun by a time."""
        count, sealed = len(self._entries), self.sealed
        chosen = self._entries[self._entries["time_min"] <= time_ns] if count else self._entries
        blocks = [(int(entry["first_row"]), int(entry["first_row"]) + int(entry["rows"])) for entry in chosen]
        tail = range(sealed, self._rows, format.CHUNK_ROWS)
        blocks += [(start, min(start + format.CHUNK_ROWS, self._rows)) for start in tail]
        return [(start, min(stop, self._rows)) for start, stop in blocks if start < self._rows]

    def spans(self) -> list[tuple[int, int, int, int]]:
        """Stretches of rows: (start, stop, earliest, latest time of entry), ascending, all rows in one."""
        found = []
        for entry in self._entries:
            start = int(entry["first_row"])
            found.append((start, start + int(entry["rows"]), int(entry["time_min"]), int(entry["time_max"])))
        for start in range(self.sealed, self._rows, format.CHUNK_ROWS):
            stop = min(start + format.CHUNK_ROWS, self._rows)
            times = self.columns(start, stop, ("time",))["time"]
            found.append((start, stop, int(times.min()), int(times.max())))
        return found

    # The tail

    def _published(self) -> int | None:
        """Rows published so far; None when a dead writer left the number half written."""
        for _ in range(1000):
            head = self._tail.head()
            rows = int(head["rows"])
            if rows ^ format.ROWS_KEY == int(head["rows_copy"]):
                return rows
            if not self._live():
                return None
        return None

    def _cut_tail(self, rows: int) -> int:
        """Of a tail nobody writes any more: the rows that are still in the file."""
        if rows - self.sealed > format.TAIL_ROWS:
            raise SessionError(f"{self._tail.path}: {rows} rows said, {self.sealed} sealed: the index is cut")
        there = self.sealed + len(self._tail.raw(self.sealed, rows))
        if there < rows:
            self._note(f"{self._tail.path.name}: cut, its last {rows - there} calls are missing")
        return there

    def _note(self, text: str) -> None:
        if text not in self.damage:
            self.damage.append(text)

    def _tail_part(self, start: int, stop: int, wanted: list[str]) -> dict[str, Array] | None:
        """Columns of start..stop from the tail; None when a chunk holds the first of them."""
        sealed = self.sealed
        recent = self._rows - format.TAIL_ROWS + format.CHUNK_ROWS
        from_tail = sealed if not self._live() else max(0, recent)
        if start < min(sealed, from_tail) and not (self._live() and self._tail.keeps(start)):
            return None
        stop = min(stop, start + format.TAIL_ROWS)
        found = self._tail.columns(start, stop, wanted, self._live())
        if found is None:
            self._read_index()  # overwritten since refresh(): then it has been sealed
            if start < self.sealed:
                return None
            raise SessionError(f"{self._tail.path}: damaged between calls {start + 1} and {stop}")
        return found

    # The chunks

    def _read_index(self) -> None:
        known, count = len(self._entries), len(self._index)
        if not self._live() and self._index.torn():
            self._note(f"{self._index.path.name}: its last entry is torn")
        if count <= known:
            return
        fresh = self._index.entries(known, count)
        expected = self.sealed
        for entry in fresh:
            if int(entry["first_row"]) != expected or not 0 < int(entry["rows"]) <= format.CHUNK_ROWS:
                raise SessionError(f"{self._index.path}: entry for call {expected + 1} is out of order")
            expected += int(entry["rows"])
        self._entries = np.concatenate((self._entries, fresh))
        self._first_rows = self._entries["first_row"].copy()

    def _chunk_part(self, start: int, stop: int, wanted: list[str]) -> dict[str, Array]:
        number = int(np.searchsorted(self._first_rows, start, side="right")) - 1
        entry = self._entries[number]
        first, rows = int(entry["first_row"]), int(entry["rows"])
        begin, end = start - first, min(stop - first, rows)
        return {name: self._column(number, name)[begin:end] for name in wanted}

    def _column(self, chunk: int, name: str) -> Array:
        cached = self._cache.get((chunk, name))
        if cached is not None:
            self._cache.move_to_end((chunk, name))
            return cached
        values = self._decode(chunk, name)
        values.flags.writeable = False
        self._cache[(chunk, name)] = values
        self._cached_bytes += values.nbytes
        while self._cached_bytes > _CACHE_BYTES:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= dropped.nbytes
        return values

    def _decode(self, chunk: int, name: str) -> Array:
        directory = self._column_directory(chunk)
        entry = self._entries[chunk]
        rows = int(entry["rows"])
        number = list(format.COLUMNS).index(name)
        where = f"{self._chunks.path}: column {name} from call {int(entry['first_row']) + 1}"
        column = directory[number]
        before = int(directory["length"][:number].sum(dtype=np.int64))
        head = format.CHUNK_HEAD.itemsize + directory.nbytes
        stored = self._chunks.read_exactly(int(entry["offset"]) + head + before, int(column["length"]))
        if zlib.crc32(stored) != int(column["crc"]):
            raise SessionError(f"{where}: damaged")
        keys = None
        if name == "sequence" and int(column["encoding"]) == format.Encoding.THREAD_DELTA:
            process = self._column(chunk, "process").astype(np.uint64)
            keys = (process << np.uint64(32)) | self._column(chunk, "thread").astype(np.uint64)
        dtype = format.COLUMNS[name]
        values = decode(int(column["encoding"]), stored, int(column["raw"]), rows, dtype, keys, where)
        if name == "parent":
            sequence = self._column(chunk, "sequence")
            values = np.where(values == 0, values, sequence - values)
        return values

    def _column_directory(self, chunk: int) -> npt.NDArray[np.void]:
        cached = self._directories.get(chunk)
        if cached is not None:
            return cached
        entry = self._entries[chunk]
        offset, length = int(entry["offset"]), int(entry["length"])
        where = f"{self._chunks.path}: chunk from call {int(entry['first_row']) + 1}"
        count, head_size = len(format.COLUMNS), format.CHUNK_HEAD.itemsize
        data = self._chunks.read_exactly(offset, head_size + count * format.COLUMN_ENTRY.itemsize)
        head = np.frombuffer(data, dtype=format.CHUNK_HEAD, count=1)[0]
        crc = zlib.crc32(data[head_size:], zlib.crc32(data[: head_size - 4]))
        if (
            int(head["magic"]) != format.CHUNK_MAGIC
            or int(head["columns"]) != count
            or int(head["crc"]) != crc
        ):
            raise SessionError(f"{where}: damaged")
        if head["first_row"] != entry["first_row"] or head["rows"] != entry["rows"]:
            raise SessionError(f"{where}: not the chunk its index entry names")
        directory: npt.NDArray[np.void] = np.frombuffer(data, dtype=format.COLUMN_ENTRY, offset=head_size)
        widths = [dtype.itemsize for dtype in format.COLUMNS.values()]
        if directory["column"].tolist() != list(range(count)) or directory["width"].tolist() != widths:
            raise SessionError(f"{where}: other columns than this version knows")
        if len(data) + int(directory["length"].sum(dtype=np.int64)) != length:
            raise SessionError(f"{where}: its columns do not fill it")
        self._directories[chunk] = directory
        return directory
