"""Naming, keeping and removing recorded sessions: nothing goes that somebody writes or wanted kept."""

from __future__ import annotations

import io
import json
import os
import time
from functools import partial
from pathlib import Path

import pytest

from sessions import SessionError
from sessions.label import Label
from sessions.testing import SessionBuilder
from tests.sessions.test_session import MODEL
from workbench import cli
from workbench.errors import UsageError
from workbench.loop.claim import Claim, Work
from workbench.loop.store import BuildStore
from workbench.sessions_care import builds_needed, look_at
from workbench.sessions_store import Place, resolve

NAMES = [f"2026112{day}-200000" for day in range(4)]
DAY = 86400.0


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's four sessions, written 4, 3, 2 and 1 days ago."""
    (tmp_path / "shimbench.toml").write_text("")
    folder = tmp_path / ".shimbench" / "sessions"
    for age, name in zip((4, 3, 2, 1), NAMES, strict=True):
        with SessionBuilder(folder / name, MODEL) as builder:
            builder.process(["ollama"])
            builder.event("run", run=1, command=["ollama", "serve"])
            builder.call("cuInit", args=(0,))
        grow_old(folder / name, age)
    monkeypatch.chdir(tmp_path)
    return folder


def grow_old(session: Path, days: float) -> None:
    then = time.time() - days * DAY
    for path in [session, *session.iterdir()]:
        os.utime(path, (then, then))


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_session_is_found_by_the_name_it_was_given(sessions: Path) -> None:
    assert cli.main(["sessions", "name", "@-2", "before the fix"]) == 0
    assert resolve("before the fix").name == NAMES[1]
    assert cli.main(["calls", "before the fix"]) == 0
    assert cli.main(["sessions", "name", "@-2", ""]) == 0
    with pytest.raises(UsageError, match="before the fix: no such session"):
        resolve("before the fix")


def test_a_name_belongs_to_one_session(sessions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sessions", "name", "@", "fast"]) == 0
    assert cli.main(["sessions", "name", "@-1", "fast"]) == 2
    assert f'{NAMES[3]} is called "fast" already' in capsys.readouterr().err
    assert cli.main(["sessions", "name", "@", "fast"]) == 0


@pytest.mark.parametrize("name", ["@-1", "a/b", " x"])
def test_a_name_that_would_mean_something_else_is_refused(sessions: Path, name: str) -> None:
    assert cli.main(["sessions", "name", "@", name]) == 2


def test_the_newest_good_session_has_a_name_of_its_own(sessions: Path) -> None:
    with pytest.raises(UsageError, match="no session is good"):
        resolve("@good")
    for which in ("@-3", "@-1"):
        assert cli.main(["sessions", "good", which]) == 0
    assert resolve("@good").name == NAMES[2]
    assert cli.main(["sessions", "bad", "@-1"]) == 0
    assert resolve("@good").name == NAMES[0]


def test_the_newest_run_is_held_against_the_one_that_was_marked_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shimbench.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".shimbench" / "sessions"
    with SessionBuilder(folder / NAMES[0], MODEL) as builder:
        for run, results in ((1, (0,)), (2, (0, 100))):
            process = builder.process(["llama-server"], run=run)
            for result in results:
                builder.call("cuInit", process=process, args=(0,), result=result)
    with SessionBuilder(folder / NAMES[1], MODEL) as builder:
        builder.process(["llama-server"])
        builder.call("cuInit", args=(0,))
    assert cli.main(["sessions", "good", "@-1:9"]) == 2
    assert cli.main(["sessions", "good", "@-1:1"]) == 0
    assert cli.main(["diff", "@good"]) == 0
    assert "run 1" in capsys.readouterr().out
    assert cli.main(["diff", "@good:2"]) == 1
    assert cli.main(["sessions", "good", "@-1"]) == 0  # the newest of its runs
    assert cli.main(["diff", "@good"]) == 1


def test_every_byte_of_a_label_counts(tmp_path: Path) -> None:
    Label("before the fix", 3).put(tmp_path)
    path = tmp_path / "label.json"
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        try:
            assert Label.of(tmp_path) == Label("before the fix", 3), at
        except SessionError as error:
            assert "damaged" in str(error)


def test_old_sessions_go_and_the_others_stay(sessions: Path) -> None:
    assert cli.main(["sessions", "prune", "--older-than", "60h", "--yes"]) == 0
    assert there(sessions) == NAMES[2:]


def test_the_oldest_go_until_the_rest_fits(sessions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {path.name: look_at(path).size for path in sessions.iterdir()}
    room = sizes[NAMES[2]] + sizes[NAMES[3]]
    assert cli.main(["sessions", "prune", "--over", str(room), "--yes", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == NAMES[:2]
    assert there(sessions) == NAMES[2:]


def test_what_was_named_or_is_good_or_marked_is_kept_unless_told(sessions: Path) -> None:
    assert cli.main(["sessions", "name", NAMES[0], "golden"]) == 0
    assert cli.main(["sessions", "good", NAMES[1]]) == 0
    with SessionBuilder(sessions / "20261124-200000", MODEL) as builder:
        builder.event("mark", call=1, note="here")
    assert cli.main(["sessions", "prune", "--over", "0", "--yes"]) == 0
    assert there(sessions) == [*NAMES[:2], "20261124-200000"]
    assert cli.main(["sessions", "prune", "--over", "0", "--yes", "--kept-too"]) == 0
    assert there(sessions) == []


def test_builds_of_sessions_that_are_kept_stay_in_the_store(tmp_path: Path) -> None:
    place = Place(tmp_path / ".shimbench")
    store = BuildStore(place.store)
    builds = []
    for day, name in enumerate(NAMES):
        (tmp_path / "shim.c").write_text(f"int day = {day};\n")
        (tmp_path / "lib.so").write_text(f"{day}")
        sources = [tmp_path / "shim.c"]
        builds.append(store.keep({"libcuda.so.1": tmp_path / "lib.so"}, sources=sources, directory=tmp_path))
        os.utime(builds[-1].path, (day, day))
        with SessionBuilder(place.sessions / name, MODEL) as builder:
            builder.event("run", run=1, shim_id=builds[-1].id)
            if day == 2:
                builder.event("mark", call=1, note="here")
    Label("golden").put(place.sessions / NAMES[0])
    removed = store.prune(keep=0, needed=partial(builds_needed, place))
    assert sorted(removed) == sorted(builds[day].id for day in (1, 3))
    assert store.source(builds[0], "shim.c") == "int day = 0;\n"
    assert builds[2].libraries["libcuda.so.1"].read_text() == "2"


def test_a_session_that_is_written_is_never_removed(
    sessions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live = SessionBuilder(sessions / "20261125-200000", MODEL)
    live.call("cuInit", args=(0,))
    live.publish()
    grow_old(live.path, 400)
    prune = ["sessions", "prune", "--older-than", "1d", "--over", "0", "--yes", "--kept-too"]
    assert cli.main(prune) == 0
    assert there(sessions) == ["20261125-200000"]
    assert cli.main(["sessions", "remove", "20261125-200000", "--yes"]) == 1
    assert "in use" in capsys.readouterr().err
    live.finish()
    assert cli.main(prune) == 0
    assert there(sessions) == []


def test_a_session_under_a_workbench_is_never_removed(sessions: Path) -> None:
    claim = Claim.make(sessions / NAMES[0], Work("/", ["ollama"], True, ""))
    assert cli.main(["sessions", "prune", "--over", "0", "--yes"]) == 0
    assert there(sessions) == NAMES[:1]
    claim.release()


def test_nothing_goes_when_nobody_is_there_to_ask(
    sessions: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for words in (["prune", "--over", "0"], ["remove", "@"]):
        assert cli.main(["sessions", *words]) == 2
        assert "nobody is here to ask; say --yes" in capsys.readouterr().err
    assert cli.main(["sessions", "prune", "--over", "0", "--dry-run"]) == 0
    assert "would remove 4 of 4" in capsys.readouterr().err
    assert there(sessions) == NAMES


def test_prune_wants_to_know_what_may_go(sessions: Path) -> None:
    assert cli.main(["sessions", "prune", "--yes"]) == 2
    with pytest.raises(SystemExit, match="2"):
        cli.main(["sessions", "prune", "--older-than", "soon"])
    assert cli.main(["sessions", "--over", "1G"]) == 2


def test_what_an_interrupted_removal_left_goes_with_the_next(sessions: Path) -> None:
    (sessions / NAMES[0]).rename(sessions / f".removing-{NAMES[0]}")
    assert cli.main(["sessions", "prune", "--older-than", "60h", "--yes"]) == 0
    assert there(sessions) == NAMES[2:]


def test_a_damaged_session_is_listed_and_can_be_removed(
    sessions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sessions / NAMES[3] / "session.json").write_bytes(b"{")
    assert cli.main(["sessions"]) == 0
    assert "cannot be read: " in capsys.readouterr().out
    assert cli.main(["sessions", "remove", NAMES[3], "--yes"]) == 0
    assert there(sessions) == NAMES[:3]
