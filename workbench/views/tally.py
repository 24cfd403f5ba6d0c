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


def _places(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    """A place below _PLACES for each value, by its hash."""
    with np.errstate(over="ignore"):
        return ((values * _FACTOR) >> _SHIFT).astype(np.intp)


def tally(values: npt.NDArray[np.uint64]) -> list[tuple[int, int]]:
    """(value, how often) for each different value; quick where they are few, as handles are.

    One whose place another has taken is counted by sorting.
    """
    places = _places(values)
    taken = np.zeros(_PLACES, np.uint64)
    taken[places] = values
    mine = taken[places] == values
    others = values[~mine]
    counts = np.bincount(places if not len(others) else places[mine], minlength=_PLACES)
    filled = np.flatnonzero(counts)
    found = list(zip(taken[filled].tolist(), counts[filled].tolist(), strict=True))
    if len(others):
        rest, times = np.unique(others, return_counts=True)
        found += zip(rest.tolist(), times.tolist(), strict=True)
    return found


def last_of_each(values: npt.NDArray[np.uint64]) -> list[tuple[int, int]]:
    """(value, where it stands last) for each different value; quick where they are few, as threads are."""
    places = _places(values)
    last = np.full(_PLACES, -1, np.int64)
    last[places] = np.arange(len(values))  # of equal places the last one stays
    others = np.flatnonzero(values[last[places]] != values)
    rows = last[last >= 0]
    found = list(zip(values[rows].tolist(), rows.tolist(), strict=True))
    if len(others):
        rest, first = np.unique(values[others[::-1]], return_index=True)
        found += zip(rest.tolist(), others[::-1][first].tolist(), strict=True)
    return found
