"""What the workbench asks of the collector, and that it outlives the workbench."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from sessions import open_session
from tests.collector.conftest import Bench
from tests.patience import wait_until
from workbench import native
from workbench.tap.collector import Collector, CollectorError


def test_exits_are_told_with_code_or_signal(bench: Bench) -> None:
    first, second = bench.spawn("sh", "-c", "exit 7"), bench.spawn("sh", "-c", "kill -TERM $$")
    bench.wait(first, second)
    assert (bench.exits[first].exit_code, bench.exits[first].signal) == (7, None)
    assert (bench.exits[second].exit_code, bench.exits[second].signal) == (None, signal.SIGTERM)


def test_a_signal_reaches_the_whole_group(bench: Bench) -> None:
    pid = bench.spawn("sh", "-c", "sleep 1000 & echo $!; wait")
    session = bench.open()
    wait_until(lambda: (session.refresh(), len(session.log))[1], "the child's pid")
    child = int(session.log.line(0).text)
    bench.collector.signal(pid, signal.SIGKILL)
    bench.wait(pid)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child to be reaped")


def test_a_program_that_can_t_be_started_is_refused_with_the_reason(bench: Bench) -> None:
    with pytest.raises(CollectorError, match=r"nonesuch: not found in PATH"):
        bench.spawn("nonesuch")
    with pytest.raises(CollectorError, match="could not enter its directory"):
        bench.collector.spawn(["sh"], dict(os.environ), Path("/nonexistent"), "target", 1)
    with pytest.raises(CollectorError, match="no such role"):
        bench.spawn("sh", role="villain")


def test_events_and_lines_of_the_workbench_are_in_the_session(bench: Bench) -> None:
    bench.collector.event("mark", text="here\n", number=3)
    bench.collector.line(b"from a file\0\n", stream="shim", role="shim")
    session = bench.open()
    (mark,) = [event for event in session.events if event.kind == "mark"]
    assert mark.fields == {"text": "here\n", "number": 3}
    assert (session.log.line(0).text, session.log.line(0).stream) == (b"from a file\0", "shim")


def test_a_payload_for_an_event_is_in_the_session_before_it(bench: Bench) -> None:
    data = b"packed\0text\xff" * 1000
    number = bench.collector.blob(data)
    assert bench.collector.blob(data) == number != bench.collector.blob(b"other")
    bench.collector.event("host", event="ptx", blob=number)
    session = bench.open()
    (told,) = [event for event in session.events if event.kind == "host"]
    assert session.blob(told.fields["blob"]) == data


def test_its_sockets_are_the_user_s_own(bench: Bench) -> None:
    for name in ("collector.sock", "control.sock"):
        mode = (bench.collector.directory / name).stat().st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


def test_a_workbench_that_comes_back_hears_of_what_ended_meanwhile(bench: Bench) -> None:
    gate = bench.folder / "gate"
    os.mkfifo(gate)
    pid = bench.spawn("sh", "-c", f"read word < '{gate}'; exit 5")
    bench.collector.detach()
    gate.write_text("go\n")  # as soon as it is read from
    session = bench.open()
    wait_until(lambda: (session.refresh(), session.processes[0].ended_ns)[1], "its end")
    again = Collector.attach(bench.collector.directory)
    bench.collector._requests, bench.collector._exits = again._requests, again._exits
    bench.wait(pid)
    assert bench.exits[pid].exit_code == 5


def test_it_ends_and_seals_when_nobody_is_left(tmp_path: Path) -> None:
    collector = Collector.start(tmp_path / "s", None, program=native.paths().bin / "shimbench-collector")
    collector.detach()
    session = open_session(tmp_path / "s")
    wait_until(lambda: (session.refresh(), session.finished)[1], "the session to be sealed")
    assert collector.wait() == 0
    with pytest.raises(CollectorError, match="no collector answers"):
        Collector.attach(tmp_path / "s")


def test_a_session_whose_path_is_too_long_for_a_socket_works(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 60) / ("y" * 60)
    with Collector.start(directory, None, program=native.paths().bin / "shimbench-collector") as collector:
        assert len(str(collector.socket_path)) < 100
        with_it = Collector.attach(directory)
        with_it.event("mark")
        with_it.detach()
    assert open_session(directory).finished is not None
    assert not collector.socket_path.parent.exists()


def test_a_second_collector_does_not_write_into_a_session(bench: Bench) -> None:
    with pytest.raises(CollectorError, match="File exists"):
        Collector.start(bench.collector.directory, None, program=native.paths().bin / "shimbench-collector")
