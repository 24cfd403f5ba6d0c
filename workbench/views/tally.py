"""How often which values stand in a column, without sorting it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_PLACES = 1 << 14
_SHIFT = np.uint64(64 - 14)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: spreads handles, which lie in rows


def distinct(numbers: npt.NDArray[Any]) -> list[int]:
    """The different values of small non-negative numbers, ascending."""
    return [] if not len(numbers) else np.flatnonzero(np.bincount(numbers)).tolist()


def _places(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """A place below _PLACES for each value, by its hash."""
    with np.errstate(over="ignore"):
        places: npt.NDArray[np.int64] = ((values * _FACTOR) >> _SHIFT).view(np.int64)
    return places


class Tally:
    """Counts values; quick where they are few and come again and again, as handles do."""

    def __init__(self) -> None:
        self._taken = np.zeros(_PLACES, np.uint64)  # which value a place stands for

    def count(self, values: npt.NDArray[np.uint64]) -> list[tuple[int, int]]:
        """(value, how often) for each different value.

        One that is new, or whose place another has taken, is counted by sorting.
        """
        places = _places(values)
        known = self._taken.take(places) == values
        if known.all():
            return self._counted(places)
        others, times = np.unique(values[~known], return_counts=True)
        self._claim(others)
        return self._counted(places[known]) + list(zip(others.tolist(), times.tolist(), strict=True))

    def _counted(self, places: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
        counts = np.bincount(places)
        filled = np.flatnonzero(counts)
        return list(zip(self._taken[filled].tolist(), counts[filled].tolist(), strict=True))

    def _claim(self, values: npt.NDArray[np.uint64]) -> None:
        """Give free places to values that have none."""
        places = _places(values)
        free = self._taken[places] == 0  # 0 itself needs none: it is what a free first place says
        self._taken[places[free]] = values[free]
