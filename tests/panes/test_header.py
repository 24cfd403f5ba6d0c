"""What the first line says of a recording that nobody ended."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import scenario

from sessions import open_session
from sessions.testing import SessionBuilder
from workbench.panes.header import HeaderFacts, HeaderLine, header_facts
from workbench.panes.parts import parts_text
from workbench.panes.processes import how_it_ended


@pytest.mark.parametrize("width", [80, 120])
def test_a_recording_whose_writer_was_killed_does_not_say_that_nothing_is_lost(
    tmp_path: Path, width: int
) -> None:
    with scenario.write_working_run(tmp_path / "live") as builder:
        builder.publish()
        live = parts_text(HeaderLine(header_facts(open_session(tmp_path / "live"), None)).parts(width))
        shutil.copytree(tmp_path / "live", tmp_path / "left")  # as a kill -9 would leave it
    left = parts_text(HeaderLine(header_facts(open_session(tmp_path / "left"), None)).parts(width))
    whole = parts_text(HeaderLine(header_facts(open_session(tmp_path / "live"), None)).parts(width))
    assert "0 lost" in live and "0 lost" in whole
    assert "broke off" in left and "lost" not in left and "saved" not in left


def test_a_full_disk_is_said_beside_what_it_cost(tmp_path: Path) -> None:
    with scenario.write_working_run(tmp_path / "s") as builder:
        builder.event("lost", process=-1, why="disk", count=5, lines=2)
    session = open_session(tmp_path / "s")
    for width, said in ((80, "5 lost (disk)"), (160, "5 lost, DISK FULL")):
        line = parts_text(HeaderLine(header_facts(session, None)).parts(width))
        assert said in line and len(line) <= width


def end_all(builder: SessionBuilder, signal: int) -> None:
    """As the workbench does when it ends."""
    builder.publish()
    session = open_session(builder.path)
    builder.event("run-stopping", run=session.newest_run, reason="the workbench ends")
    for process in session.processes:
        builder.event("exit", index=process.index, signal=signal)
    reason = "the workbench ends"
    builder.event("run-end", run=session.newest_run, exit_code=None, signal=signal, reason=reason)


def test_what_the_workbench_ended_on_purpose_is_told_as_that(tmp_path: Path) -> None:
    with scenario.write_working_run(tmp_path / "s") as builder:
        end_all(builder, 15)
    session = open_session(tmp_path / "s")
    parts = HeaderLine(header_facts(session, None)).parts(160)
    assert ", ended with the session" in parts_text(parts) and "signal" not in parts_text(parts)
    assert [ink for text, ink in parts if "ended with" in text] == ["dim"]
    told = {how_it_ended(process)[1] for process in session.processes if process.role == "target"}
    assert told == {"dim"}


def test_what_died_by_itself_while_it_was_ended_is_told_as_that(tmp_path: Path) -> None:
    with scenario.write_working_run(tmp_path / "s") as builder:
        end_all(builder, 11)
    session = open_session(tmp_path / "s")
    assert header_facts(session, None).ending == "killed by signal 11"
    assert how_it_ended(session.processes[0])[1] == "error"


def test_how_the_target_ended_leaves_room_for_what_was_lost() -> None:
    facts = HeaderFacts(1, "ok", "0.0s 37e5", target="probe /x/libcudart.so.13", calls=420,
                        ending="killed by signal 11")  # fmt: skip
    for width, said in ((80, ", signal 11 |"), (160, ", killed by signal 11 |")):
        line = parts_text(HeaderLine(facts).parts(width))
        assert said in line and "0 lost" in line and len(line) < width
