"""Alignment of two sequences of calls: what both have, and what only one has, in order.

The sequences are long (a run has a million calls), nearly equal and full of loops, so neither a quadratic
alignment nor anchors that occur only once will do. Equal stretches are skipped by numpy; where they part,
the nearest place is taken at which a few calls in a row agree again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]

_RESUME = 6  # calls in a row that must agree before the sequences are taken to have met again
_FIRST_WINDOW = 256
_STRIDE = 1 << 16


@dataclass(frozen=True, slots=True)
class Block:
    """Places [a, a_end) of one sequence stand for [b, b_end) of the other; `same`: key by key."""

    a: int
    a_end: int
    b: int
    b_end: int
    same: bool


def align(a: Keys, b: Keys) -> Iterator[Block]:
    """The blocks of two sequences of keys, in order; together they cover both."""
    at, bt = 0, 0
    while at < len(a) or bt < len(b):
        length = _equal_length(a, at, b, bt)
        if length:
            yield Block(at, at + length, bt, bt + length, True)
            at, bt = at + length, bt + length
            continue
        a_next, b_next = _meeting(a, at, b, bt)
        yield Block(at, a_next, bt, b_next, False)
        at, bt = a_next, b_next


def _equal_length(a: Keys, at: int, b: Keys, bt: int) -> int:
    """How many keys from here on are equal."""
    most = min(len(a) - at, len(b) - bt)
    done, stride = 0, 64
    while done < most:
        count = min(stride, most - done)
        unequal = np.flatnonzero(a[at + done : at + done + count] != b[bt + done : bt + done + count])
        if len(unequal):
            return done + int(unequal[0])
        done, stride = done + count, min(stride * 4, _STRIDE)
    return done


def _meeting(a: Keys, at: int, b: Keys, bt: int) -> tuple[int, int]:
    """The nearest later places at which both go on alike; the ends when they never do."""
    window = _FIRST_WINDOW
    while True:
        found = _nearest(a[at : at + window], b[bt : bt + window])
        if found is not None:
            return at + found[0], bt + found[1]
        if at + window >= len(a) and bt + window >= len(b):
            return len(a), len(b)
        window *= 4


def _nearest(a: Keys, b: Keys) -> tuple[int, int] | None:
    """The pair of places, nearest to the beginning, from which _RESUME keys (or all that is left) agree."""
    run = min(_RESUME, len(a), len(b))
    if not run:
        return None
    # Hashes of `run` keys in a row: wrapping products are fine, every hit is checked.
    hash_a, hash_b = _rolling(a, run), _rolling(b, run)
    first_b: dict[int, int] = {}
    for place, value in enumerate(hash_b.tolist()):
        first_b.setdefault(value, place)
    best: tuple[int, int] | None = None
    for place, value in enumerate(hash_a.tolist()):
        if best is not None and place >= sum(best):
            break
        other = first_b.get(value)
        near = other is not None and (best is None or place + other < sum(best))
        if near and other is not None and np.array_equal(a[place : place + run], b[other : other + run]):
            best = place, other
    return best


def _rolling(keys: Keys, run: int) -> Keys:
    count = len(keys) - run + 1
    total = np.zeros(count, dtype=np.int64)
    with np.errstate(over="ignore"):
        for step in range(run):
            total = total * np.int64(1_000_003) + keys[step : step + count]
    return total
