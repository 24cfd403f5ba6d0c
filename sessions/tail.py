"""The rows that are not sealed yet, read from the writer's ring in calls.tail: each once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sessions import format
from sessions.columns import Array
from sessions.errors import SessionError
from sessions.files import StreamFile, check_head

_ROW = format.CALL_ROW.itemsize
_READ_AT_ONCE = 4096  # rows: they and the temporaries stay in the cache of the processor
_FEW = 512  # rows for which no column is taken apart


class _Ring:
    """Values of rows start..stop, the newest ones, each at the place it has in the file."""

    def __init__(self, dtype: np.dtype[np.generic]) -> None:
        self.data: Array = np.empty(format.TAIL_ROWS, dtype=dtype)
        self.start = self.stop = 0

    def holds(self, start: int) -> bool:
        """Whether row `start` is here, or would be the next."""
        return self.start <= start <= self.stop

    def begin(self, row: int) -> None:
        """Forget what it holds; `row` comes next."""
        self.start = self.stop = row

    def room(self, stop: int) -> None:
        """Give up what rows up to `stop` will overwrite."""
        self.start = max(self.start, stop - format.TAIL_ROWS)

    def parts(self, start: int, stop: int) -> list[Array]:
        """Views of rows start..stop: one, or two where the ring ends between them."""
        if start == stop:
            return [self.data[:0]]
        first, last = start % format.TAIL_ROWS, (stop - 1) % format.TAIL_ROWS + 1
        return [self.data[first:last]] if first < last else [self.data[first:], self.data[:last]]


class Tail:
    """What has been read of the ring is kept, so that a row is read and checked once, whoever asks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = StreamFile(path)
        self._rows: _Ring | None = None  # made when first needed: a sealed session has none
        self._columns: dict[str, _Ring] = {}
        head = self.head()
        if int(head["capacity"]) != format.TAIL_ROWS or int(head["header_size"]) != format.TAIL_HEADER_SIZE:
            raise SessionError(f"{self.path}: damaged head")

    def head(self) -> np.void:
        """The head as it is now, checked."""
        data = self._file.read(0, format.TAIL_HEAD.itemsize)
        check_head(self.path, data, format.TAIL_MAGIC, _ROW)
        if len(data) < format.TAIL_HEAD.itemsize:
            raise SessionError(f"{self.path}: cut before its head")
        head: np.void = np.frombuffer(data, dtype=format.TAIL_HEAD, count=1)[0]
        return head

    def counts(self) -> dict[str, int]:
        """How many lines, events and blobs the writer had put into their files; those it told of."""
        head = self.head()
        pairs = {name: (int(head[name]), int(head[f"{name}_copy"])) for name in ("lines", "events", "blobs")}
        return {name: count for name, (count, copy) in pairs.items() if count ^ copy == format.ROWS_KEY}

    def keeps(self, row: int) -> bool:
        """Whether a row has been read already, so that the writer can't overwrite it."""
        return self._rows is not None and self._rows.start <= row < self._rows.stop

    def raw(self, start: int, stop: int) -> npt.NDArray[np.void]:
        """Rows as they lie in the ring now, unchecked; fewer when the file is cut."""
        parts = []
        while start < stop:
            count = min(stop - start, format.TAIL_ROWS - start % format.TAIL_ROWS)
            data = self._file.read(self._place(start), count * _ROW)
            parts.append(data[: len(data) // _ROW * _ROW])
            if len(data) < count * _ROW:
                break
            start += count
        return np.frombuffer(b"".join(parts), dtype=format.CALL_ROW)

    def valid(self, first: int) -> int:
        """How many rows from `first` on pass their check."""
        rows = self.raw(first, first + format.TAIL_ROWS)
        bad = np.flatnonzero(format.row_checks(rows, first) != rows["check"])
        return int(bad[0]) if len(bad) else len(rows)

    def columns(self, start: int, stop: int, names: list[str], live: bool) -> dict[str, Array] | None:
        """Columns of rows start..stop, at most TAIL_ROWS; None when one of them fails its check.

        `live`: the writer lives, so that only what it may have overwritten meanwhile needs a check.
        """
        if self._rows is not None and start < self._rows.start:  # looked back at, which nobody goes on from
            rows = self.raw(start, stop)
            good = len(rows) == stop - start and np.array_equal(format.row_checks(rows, start), rows["check"])
            return {name: np.ascontiguousarray(rows[name]) for name in names} if good else None
        if not self._keep(start, stop, live):
            return None
        if stop - start <= _FEW:
            return self.pick(np.arange(start, stop), names)
        found = {}
        for name in names:
            parts = self._column(name, start, stop).parts(start, stop)
            found[name] = parts[0].copy() if len(parts) == 1 else np.concatenate(parts)
        return found

    def pick(self, rows: npt.NDArray[np.int64], names: Iterable[str]) -> dict[str, Array] | None:
        """Columns at some rows; None unless all of them have been read and are kept."""
        kept = self._rows
        if kept is None or not kept.start <= int(rows.min()) <= int(rows.max()) < kept.stop:
            return None
        picked = kept.data[rows % format.TAIL_ROWS]
        return {name: np.ascontiguousarray(picked[name]) for name in names}

    def _keep(self, start: int, stop: int, live: bool) -> bool:
        """Read rows up to `stop`; False when they aren't what the writer wrote there."""
        rows = self._rows
        if rows is None:
            rows = self._rows = _Ring(format.CALL_ROW)
        if not rows.holds(start):
            rows.begin(start)
        while rows.stop < stop:
            at = rows.stop
            count = min(stop - at, format.TAIL_ROWS - at % format.TAIL_ROWS, _READ_AT_ONCE)
            rows.room(at + count)
            (part,) = rows.parts(at, at + count)
            if self._file.read_into(self._place(at), part) < part.nbytes:
                return False
            untouched = live and self._untouched(at)
            if not untouched and not np.array_equal(format.row_checks(part, at), part["check"]):
                return False
            rows.stop = at + count
            for name, ring in self._columns.items():  # of rows that are in the cache now
                if ring.stop == at:
                    self._extend(name, ring, rows.stop)
        return True

    def _untouched(self, row: int) -> bool:
        """Whether the writer has not begun to overwrite rows from this one on, which were there."""
        head = self.head()
        return int(head["ahead"]) > 0 and int(head["rows"]) + int(head["ahead"]) <= row + format.TAIL_ROWS

    def _column(self, name: str, start: int, stop: int) -> _Ring:
        """One field of the kept rows by itself: what many look at is taken apart once."""
        ring = self._columns.get(name)
        if ring is None:
            ring = self._columns[name] = _Ring(format.COLUMNS[name])
        if not ring.holds(start):
            ring.begin(start)
        if ring.stop < stop:
            self._extend(name, ring, stop)
        return ring

    def _extend(self, name: str, ring: _Ring, stop: int) -> None:
        """Take the field of the kept rows up to `stop`."""
        assert self._rows is not None
        ring.room(stop)
        places = ring.parts(ring.stop, stop)
        for into, rows in zip(places, self._rows.parts(ring.stop, stop), strict=True):
            into[:] = rows[name]
        ring.stop = stop

    def _place(self, row: int) -> int:
        return format.TAIL_HEADER_SIZE + row % format.TAIL_ROWS * _ROW
