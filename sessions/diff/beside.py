"""Two compared runs side by side: per process role and thread, each call beside the one it stands for."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sessions.diff.align import align
from sessions.diff.compare import Comparison, Divergence
from sessions.diff.pairing import ThreadPair

Rows = npt.NDArray[np.int64]
_NONE: Rows = np.empty(0, np.int64)


@dataclass(frozen=True)
class BesideLine:
    """A head (`text`), or a call of A beside one of B: row indices, None where a side has none.

    `divergence`: in what the two differ, when it is known; a call that only one side has always differs.
    """

    kind: Literal["process", "thread", "call"]
    text: str = ""
    a: int | None = None
    b: int | None = None
    divergence: Divergence | None = None

    @property
    def differs(self) -> bool:
        """Whether the sides are not alike here."""
        return self.kind == "call" and (self.divergence is not None or self.a is None or self.b is None)


@dataclass(frozen=True, eq=False)
class _Segment:
    """Lines that are made alike: one head, or calls of both sides (pairs), or of one."""

    start: int
    head: BesideLine | None
    a: Rows
    b: Rows

    def __len__(self) -> int:
        return 1 if self.head is not None else max(len(self.a), len(self.b))


class Beside:
    """The lines of a comparison; made when asked for, since a run has a million calls."""

    def __init__(self, found: Comparison) -> None:
        self.found = found
        self._by_rows = {(each.a, each.b): each for each in found.every}
        self._segments: list[_Segment] = []
        self._starts: list[int] = []
        self._length = 0
        self._differences: list[Rows] = []
        self._differing = [each.a for each in found.every if each.a is not None and each.b is not None]
        self._build()
        self.differences: Rows = np.concatenate(self._differences) if self._differences else _NONE
        """indices of lines that differ; of calls that one side alone has, the first of each stretch"""

    def __len__(self) -> int:
        return self._length

    def line(self, index: int) -> BesideLine:
        """Line `index`, from 0."""
        segment = self._segments[bisect_right(self._starts, index) - 1]
        if segment.head is not None:
            return segment.head
        at = index - segment.start
        a = int(segment.a[at]) if at < len(segment.a) else None
        b = int(segment.b[at]) if at < len(segment.b) else None
        return BesideLine("call", a=a, b=b, divergence=self._by_rows.get((a, b)))

    def index_of(self, divergence: Divergence) -> int | None:
        """The line where a divergence stands; None of one that is no call's."""
        for segment in self._segments:
            if segment.head is not None:
                continue
            rows, row = (segment.a, divergence.a) if divergence.a is not None else (segment.b, divergence.b)
            found = np.flatnonzero(rows == row) if row is not None else _NONE
            if len(found):
                return segment.start + int(found[0])
        return None

    def _build(self) -> None:
        for pair in self.found.pairs:
            pids = [member.process.pid if member else "none" for member in (pair.a, pair.b)]
            self._head("process", f"{pair.role}  {pids[0]} | {pids[1]}")
            self._threads(pair.threads)

    def _threads(self, pairs: list[ThreadPair]) -> None:
        for place, (a, b) in enumerate(pairs):
            self._head("thread", f"thread {place + 1}")
            if a is None or b is None:
                self._add(None, a.rows if a is not None else _NONE, b.rows if b is not None else _NONE)
                continue
            for block in align(a.keys, b.keys):
                rows_a, rows_b = a.rows[block.a : block.a_end], b.rows[block.b : block.b_end]
                if block.same:
                    self._add(None, rows_a, rows_b)
                else:
                    self._add(None, rows_a, _NONE)
                    self._add(None, _NONE, rows_b)

    def _head(self, kind: Literal["process", "thread"], text: str) -> None:
        self._add(BesideLine(kind, text), _NONE, _NONE)

    def _add(self, head: BesideLine | None, a: Rows, b: Rows) -> None:
        segment = _Segment(self._length, head, a, b)
        if not len(segment):
            return
        self._segments.append(segment)
        self._starts.append(segment.start)
        self._length += len(segment)
        if head is not None:
            return
        if len(a) and len(b):
            places = np.flatnonzero(np.isin(a, self._differing)) if self._differing else _NONE
        else:
            places = np.zeros(1, np.int64)
        if len(places):
            self._differences.append(places + segment.start)
