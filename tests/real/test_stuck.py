"""Targets that hang, crash or are killed: what was under way is in the session."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
from conftest import Recorder

from sessions import CallFlag, InFlight, Pseudo, Session, SessionError, open_session
from tests.patience import PATIENCE_SECONDS

Until = Callable[..., Any]
ForeignShim = Callable[..., Path]
FINISHED_AGE_NS = 100_000_000


def open_when_there(path: Path, until: Until) -> Session:
    def attempt() -> Session | None:
        with contextlib.suppress(SessionError, OSError):
            return open_session(path)
        return None

    session: Session = until(attempt, "the session to appear")
    return session


def hanging(session: Session, name: str) -> InFlight | None:
    """The call of that name which has been under way for a while."""
    session.refresh()
    for call in session.in_flight():
        if session.schema.function_name(call.function) == name and call.age_ns > FINISHED_AGE_NS:
            return call
    return None


@pytest.mark.parametrize(
    ("fault", "name"),
    [("INIT_HANG", "cuInit"), ("CONSTRUCTOR_HANG", "load")],
)
def test_a_call_that_never_returns_is_shown_in_flight_and_grows_older(
    fault: str,
    name: str,
    foreign_shim: ForeignShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
    until: Until,
) -> None:
    command = [str(target_programs / "probe"), str(cudart("13.0") / "libcudart.so.13")]
    _, path = recorder.start(command, foreign_shim(FAULT=fault))
    session = open_when_there(path, until)
    shown = name if fault == "INIT_HANG" else session.schema.function_name(Pseudo.LOAD)
    first = until(lambda: hanging(session, shown), f"{shown} in flight")
    older = until(
        lambda: (call := hanging(session, shown)) and call.age_ns > first.age_ns and call, "it to grow older"
    )
    assert (older.process, older.thread, older.sequence) == (first.process, first.thread, first.sequence)
    assert session.caller_name(first.process, first.caller)


@pytest.mark.parametrize(
    ("fault", "name", "ended_by"),
    [
        ("DEVICE_GET_CRASH", "cuDeviceGet", signal.SIGSEGV),
        ("INIT_ABORT", "cuInit", signal.SIGABRT),
        ("CONSTRUCTOR_CRASH", "load", signal.SIGSEGV),
    ],
)
def test_a_crash_inside_a_call_shows_which_call_it_was(
    fault: str,
    name: str,
    ended_by: signal.Signals,
    foreign_shim: ForeignShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
) -> None:
    command = [str(target_programs / "probe"), str(cudart("13.0") / "libcudart.so.13")]
    session = recorder.run(command, foreign_shim(FAULT=fault)).session
    shown = session.schema.function_name(Pseudo.LOAD) if name == "load" else name
    columns = session.calls.columns(0, len(session.calls), ["function", "flags"])
    unreturned = columns["function"][(columns["flags"] & CallFlag.UNRETURNED) != 0]
    assert shown in [session.schema.function_name(int(number)) for number in unreturned]
    [target] = [process for process in session.processes if process.role == "target" and process.signal]
    assert target.signal == ended_by


def recorded_calls(session: Session, name: str) -> dict[int, int]:
    """pid -> how many calls of `name` came back, for each process of the session."""
    columns = session.calls.columns(0, len(session.calls), ["process", "function", "flags"])
    number = session.schema.function_id(name)
    mine = (columns["function"] == number) & ((columns["flags"] & CallFlag.UNRETURNED) == 0)
    indices, counts = np.unique(columns["process"][mine], return_counts=True)
    return {
        session.processes[int(index)].pid: int(count) for index, count in zip(indices, counts, strict=True)
    }


def test_fifty_processes_killed_at_random_lose_no_call_that_came_back(
    target_programs: Path, foreign_shim: ForeignShim, recorder: Recorder, tmp_path: Path
) -> None:
    counts = tmp_path / "counts"
    counts.mkdir()
    # Each child counts its calls in a file named by its pid, until it is killed 0 to 200 ms later.
    moments = random.Random(7)
    caller = f"sh -c 'exec {target_programs}/caller {counts}/$$ 1 0 20'"
    script = "; ".join(
        f"{caller} & pid=$!; sleep {moments.random() * 0.2:.3f}; kill -9 $pid; wait $pid" for _ in range(50)
    )
    done = recorder.run(["bash", "-c", f"({script}) >/dev/null 2>&1; true"], foreign_shim())
    assert done.status == 0, done.stderr
    session = done.session
    recorded = recorded_calls(session, "cuDriverGetVersion")
    counted = {int(path.name): int.from_bytes(path.read_bytes(), "little") for path in counts.iterdir()}
    assert sum(counted.values()) > 0
    for pid, came_back in counted.items():
        # One more may have been recorded before the target could count it.
        assert came_back <= recorded.get(pid, 0) <= came_back + 1, pid
    assert session.lost == 0


def descendants(process: psutil.Process, name: str) -> list[psutil.Process]:
    found = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if name in Path(child.exe()).name:
                found.append(child)
    return found


@pytest.mark.parametrize("victim", ["shimbench", "collector", "target"])
def test_a_kill_9_leaves_a_session_that_opens_with_what_had_been_recorded(
    victim: str,
    target_programs: Path,
    foreign_shim: ForeignShim,
    recorder: Recorder,
    until: Until,
    tmp_path: Path,
) -> None:
    counts = tmp_path / "counts"
    process, path = recorder.start(
        [str(target_programs / "caller"), str(counts), "2", "0", "50"], foreign_shim()
    )
    session = open_when_there(path, until)
    until(lambda: session.refresh() and len(session.calls) > 2000, "calls to be recorded")
    root = psutil.Process(process.pid)
    [target] = [item for item in session.processes if Path(item.exe).name == "caller"]
    collector = until(lambda: descendants(root, "shimbench-collector") or collectors(path), "the collector")[
        0
    ]
    seen = len(session.calls)
    os.kill(
        {"shimbench": process.pid, "collector": collector.pid, "target": target.pid}[victim], signal.SIGKILL
    )
    try:
        if victim == "target":
            assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGKILL
        else:
            process.wait(PATIENCE_SECONDS)
        again = open_session(path)
        assert len(again.calls) >= seen
        assert again.calls.row(seen - 1).number == seen
        assert recorded_calls(again, "cuDriverGetVersion")[target.pid] >= 1
    finally:
        for pid in (target.pid, collector.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_kill_9_of_the_forwarder_leaves_the_target_recorded_and_the_session_whole(
    target_programs: Path, recorder: Recorder, until: Until, tmp_path: Path
) -> None:
    process, path = recorder.start(
        [str(target_programs / "caller"), str(tmp_path / "counts"), "1", "0", "50"]
    )
    session = open_when_there(path, until)
    until(lambda: session.refresh() and len(session.calls) > 1000, "calls to be recorded")
    [host, *_] = [item for item in session.processes if item.role == "host" and item.ended_ns is None]
    os.kill(host.pid, signal.SIGKILL)
    seen = len(session.calls)
    until(lambda: session.refresh() and len(session.calls) > seen + 1000, "more calls after it")
    process.send_signal(signal.SIGINT)
    process.wait(PATIENCE_SECONDS)
    again = open_session(path)
    assert not again.live and not again.damage
    assert again.processes[host.index].signal == signal.SIGKILL


def collectors(session: Path) -> list[psutil.Process]:
    """Collectors of that session, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        if str(session) in (process.info["cmdline"] or []) and "collector" in " ".join(
            process.info["cmdline"]
        ):
            found.append(process)
    return found
