"""`shimbench diff`: what it prints and how it exits."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from sessions.testing import SessionBuilder, out_item, string_item
from workbench import cli, native


@pytest.fixture
def two_runs(tmp_path: Path) -> Path:
    """A session whose second run finds no device."""
    with SessionBuilder(tmp_path / "two", native.paths().model.read_bytes()) as builder:
        for run, count in ((1, 1), (2, 0)):
            process = builder.process(["llama-server"], run=run)
            builder.call("cuInit", process=process, args=(0,))
            counted = out_item(0, struct.pack("<i", count))
            builder.call("cuDeviceGetCount", process=process, args=(0x1000,), items=[counted])
            builder.exit(process)
    return tmp_path / "two"


def test_equal_runs_exit_0_and_others_1(two_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", f"{two_runs}:1", f"{two_runs}:1"]) == 0
    assert "no difference" in capsys.readouterr().out
    assert cli.main(["diff", f"{two_runs}:1", f"{two_runs}:2"]) == 1
    out = capsys.readouterr().out
    assert "~ other output in llama-server: *count: 1, now 0" in out
    assert "A        2  cuDeviceGetCount" in out and "B        4  cuDeviceGetCount" in out


def test_json_holds_the_divergences(two_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", f"{two_runs}:1", f"{two_runs}", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["b"]["run"] == 2 and said["counts"] == {"other output": 1}
    (divergence,) = said["divergences"]
    assert (divergence["a"], divergence["b"]) == (2, 4)


def test_what_is_ignored_can_be_listed_and_added_to(
    two_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["diff", "--ignored"]) == 0
    assert "cuEventElapsedTime*.*" in capsys.readouterr().out
    ignore = ["--ignore", "cuDeviceGetCount.count"]
    assert cli.main(["diff", *ignore, f"{two_runs}:1", f"{two_runs}:2"]) == 0
    assert cli.main(["diff", "--ignore", "count", f"{two_runs}:1", f"{two_runs}:2"]) == 2


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("_Z4moveILi8EEvPf", ['name="scale"', 'name="move<8>"']),
        ("_Z5scalePd", ['"_Z5scalePf"', '"_Z5scalePd"']),
    ],
    ids=["readable", "overloads-as-they-are"],
)
def test_kernels_have_readable_names_where_these_tell_them_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], now: str, said: list[str]
) -> None:
    with SessionBuilder(tmp_path / "two", native.paths().model.read_bytes()) as builder:
        for run, name in ((1, "_Z5scalePf"), (2, now)):
            process = builder.process(["llama-server"], run=run)
            builder.call("cuModuleGetFunction", process=process, args=(1, 2, 3), items=[string_item(2, name)])
            builder.exit(process)
    assert cli.main(["diff", f"{tmp_path / 'two'}:1", f"{tmp_path / 'two'}:2"]) == 1
    out = capsys.readouterr().out
    assert all(text in out for text in said), out


def test_a_run_that_is_not_there_is_told(two_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", f"{two_runs}:1", f"{two_runs}:9"]) == 2
    assert "there is no run 9" in capsys.readouterr().err
