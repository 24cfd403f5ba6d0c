"""Calls per stretch of time, and what happened when."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sessions import format, open_session
from sessions.testing import SessionBuilder
from workbench.views.rate import calls_over_time, happenings


def test_calls_are_counted_by_the_stretch_in_which_they_began(tmp_path: Path) -> None:
    rows = np.zeros(70_000, dtype=format.CALL_ROW)
    rows["time"] = np.sort(np.random.default_rng(1).integers(0, 1000, len(rows)))
    builder = SessionBuilder(tmp_path / "s")
    builder.calls(rows)
    expected = np.bincount(rows["time"] // 100, minlength=10)
    assert calls_over_time(builder.open(), 1000, 10).tolist() == expected.tolist()
    builder.finish()
    assert calls_over_time(open_session(builder.path), 1000, 10).tolist() == expected.tolist()


def test_all_calls_of_a_long_session_are_in_the_picture(tmp_path: Path) -> None:
    rows = np.zeros(90 * 65536, dtype=format.CALL_ROW)
    rows["time"] = np.arange(len(rows))
    with SessionBuilder(tmp_path / "s") as builder:
        for start in range(0, len(rows), 1 << 20):
            builder.calls(rows[start : start + (1 << 20)])
            builder.publish()
    counts = calls_over_time(open_session(tmp_path / "s"), len(rows), 100)
    assert round(counts.sum()) == len(rows)
    assert counts.min() > 0.9 * len(rows) / 100


def test_nothing_recorded_is_an_empty_picture(tmp_path: Path) -> None:
    builder = SessionBuilder(tmp_path / "s")
    assert calls_over_time(builder.open(), 0, 5).tolist() == [0] * 5
    builder.finish()


def test_runs_and_builds_are_told_in_their_order(tmp_path: Path) -> None:
    builder = SessionBuilder(tmp_path / "s")
    builder.event("build", time=10, build=1, ok=False)
    builder.event("run", time=30, run=2)
    builder.event("build", time=20, build=2, ok=True)
    told = [(each.time_ns, each.kind, each.text) for each in happenings(builder.open())]
    assert told == [(10, "failed build", "build 1"), (20, "build", "build 2"), (30, "run", "run 2")]
    builder.finish()
