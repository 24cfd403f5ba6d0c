"""Ascending numbers, of calls or of lines, that grow at their end."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

_BLOCK = 1 << 16
_NOTHING: Rows = np.empty(0, np.int64)


class GrowingArray:
    """Ascending int64 values, grown at the end, in blocks: what is there is never copied to make room."""

    def __init__(self) -> None:
        self._blocks: list[Rows] = []
        self._firsts: list[int] = []  # the first value of each block
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def extend(self, values: Rows) -> None:
        """Append the values."""
        while len(values):
            at = self._length % _BLOCK
            if not at:
                self._blocks.append(np.empty(_BLOCK, np.int64))
                self._firsts.append(int(values[0]))
            taken = values[: _BLOCK - at]
            self._blocks[-1][at : at + len(taken)] = taken
            self._length += len(taken)
            values = values[len(taken) :]

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self._length:
            raise IndexError(index)
        return int(self._blocks[index // _BLOCK][index % _BLOCK])

    def between(self, start: int, stop: int) -> Rows:
        """The values at start..stop, which are cut to what there is."""
        start, stop = max(start, 0), min(stop, self._length)
        parts = [
            self._blocks[block][max(start - block * _BLOCK, 0) : stop - block * _BLOCK]
            for block in range(start // _BLOCK, -(-stop // _BLOCK))
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def searchsorted(self, value: int, side: Literal["left", "right"] = "left") -> int:
        """Where the value would stand, as numpy has it."""
        search = bisect_right if side == "right" else bisect_left
        block = max(search(self._firsts, value) - 1, 0)
        held = self._blocks[block][: self._length - block * _BLOCK] if self._blocks else _NOTHING
        return block * _BLOCK + int(held.searchsorted(value, side=side))
