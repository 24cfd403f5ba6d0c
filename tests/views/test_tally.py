"""Counting and finding values without sorting them, against the plain definition."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workbench.views.tally import Tally, distinct

#: Few and many different ones; of the many, several share a place.
handles = st.one_of(
    st.lists(st.sampled_from([0, 1, 0x55AA00000000, 0x55AA00000080, 2**64 - 1])),
    st.builds(
        lambda seed: [int(n) for n in np.random.default_rng(seed).integers(0, 2**63, 3000)], st.integers(0, 9)
    ),
)


@given(st.lists(handles, max_size=3))
def test_each_value_is_counted_whatever_place_it_shares(batches: list[list[int]]) -> None:
    tally = Tally()
    for values in batches:
        assert dict(tally.count(np.array(values, np.uint64))) == Counter(values)


@given(st.lists(st.integers(0, 70)))
def test_the_different_numbers_come_in_order(values: list[int]) -> None:
    assert distinct(np.array(values, np.uint16)) == sorted(set(values))
