from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.part import Part
from workbench.panes import call_lines
from workbench.panes.call_lines import SHORTEST_FOLD, CallLine, CallLines
from workbench.views import growing
from workbench.views.growing import GrowingArray


class Recorded:
    """Rows of which only the function differs, and the masks of a filter over them."""

    def __init__(self, functions: Sequence[int]) -> None:
        self.functions = np.array(functions, np.uint16)
        self.length = 0
        self.calls = self

    def __len__(self) -> int:
        return self.length

    def columns(self, start: int, stop: int, names: Any) -> dict[str, np.ndarray]:
        size = stop - start
        return {
            "process": np.zeros(size, np.uint16),
            "thread": np.ones(size, np.uint32),
            "function": self.functions[start:stop],
        }

    def part(self, start: int, stop: int) -> Part:
        return Part(self, start, stop)  # type: ignore[arg-type]


EVEN = SimpleNamespace(mask=lambda session, start, stop: np.arange(start, stop) % 2 == 0)


def lines_of(functions: Sequence[int], batches: Sequence[int], call_filter: Any = None) -> CallLines:
    recorded = Recorded(functions)
    lines = CallLines(recorded, call_filter)  # type: ignore[arg-type]
    for batch in [*batches, len(functions)]:
        recorded.length = min(recorded.length + batch, len(functions))
        lines.extend(min(lines.scanned + 7, recorded.length))
        while lines.extend(min(lines.scanned + 7, recorded.length)):
            pass
    return lines


def expected(functions: Sequence[int], rows: Sequence[int]) -> list[tuple[int, int]]:
    """(first row, count) a line, by the plain definition."""
    lines = []
    for _, run in groupby(rows, key=lambda row: functions[row]):
        members = list(run)
        if len(members) >= SHORTEST_FOLD:
            lines.append((members[0], len(members)))
        else:
            lines += [(row, 1) for row in members]
    return lines


functions_and_batches = st.tuples(
    st.lists(st.integers(1, 3), max_size=60), st.lists(st.integers(1, 20), max_size=6)
)


@given(functions_and_batches)
def test_folding_does_not_depend_on_how_the_rows_came_in(case: tuple[list[int], list[int]]) -> None:
    functions, batches = case
    lines = lines_of(functions, batches)
    shown = [(lines.line(index).row, lines.line(index).count) for index in range(len(lines))]
    assert shown == expected(functions, range(len(functions)))


@given(functions_and_batches)
def test_rows_a_filter_hides_do_not_break_a_run(case: tuple[list[int], list[int]]) -> None:
    functions, batches = case
    lines = lines_of(functions, batches, EVEN)
    shown = [(lines.line(index).row, lines.line(index).count) for index in range(len(lines))]
    assert shown == expected(functions, range(0, len(functions), 2))


@given(functions_and_batches)
def test_an_expanded_fold_shows_its_head_and_each_of_its_calls(case: tuple[list[int], list[int]]) -> None:
    functions, batches = case
    lines = lines_of(functions, batches)
    plan = expected(functions, range(len(functions)))
    for index, (_, count) in reversed(list(enumerate(plan))):
        if count > 1:
            lines.toggle(lines.line(index))
    shown = [lines.line(index).row for index in range(len(lines))]
    wanted = []
    for row, count in plan:
        wanted += [row] if count == 1 else [row, *range(row, row + count)]
    assert shown == wanted


@given(functions_and_batches)
def test_every_call_is_found_again_by_its_number(case: tuple[list[int], list[int]]) -> None:
    functions, batches = case
    lines = lines_of(functions, batches)
    for index in range(len(lines) - 1, -1, -1):
        lines.toggle(lines.line(index))
    for row in range(len(functions)):
        index = lines.index_of_row(row)
        assert index is not None
        line = lines.line(index)
        assert (line.row, line.expanded) == (row, False)


def test_a_fold_closes_from_one_of_its_members() -> None:
    lines = lines_of([1, 2, 2, 2, 2, 1], [])
    lines.toggle(lines.line(1))
    assert len(lines) == 7
    lines.toggle(lines.line(4))
    assert len(lines) == 3
    assert lines.line(1).count == 4


def test_a_run_that_still_grows_stays_expanded() -> None:
    recorded = Recorded([1] * 10)
    lines = CallLines(recorded)  # type: ignore[arg-type]
    recorded.length = 4
    lines.extend()
    lines.toggle(lines.line(0))
    recorded.length = 10
    lines.extend()
    assert len(lines) == 11
    assert lines.line(10).inside


def test_without_folding_each_call_is_a_line() -> None:
    recorded = Recorded([1] * 10)
    recorded.length = 10
    lines = CallLines(recorded, fold=False)  # type: ignore[arg-type]
    lines.extend()
    assert len(lines) == 10
    assert lines.line(9).row == 9


def test_rows_far_ahead_of_the_look_are_there_at_once_and_folded_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_lines, "FAR", 20)
    functions = [7] * 10 + [1, 2] * 20
    recorded = Recorded(functions)
    recorded.length = len(functions)
    lines = CallLines(recorded)  # type: ignore[arg-type]
    lines.extend(5)
    assert len(lines) == 1 + 45
    assert lines.line(len(lines) - 1) == CallLine(49, 1, 49)
    index = lines.index_of_row(30)
    assert index is not None and lines.line(index).row == 30
    lines.extend(40)
    assert len(lines) == 1 + 30 + 10
    lines.extend()
    assert len(lines) == 1 + 40 and lines.line(len(lines) - 1).row == 49
    assert lines.index_of_row(50) is None


@given(st.lists(st.lists(st.integers(0, 3), max_size=9), max_size=6), st.integers(-1, 60))
def test_an_array_that_grows_in_blocks_reads_as_one(steps: list[list[int]], wanted: int) -> None:
    array, last = GrowingArray(), 0
    with patch.object(growing, "_BLOCK", 4):
        for batch in steps:
            values = last + np.cumsum(np.array(batch, np.int64))
            array.extend(values)
            last = int(values[-1]) if len(values) else last
        whole = array.between(0, len(array))
        assert whole.tolist() == [array[index] for index in range(len(array))]
        assert whole.tolist() == np.cumsum([gap for batch in steps for gap in batch]).tolist()
        assert array.between(2, 7).tolist() == whole[2:7].tolist()
        assert array.searchsorted(wanted) == int(whole.searchsorted(wanted))
        assert array.searchsorted(wanted, "right") == int(whole.searchsorted(wanted, "right"))
