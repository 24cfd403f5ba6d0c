"""Parts of a session's calls, against the plain definition, row by row."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions import CallFlag, Row, Session, open_session
from sessions.testing import SessionBuilder

#: What a call is of, as far as a part looks: process, thread, function, result, flags.
calls = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([7, 8, 9, 70000]),
        st.integers(1, 4),
        st.sampled_from([0, 0, 0, 100]),
        st.sampled_from([0, 0, 0, CallFlag.INTERNAL, CallFlag.UNRETURNED]),
    ),
    max_size=40,
)


def recorded(folder: Path, kinds: list[tuple[int, int, int, int, int]], finished: bool) -> Session:
    with SessionBuilder(folder / "session", b"") as builder:
        for number, (process, thread, function, result, flags) in enumerate(kinds):
            builder.call(
                function, process=process, thread=thread, result=result, flags=flags, time=number,
                duration=number * 3, sequence=number + 1,
            )  # fmt: skip
        builder.publish()
        session = open_session(folder / "session")
        if not finished:
            list(session.calls.columns(0, len(session.calls)))  # read while its writer lived
            return session
    return open_session(folder / "session")


@pytest.mark.parametrize("finished", [False, True])
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(calls)
def test_a_part_holds_what_its_rows_say(finished: bool, kinds: list[tuple[int, int, int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        session = recorded(Path(name), kinds, finished)
        part = session.calls.part(0, len(kinds))
        for processes in ({0, 1, 2}, {1}, {0, 2}, {5}):
            for flag in (CallFlag.INTERNAL, CallFlag.UNRETURNED):
                chosen = part.of(processes).without(flag)
                rows = [session.calls.row(n) for n in range(len(kinds))]
                rows = [row for row in rows if row.process in processes and not row.flags & flag]
                assert_holds(chosen, rows)


def assert_holds(part, rows: list[Row]) -> None:  # type: ignore[no-untyped-def]
    assert len(part) == len(rows)
    assert part.rows(np.arange(len(rows))).tolist() == [row.number - 1 for row in rows]
    assert part.processes == sorted({row.process for row in rows})
    assert part.functions == sorted({row.function for row in rows})
    assert dict(enumerate(part.counts.tolist())) == {
        n: Counter(row.function for row in rows)[n] for n in range(len(part.counts))
    }
    assert part.failed.tolist() == [place for place, row in enumerate(rows) if row.result]
    assert part.longest == max((row.duration for row in rows), default=0)
    assert part.last_by_function() == sorted({row.function: place for place, row in enumerate(rows)}.items())
    last = {(row.process, row.thread): place for place, row in enumerate(rows)}
    assert {(process, thread): place for process, thread, place in part.last_by_thread()} == last
    table = np.zeros(1 << 16, bool)
    table[[2, 3]] = True
    assert part.places(table).tolist() == [place for place, row in enumerate(rows) if row.function in (2, 3)]
    internal = [place for place, row in enumerate(rows) if row.flags & CallFlag.INTERNAL]
    assert part.having(CallFlag.INTERNAL).tolist() == internal
    some = np.arange(len(rows))[::2]
    picked = part.pick(("time", "function"), some)
    assert picked == {
        "time": [row.time for row in rows[::2]],
        "function": [row.function for row in rows[::2]],
    }


def test_those_who_ask_for_the_same_rows_share_a_part(tmp_path: Path) -> None:
    session = recorded(tmp_path, [(0, 7, 1, 0, 0)] * 10, True)
    part = session.calls.part(2, 8)
    assert session.calls.part(2, 8) is part
    assert len(session.calls.part(2, 9)) == 7
