"""`shimbench run` where the disk is full, read-only or not ours: it goes on, and loses nothing it had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sessions import Session, open_session
from sessions.archive import unpack
from sessions.gallery import recordings
from workbench.loop.room import obstacle, with_room
from workbench.sessions_store import Place

# Not by its standard output: that would be teed into the log.
FILL = "dd if=/dev/zero of=filler bs=1M 2>/dev/null"
PROJECT = '[host]\nrun = "shimbench-host --device count-only"\n'


@dataclass
class Ran:
    """What a run said and left."""

    status: int
    said: str
    report: dict[str, Any]
    session: Session


def in_namespace(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a shell script whose mounts are its own; skips the test where none can be made (status 99)."""
    words = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    done = subprocess.run(
        [*words, "sh", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode == 99 or done.stderr.startswith("unshare:"):
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    return done


@pytest.fixture
def run_on_disk(tmp_path: Path) -> Any:
    """Run `shimbench run` in a project on a file system of its own, of some size and with some options."""

    def run(size: str, command: str, keep: Path, read_only: bool = False) -> Ran:
        remount = "mount -o remount,ro" if read_only else "true"
        disk = tmp_path / "disk"
        disk.mkdir()
        script = (
            f"mount -t tmpfs -o size={size} none {disk} || exit 99\n"
            f"cd {disk} && printf '%s' '{PROJECT}' > shimbench.toml\n"
            f"{remount} {disk} || exit 99\n"
            f"{sys.executable} -m workbench.cli run --json --timeout 120 -- sh -c '{command}'\n"
            f"status=$?; mkdir {keep}; cp -r --sparse=always {disk}/. {keep} 2>/dev/null; exit $status\n"
        )
        done = in_namespace(script, {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")})
        report = json.loads(done.stdout)
        path = Path(report["session"])
        there = keep / path.relative_to(disk) if path.is_relative_to(disk) else path
        return Ran(done.returncode, done.stderr, report, open_session(there))

    return run


def test_a_disk_that_fills_up_loses_what_comes_then_and_nothing_before(
    run_on_disk: Any, tmp_path: Path, target_programs: Path
) -> None:
    caller = target_programs / "caller"
    counts = [tmp_path / name for name in ("before", "full", "after")]
    command = (
        f"{caller} {counts[0]} 1 200000; {FILL}; {caller} {counts[1]} 1 1000000; "
        f"rm filler; {caller} {counts[2]} 1 1000 2000"
    )
    ran = run_on_disk("160m", command, tmp_path / "kept")
    made = [int(np.fromfile(path, "<u8")[0]) for path in counts]
    assert made == [200_000, 1_000_000, 1000] and ran.status == 0  # the targets never noticed
    assert "the disk takes no more; what was recorded stays" in ran.said
    session = ran.session
    assert session.damage == [] and session.finished is not None
    of_process = [process.argv[1] for process in session.processes if process.argv[0] == str(caller)]
    assert of_process == [str(path) for path in counts]
    columns = session.calls.columns(0, len(session.calls), ["process", "function"])
    version = session.schema.function_id("cuDriverGetVersion")
    mine = columns["process"][columns["function"] == version]
    callers = [process.index for process in session.processes if process.argv[0] == str(caller)]
    kept = [int((mine == index).sum()) for index in callers]
    lost, _ = session.lost_to_disk
    assert kept[0] == made[0] and kept[2] > 0, kept  # it goes on a moment after there is room
    lookups = sum(kept) + lost - sum(made)  # the loader's and dlsym's are among the lost
    assert 0 < lost < made[1] + lookups and 0 <= lookups < 20
    assert f"{lost} calls and" in ran.said and ran.report["lost"] == session.lost


def test_a_few_calls_and_lines_have_room_on_a_disk_that_filled_up_before_them(
    run_on_disk: Any, tmp_path: Path, target_programs: Path
) -> None:
    caller, counts = target_programs / "caller", tmp_path / "counts"
    ran = run_on_disk("100m", f"{FILL}; {caller} {counts} 1 5000", tmp_path / "kept")
    session = ran.session
    version = session.schema.function_id("cuDriverGetVersion")
    functions = session.calls.columns(0, len(session.calls), ["function"])["function"]
    assert int((functions == version).sum()) == 5000 and session.lost == 0
    texts = [line.text for line in session.log.lines(0, len(session.log)) if line.role == "target"]
    assert texts[-2:] == [b"ready", b"done"]


def test_a_disk_that_is_full_at_the_start_is_passed_by(
    run_on_disk: Any, tmp_path: Path, target_programs: Path
) -> None:
    command = f"{target_programs / 'caller'} {tmp_path / 'counts'} 1 100"
    ran = run_on_disk("1m", command, tmp_path / "kept")
    assert ran.status == 0 and len(ran.session.calls) >= 100
    assert ran.session.path.is_relative_to(tmp_path / "state" / "shimbench")
    assert "MiB are wanted): it goes to" in ran.said


def test_a_project_that_is_read_only_is_recorded_elsewhere(
    run_on_disk: Any, tmp_path: Path, target_programs: Path
) -> None:
    command = f"{target_programs / 'caller'} {tmp_path / 'counts'} 1 100"
    ran = run_on_disk("100m", command, tmp_path / "kept", read_only=True)
    assert ran.status == 0 and len(ran.session.calls) >= 100 and ran.session.lost == 0
    assert "(Read-only file system): it goes to" in ran.said


def test_a_folder_that_is_somebody_elses_is_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    place = Place(tmp_path / "project" / ".shimbench")
    assert obstacle(place) == "" and with_room(place) == (place, "")
    place.sessions.chmod(0o500)
    (tmp_path / "state").mkdir()
    user = os.geteuid()
    if user == 0:  # who may do everything, so be somebody else
        for folder in (tmp_path, *list(tmp_path.parents)[:2]):
            folder.chmod(0o755)
        (tmp_path / "state").chmod(0o777)
        os.seteuid(65534)
    try:
        other, why = with_room(place)
    finally:
        os.seteuid(user)
    assert other.root == tmp_path / "state" / "shimbench"
    assert "(Permission denied): it goes to" in why


READING = """
import contextlib, io, sys
from workbench import cli

def said(*words):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.main([*words, "--json"]) == 0, words
    return out.getvalue()

for command in (
    "calls", "log", "coverage", "device", "device --at run:1", "timeline", "diagnose", "search cuInit"
):
    name, *more = command.split()
    here, there = (said(name, place, *more).replace(place, "") for place in sys.argv[1:])
    assert here == there and here, command
    print(command)
"""


def test_a_session_on_a_read_only_file_system_is_read_in_full(tmp_path: Path) -> None:
    path = next(recording.path for recording in recordings() if recording.name == "hang")
    here, disk = unpack(path, tmp_path / "session"), tmp_path / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs none {disk} && cp -r {here} {disk}/ && mount -o remount,ro {disk} || exit 99\n"
        f'exec {sys.executable} -c "$READING" {here} {disk}/session\n'
    )
    done = in_namespace(script, {**os.environ, "READING": READING})
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 8
