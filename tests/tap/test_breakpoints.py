"""Breakpoints on real processes: a call stops, is seen, goes on; and nobody is left hanging."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from sessions import Session, open_session
from tests.patience import wait_until
from workbench.filter import compile_breakpoint
from workbench.native import NativePaths
from workbench.tap.collector import Collector, CollectorError
from workbench.tap.rundir import make_run_directory
from workbench.views.stops import Stop, Stops

T = TypeVar("T")


class Stage:
    """A collector, and targets it starts under the tap."""

    def __init__(self, folder: Path, native: NativePaths, shim: Path, target: str) -> None:
        self.folder, self.native, self.shim, self.target = folder, native, shim, target
        self.collector = Collector.start(folder / "session", native.model, program=native.collector)
        self.session: Session = open_session(folder / "session")
        self.stops = Stops(self.session)

    def start(self, *arguments: str) -> int:
        added = make_run_directory(
            self.folder / "run", self.native, {"libcuda.so.1": self.shim}, self.collector.socket_path,
            inherited=os.environ,
        )  # fmt: skip
        environment = {**os.environ, **added}
        return self.collector.spawn([self.target, *arguments], environment, self.folder, "target", 1)

    def set(self, text: str) -> None:
        self.collector.set_breakpoints(compile_breakpoint(text, self.session.schema).rows)

    def stopped(self) -> list[Stop]:
        self.session.refresh()
        self.stops.update()
        return self.stops.now()

    def ended(self) -> list[int | None]:
        return [each.exit_code for each in self.collector.poll()]

    def name(self, stop: Stop) -> str:
        return self.session.schema.function_name(stop.function)


@pytest.fixture
def stage(tmp_path: Path, native_paths: NativePaths, shim: Path, target: str) -> Iterator[Stage]:
    stage = Stage(tmp_path, native_paths, shim, target)
    yield stage
    try:
        stage.collector.release()
        stage.collector.close()
    except CollectorError:
        pass  # the test killed it


def test_the_first_call_of_a_process_stops_and_goes_on(stage: Stage) -> None:
    stage.set("cuInit @1")
    stage.start("calls", "1000")
    (stop,) = wait_until(stage.stopped)
    assert stage.name(stop) == "cuInit" and stop.result is None
    flying = wait_until(lambda: (stage.session.refresh(), stage.session.in_flight())[1])
    assert (flying[0].process, flying[0].thread, flying[0].sequence) == stop.identity
    assert not stage.ended()
    stage.collector.release(stop.identity)
    assert wait_until(stage.ended) == [0]
    assert not stage.stopped()
    events = [event.kind for event in stage.session.events if event.kind in ("stop", "continue")]
    assert events == ["stop", "continue"]
    row = next(
        row
        for row in map(stage.session.calls.row, range(len(stage.session.calls)))
        if row.sequence == stop.sequence and row.thread == stop.thread
    )
    assert stage.session.schema.function_name(row.function) == "cuInit"


def test_the_nth_call_with_a_result_stops_before_its_caller_has_it(stage: Stage) -> None:
    stage.set("cuInit ok @3")
    stage.start("calls", "100")
    (first,) = wait_until(stage.stopped)
    assert first.result == 0
    done = [
        row
        for row in map(stage.session.calls.row, range(len(stage.session.calls)))
        if row.function == first.function
    ]
    assert len(done) == 2  # the third is held
    stage.collector.release()
    assert wait_until(stage.ended) == [0]


def test_each_thread_stops_and_one_can_be_released_alone(stage: Stage) -> None:
    stage.set("cuInit")
    stage.start("threads", "50")
    stops = wait_until(lambda: stage.stopped() if len(stage.stopped()) >= 2 else [])
    alone = stops[0]
    stage.collector.release(alone.identity)
    wait_until(lambda: alone.identity not in {stop.identity for stop in stage.stopped()})
    assert stops[1].identity in {stop.identity for stop in stage.stopped()}
    stage.collector.set_breakpoints([])
    stage.collector.release()
    assert wait_until(stage.ended) == [0]


def test_a_collector_killed_at_once_releases_what_is_stopped(stage: Stage) -> None:
    stage.set("cuInit")
    pid = stage.start("calls", "1000")
    wait_until(stage.stopped)
    stage.collector.kill()
    wait_until(lambda: _ended(pid))


def _ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_a_workbench_that_is_gone_releases_what_is_stopped(stage: Stage) -> None:
    stage.set("cuInit")
    pid = stage.start("calls", "1000")
    wait_until(stage.stopped)
    stage.collector.detach()  # as its crash would
    wait_until(lambda: _ended(pid))


def test_a_stopped_call_can_be_killed(stage: Stage) -> None:
    stage.set("cuInit")
    pid = stage.start("calls", "1000")
    wait_until(stage.stopped)
    stage.collector.signal(pid, signal.SIGKILL)
    wait_until(stage.ended)
    assert wait_until(lambda: not stage.stopped())


def test_gdb_sees_who_made_the_stopped_call(stage: Stage) -> None:
    if subprocess.run(["sh", "-c", "command -v gdb"], capture_output=True).returncode:
        pytest.skip("no gdb here")
    stage.set("cuInit @1")
    pid = stage.start("calls", "10")
    wait_until(stage.stopped)
    words = ["gdb", "-nx", "-batch", "-p", str(pid), "-ex", "backtrace"]
    done = subprocess.run(words, capture_output=True, text=True)
    if "ptrace: Operation not permitted" in done.stdout + done.stderr:
        pytest.skip("ptrace is forbidden here")
    assert "cuInit" in done.stdout or "tap_" in done.stdout
    stage.collector.release()
    assert wait_until(stage.ended) == [0]
