"""What the first line says of a recording that nobody ended."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import scenario

from sessions import open_session
from workbench.panes.header import HeaderFacts, HeaderLine, header_facts
from workbench.panes.parts import parts_text


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


def test_how_the_target_ended_leaves_room_for_what_was_lost() -> None:
    facts = HeaderFacts(1, "ok", "0.0s 37e5", target="probe /x/libcudart.so.13", calls=420,
                        ending="killed by signal 11")  # fmt: skip
    for width, said in ((80, ", signal 11 |"), (160, ", killed by signal 11 |")):
        line = parts_text(HeaderLine(facts).parts(width))
        assert said in line and "0 lost" in line and len(line) < width
