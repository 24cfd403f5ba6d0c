"""Where sessions lie, and which one a command means."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.errors import UsageError
from workbench.sessions_store import place_of, resolve


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a shimbench.toml and three sessions."""
    (tmp_path / "shimbench.toml").write_text("")
    for name in ("20261122-200000", "20261122-200001", "20261122-200001.2"):
        (tmp_path / ".shimbench" / "sessions" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_newest_is_meant_unless_said_otherwise(project: Path) -> None:
    assert resolve().name == resolve("@").name == "20261122-200001.2"
    assert resolve("@-1").name == "20261122-200001"
    assert resolve("@-2").name == "20261122-200000"


def test_a_session_is_known_by_name_and_by_path(project: Path) -> None:
    path = project / ".shimbench/sessions/20261122-200000"
    assert resolve("20261122-200000") == resolve(path) == path


@pytest.mark.parametrize("name", ["@-3", "nowhere"])
def test_a_session_that_is_not_there_is_a_usage_error(project: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no s"):
        resolve(name)


def test_where_there_is_no_session_yet_the_way_to_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shimbench.toml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"there is no session yet in .*: `shimbench run` records one"):
        resolve()


def test_a_directory_below_the_project_knows_its_sessions(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "shim").mkdir()
    monkeypatch.chdir(project / "shim")
    assert place_of().root == project / ".shimbench"
    assert place_of(project / "shim").root != project / ".shimbench"


def test_a_new_session_never_takes_the_place_of_another(project: Path) -> None:
    place = place_of(project)
    first = place.new_session()
    first.mkdir()
    second = place.new_session()
    assert second != first and place.all()[0] == first
