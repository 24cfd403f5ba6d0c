"""The real command in a real terminal, killed in every way: what goes on, what is taken up, what is left."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from sessions import Session, open_session
from sessions.processes import Process
from tests.patience import wait_until
from workbench.native import NativePaths

CONFIGURATION = """
[host]
run = "shimbench-host --device count-only"
[target]
command = ["/bin/sh", "-c", "trap 'exit 3' TERM; sleep 1000 & while :; do echo tick; sleep 0.1; done"]
"""


def marked(directory: Path) -> dict[int, str]:
    """Every process that has to do with `directory`: by its environment, its command or its directory."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            words = command.encode() + (entry / "environ").read_bytes()
            if os.fsencode(directory) in words and "(defunct)" not in command and command:
                found[int(entry.name)] = command
    return found


class Terminal:
    """`shimbench DIR` in a terminal of its own; what it draws is thrown away."""

    def __init__(self, directory: Path) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", LINES="40", COLUMNS="120")
            os.execv(sys.executable, [sys.executable, "-m", "workbench.cli", str(directory)])
        self.open = True
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            while os.read(self._master, 65536):
                pass

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """Close the terminal, as its window's button does."""
        os.kill(self.pid, signal.SIGHUP)
        os.close(self._master)
        self.open = False

    def wait(self) -> int:
        """Its exit status, as waitpid says it."""
        ended: list[int] = []

        def look() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            ended.extend([status] if pid else [])
            return bool(pid)

        wait_until(look, "shimbench ends")
        return ended[0]


@pytest.fixture
def directory(tmp_path: Path, native_paths: NativePaths) -> Iterator[Path]:
    """A folder with our own shim under a shell, and nothing of it left behind at the end."""
    directory = tmp_path / "work"
    directory.mkdir()
    (directory / "shimbench.toml").write_text(CONFIGURATION)
    yield directory
    for pid in marked(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def sessions(directory: Path) -> list[Path]:
    return sorted((directory / ".shimbench" / "sessions").glob("*"))


def running_session(directory: Path) -> Session:
    """The only session, once its target prints and its forwarder runs."""

    def look() -> Session | None:
        with contextlib.suppress(Exception):  # it is just being made
            session = open_session(sessions(directory)[-1])
            roles = {each.role for each in session.processes if each.ended_ns is None}
            if len(session.log) > 2 and {"target", "host"} <= roles:
                return session
        return None

    return wait_until(look, "a target that prints, and a forwarder")


def ticks(session: Session) -> int:
    session.refresh()
    return sum(line.text == b"tick" for line in session.log.lines(0, len(session.log)))


def attached(session: Session) -> int:
    session.refresh()
    return sum(event.kind == "attached" for event in session.events)


def program(session: Session, run: int) -> Process:
    """What a run started first."""
    return next(each for each in session.processes if each.role == "target" and each.run == run)


def collector_of(directory: Path) -> int:
    pids = {pid for pid, command in marked(directory).items() if "shimbench-collector" in command}
    (pid,) = (pid for pid in pids if psutil.Process(pid).ppid() not in pids)  # the other is its guardian
    return pid


def nothing_left(directory: Path) -> None:
    wait_until(lambda: not marked(directory), f"all have ended: {marked(directory)}")


@pytest.mark.real
@pytest.mark.parametrize("way", ["quit", "terminate", "hang up"])
def test_nothing_is_left_behind(directory: Path, way: str) -> None:
    terminal = Terminal(directory)
    session = running_session(directory)
    if way == "quit":
        terminal.press("q")
    elif way == "terminate":
        terminal.signal(signal.SIGTERM)
    else:
        terminal.hang_up()
    terminal.wait()
    nothing_left(directory)
    session.refresh()
    assert session.finished


@pytest.mark.real
def test_a_killed_workbench_s_session_is_taken_up_by_the_next(directory: Path) -> None:
    first = Terminal(directory)
    session = running_session(directory)
    target = program(session, 1)
    first.signal(signal.SIGKILL)
    first.wait()
    before = ticks(session)
    wait_until(lambda: ticks(session) > before, "the target goes on and is recorded")
    second = Terminal(directory)
    wait_until(lambda: attached(session), "the next workbench attaches")
    assert len(sessions(directory)) == 1
    before = ticks(session)
    wait_until(lambda: ticks(session) > before, "the same run goes on")
    second.press("r")
    wait_until(
        lambda: (session.refresh(), any(each.run == 2 for each in session.processes))[1],
        "a relaunch is the next run of the same session",
    )
    (ended,) = (event.fields for event in session.events if event.kind == "run-end")
    assert ended["run"] == 1
    assert program(session, 1).pid == target.pid != program(session, 2).pid
    assert sum(each.role == "host" for each in session.processes) == 1, "the forwarder was kept"
    second.press("q")
    second.wait()
    nothing_left(directory)
    session.refresh()
    assert session.finished


@pytest.mark.real
def test_a_workbench_that_lives_is_left_alone(directory: Path) -> None:
    first = Terminal(directory)
    session = running_session(directory)
    second = Terminal(directory)
    wait_until(lambda: len(sessions(directory)) == 2, "the second has a session of its own")
    assert not attached(session)
    for terminal in (first, second):
        terminal.signal(signal.SIGTERM)
        terminal.wait()
    nothing_left(directory)


@pytest.mark.real
def test_an_orphaned_collector_ends_all_it_started_when_it_is_told_to(directory: Path) -> None:
    terminal = Terminal(directory)
    session = running_session(directory)
    terminal.signal(signal.SIGKILL)
    terminal.wait()
    os.kill(collector_of(directory), signal.SIGTERM)
    nothing_left(directory)
    session.refresh()
    assert session.finished
    assert program(session, 1).exit_code == 3, (
        "the target was asked before it was killed, and its end is recorded"
    )


@pytest.mark.real
def test_a_forwarder_does_not_outlive_the_last_target_of_a_killed_workbench(directory: Path) -> None:
    terminal = Terminal(directory)
    session = running_session(directory)
    target = program(session, 1)
    terminal.signal(signal.SIGKILL)
    terminal.wait()
    os.killpg(target.pid, signal.SIGKILL)
    nothing_left(directory)
    session.refresh()
    assert session.finished


@pytest.mark.real
def test_after_its_collector_s_death_a_relaunch_begins_a_new_session(directory: Path) -> None:
    terminal = Terminal(directory)
    first = running_session(directory)
    os.kill(collector_of(directory), signal.SIGKILL)
    wait_until(lambda: (first.refresh(), not first.live)[1], "its session has no writer any more")

    def relaunched() -> bool:
        terminal.press("r")  # until it has heard of the death
        time.sleep(0.5)
        return len(sessions(directory)) == 2

    wait_until(relaunched, "the next relaunch has a session of its own")
    second = running_session(directory)
    assert program(second, min(each.run for each in second.processes if each.role == "target")).pid
    old = {each.pid for each in first.processes}
    wait_until(lambda: not old & set(marked(directory)), "what the dead collector had started is ended")
    terminal.press("q")
    terminal.wait()
    nothing_left(directory)
    second.refresh()
    assert second.finished


@pytest.mark.real
def test_nothing_is_left_behind_when_the_collector_was_killed(directory: Path) -> None:
    terminal = Terminal(directory)
    session = running_session(directory)
    os.kill(collector_of(directory), signal.SIGKILL)
    wait_until(lambda: (session.refresh(), not session.live)[1], "its session has no writer any more")
    terminal.press("q")
    terminal.wait()
    nothing_left(directory)
