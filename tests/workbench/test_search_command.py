"""`shimbench search` and `shimbench marks`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sessions.testing import SessionBuilder, string_item
from workbench import cli
from workbench.loop.store import BuildStore


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session of which each kind of thing says `needle` once; its project is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "shimbench.toml").write_text('[shim]\nwatch = ["src/*.c"]\n')
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.c").write_text("int a;\nint Needle;\n")
    path = tmp_path / "s"
    names = [{"name": "hfunc"}, {"name": "hmod"}, {"name": "name", "kind": "string"}]
    model = {"functions": [{"id": 1, "name": "cuModuleGetFunction", "params": names}]}
    with SessionBuilder(path, model) as builder:
        builder.process(pid=7)
        builder.call("cuModuleGetFunction", args=(1, 2, 3), items=[string_item(2, "hay")], time=1_000_000_000)
        items = [string_item(2, "the_needle_kernel")]
        builder.call("cuModuleGetFunction", args=(1, 2, 3), items=items, time=2_000_000_000)
        builder.line("a NEEDLE in the log", time=3_000_000_000)
    return path


def test_all_that_a_session_and_its_project_hold_is_searched(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["marks", str(session), "--add", "@1", "--note", "near the needle"]) == 0
    assert cli.main(["search", str(session), "needle", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["found"]
    places = {(row["kind"], row["place"]) for row in found}
    assert places == {("note", "@1"), ("source", "src/a.c:2"), ("log", "log:1"), ("call", "@2")}


def test_sources_that_runs_were_built_of_are_searched_and_each_line_told_once(
    session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, library = tmp_path / "src" / "a.c", tmp_path / "libcuda.so.1"
    store, runs = BuildStore(tmp_path / ".shimbench" / "store"), []
    for number, text in enumerate(("int needle_of_old;\n", "int a;\nint needle_since;\n", "int Needle;\n")):
        source.write_text(text)
        library.write_bytes(bytes([number]))
        runs.append(store.keep({"libcuda.so.1": library}, None, [source], tmp_path))
    path = tmp_path / "built"
    with SessionBuilder(path, {"functions": []}) as builder:
        for number, build in enumerate(runs, 1):
            builder.event("run", run=number, shim=str(build.lib), sources=dict(build.sources))
        builder.event("run", run=4, shim="/nowhere", sources={"src/b.c": "../../etc/passwd"})
    source.write_text("int a;\nint needle_since;\n")
    assert cli.main(["search", str(path), "needle", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["found"]
    places = [("src/a.c:2", None), ("src/a.c:1 run 3", 3), ("src/a.c:1 run 1", 1)]
    assert [(row["place"], row["run"]) for row in found] == places
    assert Path(found[2]["file"]).read_text() == "int needle_of_old;\n"


def test_only_one_kind_up_to_a_limit_and_at_a_moment(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["search", str(session), "cuModule", "--kind", "call", "--limit", "1"]) == 0
    assert capsys.readouterr().out.split()[0] == "@1"
    assert cli.main(["search", str(session), "needle", "--kind", "call", "--at", "@1"]) == 1


def test_what_is_no_regular_expression_is_searched_for_as_it_is(session: Path) -> None:
    assert cli.main(["search", str(session), "needle("]) == 1


def test_marks_are_listed_with_what_they_stand_on_and_taken_back(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["marks", str(session), "--add", "log:1", "--note", "look"])
    cli.main(["marks", str(session)])
    assert "log:1" in (out := capsys.readouterr().out) and "look" in out and "NEEDLE" in out
    cli.main(["marks", str(session), "--remove", "log:1"])
    cli.main(["marks", str(session), "--json"])
    assert json.loads(capsys.readouterr().out)["marks"] == []


def test_a_place_that_there_is_not_is_refused(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["marks", str(session), "--add", "@7"]) == 2
    assert "there is no call 7: they go from 1 to 2" in capsys.readouterr().err
    assert cli.main(["marks", str(session), "--add", "here"]) == 2
