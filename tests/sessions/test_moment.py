"""A session as it was at a moment: what had returned, what was under way, what had been written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sessions import CallFlag, Session, format, open_session
from sessions.moment import Moment, cut_at, moment_at, moment_of_call
from sessions.testing import SessionBuilder, out_item

MODEL = {"functions": [{"id": 1, "name": "cuInit"}, {"id": 2, "name": "cuMemAlloc_v2"}]}


def builder_of(path: Path) -> SessionBuilder:
    return SessionBuilder(path / "session", MODEL)


def flying(moment: Moment) -> list[tuple[int, int]]:
    return sorted((call.thread, call.age_ns) for call in moment.in_flight())


def test_a_call_under_way_is_in_flight_and_its_result_is_not_known_yet(tmp_path: Path) -> None:
    builder = builder_of(tmp_path)
    builder.process(pid=7, time=0)
    # One drain of the rings is in order of entry: the outer call stands before the one made inside of it.
    builder.call("cuInit", thread=1, time=100, duration=900, result=3, items=[out_item(0, b"abcd")])
    builder.call("cuInit", thread=1, time=200, duration=100, parent=1)
    builder.call("cuInit", thread=2, time=250, duration=5000)
    builder.finish()
    session = open_session(builder.path)
    moment = moment_of_call(session, 1)
    assert (len(moment.calls), moment.now_ns()) == (2, 300)
    outer = moment.calls.row(0)
    assert (outer.flags, outer.result, outer.payload, outer.duration) == (CallFlag.UNRETURNED, 0, 0, 200)
    assert flying(moment) == [(1, 200), (2, 50)]
    after = moment_at(session, 1000)
    assert (len(after.calls), flying(after)) == (2, [(2, 750)])
    assert after.calls.row(0).result == 3


def test_before_the_first_call_there_is_none(tmp_path: Path) -> None:
    builder = builder_of(tmp_path)
    builder.call("cuInit", time=100)
    builder.finish()
    moment = moment_at(open_session(builder.path), 50)
    assert (len(moment.calls), moment.in_flight(), len(moment.log), moment.events) == (0, [], 0, [])
    assert moment.calls.columns(0, 0)["time"].shape == (0,)


def test_lines_events_and_processes_are_those_of_the_moment(tmp_path: Path) -> None:
    builder = builder_of(tmp_path)
    builder.process(["first"], pid=7, time=0)
    builder.line("early", time=100)
    builder.call("cuInit", time=150, duration=10)
    builder.exit(0, exit_code=3, time=300)
    builder.process(["second"], pid=8, run=2, time=400)
    builder.line("late", time=500, process=1)
    builder.finish()
    session = open_session(builder.path)
    alive = moment_at(session, 299)
    assert [line.text for line in alive.log.lines(0, len(alive.log))] == [b"early"]
    assert [(p.pid, p.ended_ns) for p in alive.processes] == [(7, None)]
    ended = moment_at(session, 400)
    assert [(p.pid, p.exit_code) for p in ended.processes] == [(7, 3), (8, None)]
    assert (alive.newest_run, ended.newest_run, session.newest_run) == (1, 2, 2)
    with pytest.raises(IndexError):
        alive.log.line(1)
    with pytest.raises(IndexError):
        alive.calls.columns(0, 2)


def test_a_process_that_made_calls_is_known_though_its_event_is_younger(tmp_path: Path) -> None:
    builder = builder_of(tmp_path)
    builder.process(pid=7, time=90)
    builder.process(pid=8, time=400)
    builder.call("cuInit", process=1, time=100, duration=5)
    builder.finish()
    moment = moment_at(open_session(builder.path), 200)
    assert [process.pid for process in moment.processes] == [7, 8]


def test_what_was_under_way_when_the_writer_ended_is_so_at_the_end_and_not_before_it_began(
    tmp_path: Path,
) -> None:
    builder = builder_of(tmp_path)
    builder.process(pid=7, time=0)
    builder.call("cuInit", time=100, duration=10)
    builder.in_flight("cuInit", started=500, age=50, sequence=2)
    builder.finish()
    session = open_session(builder.path)
    assert flying(moment_at(session, 520)) == [(7, 20)]
    assert flying(moment_at(session, 499)) == []


def rows_of_threads(count: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Calls of four threads, nested and long ones among them, written in drains: each sorted by entry."""
    random = np.random.default_rng(3)
    rows = np.zeros(count, dtype=format.CALL_ROW)
    rows["thread"] = random.integers(1, 5, count)
    rows["time"] = np.sort(random.integers(0, count * 500, count))
    rows["duration"] = random.integers(1, 3000, count)
    rows["duration"][random.integers(0, count, 40)] = count * 100
    rows["sequence"] = np.arange(1, count + 1)
    rows["function"] = 1
    rows["result"] = 5
    ends = rows["time"] + rows["duration"]
    drain = ends // 100_000
    return rows[np.lexsort((rows["time"], drain))]


@pytest.mark.parametrize("finished", [True, False])
def test_a_cut_is_what_looking_at_every_call_gives(tmp_path: Path, finished: bool) -> None:
    rows = rows_of_threads(200_000)
    builder = builder_of(tmp_path)
    builder.process(pid=7, time=0)
    builder.calls(rows)
    if finished:
        builder.finish()
        session = open_session(builder.path)
    else:
        session = builder.open()
    ends = rows["time"] + rows["duration"]
    for time in [*np.random.default_rng(5).integers(0, int(ends.max()), 60).tolist(), int(ends.max())]:
        cut = cut_at(session, time)
        returned = np.flatnonzero(ends <= time)
        under_way = np.flatnonzero((rows["time"] <= time) & (ends > time))
        assert cut.rows == (int(returned[-1]) + 1 if len(returned) else 0)
        assert np.array_equal(cut.late, under_way[under_way < cut.rows])
        assert np.array_equal(cut.flying, under_way[under_way >= cut.rows])
    builder.finish()


def test_columns_of_a_moment_never_change_those_of_the_session(tmp_path: Path) -> None:
    builder = builder_of(tmp_path)
    builder.call("cuInit", thread=1, time=100, duration=900, result=3)
    builder.call("cuInit", thread=2, time=200, duration=10, result=4)
    builder.finish()
    session: Session = open_session(builder.path)
    moment = moment_at(session, 300)
    assert moment.calls.columns(0, 2, ("result", "duration"))["result"].tolist() == [0, 4]
    assert session.calls.columns(0, 2)["result"].tolist() == [3, 4]


def test_a_moment_answers_all_that_a_session_does(tmp_path: Path) -> None:
    builder = builder_of(tmp_path)
    builder.process(pid=7, time=0)
    builder.call("cuInit", time=100, duration=5, items=[out_item(0, b"abcd")])
    builder.line("said", time=100)
    builder.finish()
    session = open_session(builder.path)
    moment = moment_at(session, 200)
    for whole, part in ((session, moment), (session.calls, moment.calls), (session.log, moment.log)):
        for name in dir(whole):
            if not name.startswith("_"):
                assert getattr(part, name) is not None or getattr(whole, name) is None
    assert moment.calls.payload(0)[0].data == b"abcd"
    assert moment.calls.spans() == session.calls.spans()
    assert moment.damage == []
