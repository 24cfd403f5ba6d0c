"""The gallery: each recording is small, whole, redacted, and diagnosed as the failure that it is."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest

from sessions import open_session
from sessions.archive import unpack
from sessions.gallery import FOLDER, Recording, recordings
from workbench import cli
from workbench.diagnosis import diagnose
from workbench.errors import UsageError
from workbench.sessions_store import resolve

GALLERY = recordings()


def test_there_are_ten_failures_and_a_file_for_each() -> None:
    assert len(GALLERY) >= 10
    assert sorted(FOLDER.glob("*.zip")) == sorted(recording.path for recording in GALLERY)


@pytest.mark.parametrize("recording", GALLERY, ids=lambda recording: recording.name)
def test_the_diagnosis_names_the_failure_first(recording: Recording, tmp_path: Path) -> None:
    session = open_session(unpack(recording.path, tmp_path / "s"))
    assert session.finished is not None and session.damage == [] and session.lost == 0
    found = diagnose(session)[0]
    assert found.rule == recording.rule and recording.word in found.cause
    assert found.evidence and found.fix


@pytest.mark.parametrize("recording", GALLERY, ids=lambda recording: recording.name)
def test_a_recording_is_small_and_says_nothing_of_who_made_it(recording: Recording) -> None:
    assert recording.path.stat().st_size <= 100_000
    with zipfile.ZipFile(recording.path) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist())
    assert not re.search(rb"/home/\w|/Users/\w|NVIDIA Corporation|Copyright", text)


@pytest.mark.parametrize("command", ["calls", "log", "coverage", "device", "timeline", "diagnose"])
@pytest.mark.parametrize("recording", GALLERY, ids=lambda recording: recording.name)
def test_every_command_answers_of_it(
    recording: Recording, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, f"gallery:{recording.name}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_the_list_names_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--gallery", "--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [recording.name for recording in GALLERY]
    assert cli.main(["demo", "--gallery", "--list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == listed


def test_one_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="there is no nothing in the gallery: missing-export-table, "):
        resolve("gallery:nothing")
