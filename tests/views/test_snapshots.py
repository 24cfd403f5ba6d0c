"""The state at a moment is what going through all calls before it gives, wherever it is started from."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from target_libraries import CUDART, MODULES

from sessions import Session, open_session
from sessions.moment import Moment, moment_of_call
from sessions.testing import SessionBuilder, out_item, resolved_item, string_item
from workbench.views.coverage import Coverage
from workbench.views.device import DeviceState
from workbench.views.results import ResultCounts
from workbench.views.snapshots import Snapshots

INTERVAL = 50


def word(value: int, index: int = 0) -> Any:
    return out_item(index, struct.pack("<Q", value))


def write_runs(path: Path, model: dict[str, Any]) -> None:
    """Two runs of a target that takes and gives back, looks names up, launches, and is nested and late."""
    chance = random.Random(4)
    with SessionBuilder(path, model) as builder:
        for run in (1, 2):
            builder.event("run", run=run, reason="start", command=["target"])
            builder.process(["target"], pid=4000 + run, run=run, modules=MODULES)
            process: dict[str, Any] = {"process": run - 1, "caller": CUDART + 5}
            builder.call("cuDevicePrimaryCtxRetain", args=(1, 0), items=[word(0x5100)], **process)
            builder.call("cuMemGetInfo_v2", args=(1, 2), items=[word(70), word(100, 1)], **process)
            for number in range(200):
                address, kind = 0x1000 * chance.randrange(1, 30), chance.randrange(6)
                if kind == 0:
                    builder.call("cuMemAlloc_v2", args=(1, number + 1), items=[word(address)], **process)
                elif kind == 1:
                    builder.call("cuMemFree_v2", args=(address,), **process)
                elif kind == 2:
                    items = [string_item(0, f"cuName{number % 7}"), word(0x99, 1)]
                    items += [resolved_item(builder.function("cuInit"), 0x99)]
                    builder.call("cuGetProcAddress_v2", args=(1, 2, 12000), items=items, **process)
                elif kind == 3:
                    builder.call("cuStreamCreate", args=(1, 0), items=[word(address)], **process)
                elif kind == 4:
                    builder.call("cuInit", result=chance.choice((0, 3)), duration=9_000, thread=77, **process)
                else:
                    builder.call("cuLaunchKernel", args=(0x6200 + number % 3,), **process)


@pytest.fixture
def runs(tmp_path: Path, model: dict[str, Any]) -> Session:
    """A finished session of two runs."""
    write_runs(tmp_path / "runs", model)
    return open_session(tmp_path / "runs")


def assert_as_from_the_beginning(snapshots: Snapshots, moment: Moment, run: int | None = None) -> None:
    state = snapshots.state(moment, run)
    device, coverage, results = DeviceState(run), Coverage(run), ResultCounts(moment, run)
    device.update(moment)
    coverage.update(moment)
    results.update()
    assert state.device.processes == device.processes
    assert state.coverage.rows() == coverage.rows()
    assert state.results.saved() == results.saved()
    assert state.device.run == state.coverage.run == (moment.newest_run if run is None else run)


def test_a_state_is_the_same_from_a_snapshot_and_from_the_beginning(runs: Session) -> None:
    snapshots = Snapshots(runs, INTERVAL)
    snapshots.build()
    assert len(snapshots.states.before(len(runs.calls))) == len(runs.calls) // INTERVAL
    for row in range(0, len(runs.calls), 7):
        assert_as_from_the_beginning(snapshots, moment_of_call(runs, row))


def test_an_older_run_at_a_moment_of_a_newer_one_is_what_had_become_of_it(runs: Session) -> None:
    snapshots = Snapshots(runs, INTERVAL)
    snapshots.build()
    for row in (220, 300, len(runs.calls) - 1):
        assert_as_from_the_beginning(snapshots, moment_of_call(runs, row), run=1)


def test_a_second_reader_finds_what_the_first_left(runs: Session) -> None:
    Snapshots(runs, INTERVAL).build()
    again = Snapshots(open_session(runs.path), INTERVAL)
    assert again.missing(len(runs.calls)) < INTERVAL
    assert_as_from_the_beginning(again, moment_of_call(runs, 321))


@pytest.mark.parametrize("damage", ["flipped", "cut", "another session's", "no state", "gone"])
def test_a_snapshot_that_can_not_be_used_is_one_that_is_not_there(
    runs: Session, tmp_path: Path, model: dict[str, Any], damage: str
) -> None:
    snapshots = Snapshots(runs, INTERVAL)
    snapshots.build()
    file = runs.path / "states" / "300.2"
    data = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
    elif damage == "cut":
        file.write_bytes(data[:-5])
    elif damage == "no state":
        snapshots.states.put(300, 2, {"device": [{"process": "x"}], "coverage": [], "results": None})
    elif damage == "gone":
        file.unlink()
    else:
        write_runs(tmp_path / "other", model)
        other = Snapshots(open_session(tmp_path / "other"), INTERVAL)
        other.build()
        file.write_bytes((tmp_path / "other" / "states" / "300.2").read_bytes())
    assert_as_from_the_beginning(Snapshots(runs, INTERVAL), moment_of_call(runs, 310))


def test_where_nothing_can_be_written_states_are_kept_in_memory_and_that_is_said(runs: Session) -> None:
    (runs.path / "states").write_text("in the way")
    snapshots = Snapshots(runs, INTERVAL)
    snapshots.build()
    assert "kept in memory" in snapshots.states.problem
    assert snapshots.states.before(400)[0] == (400, 2)
    assert_as_from_the_beginning(snapshots, moment_of_call(runs, 333))


def test_a_gap_is_filled_and_nothing_is_made_twice(runs: Session) -> None:
    Snapshots(runs, INTERVAL).build(120)
    (runs.path / "states" / "50.1").unlink()
    rows: list[int] = []
    snapshots = Snapshots(runs, INTERVAL)
    snapshots.build(progress=rows.append)
    assert rows[0] == INTERVAL
    assert (runs.path / "states" / "50.1").exists()
    rows.clear()
    Snapshots(runs, INTERVAL).build(progress=rows.append)
    assert rows == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutate=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutated_snapshots_are_refused_or_right(runs: Session, mutate: list[tuple[int, int]]) -> None:
    snapshots = Snapshots(runs, INTERVAL)
    snapshots.build()
    file = runs.path / "states" / "300.2"
    whole = file.read_bytes()
    data = bytearray(whole)
    for place, byte in mutate:
        data[place % len(data)] = byte
    file.write_bytes(bytes(data))
    assert_as_from_the_beginning(Snapshots(runs, INTERVAL), moment_of_call(runs, 310))
    file.write_bytes(whole)
