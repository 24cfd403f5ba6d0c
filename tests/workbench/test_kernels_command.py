"""`shimbench kernels`: by time, one with its PTX, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from sessions.testing import SessionBuilder
from workbench.cli import main

MODEL = {"format": 1, "hash": "abc", "functions": [], "enums": {}}
SHAPE = {"grid": [64, 1, 1], "block": [256, 1, 1], "shared": 1024, "launches": 8, "seconds": 0.08}


@pytest.fixture
def session(tmp_path: Path) -> str:
    with SessionBuilder(tmp_path / "session", MODEL) as builder:
        builder.process(["/opt/target"], pid=77, run=1)
        rows = [
            {
                "name": name,
                "module": 5,
                "launches": 8,
                "instructions": 640,
                "seconds": 0.08,
                "shapes": [SHAPE],
            }
            for name in ("_Z5scalePf", "scale_rows")
        ]
        builder.event("host", event="kernels", pid=77, kernels=rows)
        blob = builder.blob(zstandard.compress(b".entry f()\n{ ret; }"))
        fields = {"pid": 77, "module": 5, "kernel": "_Z5scalePf"}
        builder.event("host", event="ptx", line=9, bytes=19, blob=blob, **fields)
        counted = {"counted": 1, "blocks": 12, "of_blocks": 64}
        builder.event("host", event="lines", lines=[[10, 4, 100]], **counted, **fields)
    return str(tmp_path / "session")


def test_kernels_and_their_launches_are_printed(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels", session]) == 0
    out = capsys.readouterr().out
    assert "process 77: 2 kernels, 160 ms" in out and "8 x scale, 640 instructions" in out
    assert "8 x grid 64,1,1 block 256,1,1 shared 1.0 KiB, 10 ms each" in out


def test_a_kernel_is_printed_with_counts_beside_its_lines(
    session: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kernels", session, "--ptx", "_Z5scalePf"]) == 0
    first, _, second = capsys.readouterr().out.splitlines()
    assert "1 of 8 launches (12 of 64 blocks) counted" in first
    assert second.split() == ["10", "4", "25.0", "{", "ret;", "}"]


def test_json_has_text_and_counts_of_the_kernel_asked_for(
    session: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kernels", session, "--json", "--ptx", "_Z5scalePf"]) == 0
    (process,) = json.loads(capsys.readouterr().out)["processes"]
    (kernel,) = process["kernels"]
    assert kernel["demangled"] == "scale" and kernel["text"] == ".entry f()\n{ ret; }"
    assert kernel["lines"] == {"10": [4, 100]} and kernel["shapes"][0]["grid"] == [64, 1, 1]


@pytest.mark.parametrize(("name", "words"), [("nonesuch", "was launched in run 1"), ("scale", "several")])
def test_a_name_that_says_not_one_kernel_is_an_error(
    session: str, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    assert main(["kernels", session, "--ptx", name]) == 2
    assert words in capsys.readouterr().err
