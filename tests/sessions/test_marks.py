"""Marks and notes: in the session while it is recorded, beside it afterwards, elsewhere when it can't be."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions import Session, open_session
from sessions.copy import copy_session
from sessions.marks import Mark, Marks
from sessions.testing import SessionBuilder


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Three calls, a line; call 2 was marked while it was recorded."""
    with SessionBuilder(tmp_path / "s", {"functions": [{"id": 1, "name": "cuInit"}]}) as builder:
        builder.process(pid=7)
        for _ in range(3):
            builder.call("cuInit")
        builder.line("said")
        builder.event("mark", call=2, note="look here")
    return open_session(tmp_path / "s")


def all_of(session: Session, elsewhere: Path | None = None) -> list[tuple[str, int, str]]:
    return [(mark.kind, mark.index, mark.note) for mark in Marks(session, elsewhere)]


def test_marks_are_added_to_a_finished_session_and_found_by_the_next_reader(session: Session) -> None:
    marks = Marks(session)
    assert marks.put(Mark("line", 0, "why?")).parent == session.path
    marks.put(Mark("call", 0))
    assert all_of(open_session(session.path)) == [
        ("call", 0, ""), ("call", 1, "look here"), ("line", 0, "why?"),
    ]  # fmt: skip
    assert open_session(session.path).damage == []


def test_a_mark_can_be_taken_back_and_a_note_be_changed(session: Session) -> None:
    marks = Marks(session)
    marks.put(Mark("call", 1), removed=True)
    assert all_of(session) == []
    marks.put(Mark("call", 1, "other"))
    assert all_of(session) == [("call", 1, "other")]


def test_two_who_mark_see_each_others_marks(session: Session) -> None:
    one, other = Marks(session), Marks(open_session(session.path))
    one.put(Mark("call", 2, "mine"))
    assert other.update()
    assert other.of("call") == {1: "look here", 2: "mine"}


def test_where_the_session_can_not_be_written_marks_are_kept_elsewhere(
    session: Session, tmp_path: Path
) -> None:
    (session.path / "marks.jsonl").mkdir()  # in the way, for root as well
    path = Marks(session, tmp_path / "mine").put(Mark("call", 0, "kept"))
    assert path.parent == tmp_path / "mine"
    assert ("call", 0, "kept") in all_of(session, tmp_path / "mine")
    with pytest.raises(OSError, match="directory"):
        Marks(session).put(Mark("call", 0))


def test_marks_of_a_session_from_a_zip_do_not_go_with_its_scratch_folder(
    session: Session, tmp_path: Path
) -> None:
    session.archive = tmp_path / "bug.zip"
    assert Marks(session, tmp_path / "mine").put(Mark("call", 0)).parent == tmp_path / "mine"


def test_damaged_marks_are_told_and_take_nothing_else_along(session: Session) -> None:
    Marks(session).put(Mark("call", 0))
    with (session.path / "marks.jsonl").open("ab") as file:
        file.write(b"00000000 {}\n")
    marks = Marks(open_session(session.path))
    assert "marks.jsonl" in marks.problem and marks.of("call") == {1: "look here"}


def test_a_copy_has_marks_that_were_added_later(session: Session, tmp_path: Path) -> None:
    Marks(session).put(Mark("line", 0, "late"))
    copy_session(session, tmp_path / "copy")
    assert all_of(open_session(tmp_path / "copy")) == [("call", 1, "look here"), ("line", 0, "late")]
