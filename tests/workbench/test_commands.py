"""Commands that need neither a target nor panes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench import cli


def test_building_keeps_what_was_made_and_prints_its_id(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shimbench.toml").write_text(
        '[shim]\nwatch = ["*.c"]\nbuild = "echo compiling; cp a.c a.so"\n'
        '[shim.libraries]\n"libcuda.so.1" = "a.so"\n'
    )
    (tmp_path / "a.c").write_text("int a;\n")
    assert cli.main(["build", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    kept = tmp_path / ".shimbench/store/builds" / out.strip() / "lib/libcuda.so.1"
    assert kept.read_text() == "int a;\n"
    assert "compiling\n" in err


def test_a_failed_build_says_how_many_errors(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shimbench.toml").write_text(
        '[shim]\nbuild = "gcc -c a.c"\n[shim.libraries]\n"libcuda.so.1" = "a.so"\n'
    )
    (tmp_path / "a.c").write_text("int f(void) { return y; }\n")
    assert cli.main(["build", str(tmp_path)]) == 1
    assert "failed, exit status 1, 1 errors" in capfd.readouterr().err


def test_a_project_without_sessions_lists_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shimbench.toml").write_text("")
    assert cli.main(["sessions", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_damaged_session_is_listed_with_its_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shimbench.toml").write_text("")
    (tmp_path / ".shimbench/sessions/20261122-200000").mkdir(parents=True)
    assert cli.main(["sessions", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "20261122-200000" and "cannot be read" in row["error"]


def test_the_doctor_names_a_configuration_that_can_not_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shimbench.toml").write_text("[shmi]\n")
    assert cli.main(["doctor", str(tmp_path), "--json"]) == 1
    findings = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
    assert findings["configuration"]["state"] == "problem"
    assert "did you mean shim?" in findings["configuration"]["text"]
