"""--at: a session as it was when a call returned, a line was written, a time came, a run ended."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from sessions import open_session
from sessions.testing import SessionBuilder, out_item, string_item
from workbench import cli
from workbench.errors import UsageError
from workbench.moments import moment_named, time_named
from workbench.native import NativePaths


@pytest.fixture
def session(tmp_path: Path, native_paths: NativePaths) -> Path:
    """Two runs: the first allocates, asks for a name and fails, the second is in its first call."""
    path = tmp_path / "s"
    with SessionBuilder(path, native_paths.model.read_bytes()) as builder:
        builder.event("run", run=1, reason="start", command=["target"], time=0)
        builder.process(["target"], pid=41, time=0)
        word = [out_item(0, struct.pack("<Q", 0x1000))]
        builder.call("cuMemAlloc_v2", args=(1, 4096), items=word, time=1_000_000_000, duration=500)
        builder.line("allocated", time=1_100_000_000)
        items = [string_item(0, "cuGetExportTable")]
        builder.call("cuGetProcAddress_v2", args=(1, 2, 12040), items=items, result=500,
                     time=1_200_000_000, duration=500)  # fmt: skip
        builder.line("ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device", time=1_300_000_000)
        builder.call("cuMemFree_v2", args=(0x1000,), time=1_400_000_000, duration=500)
        builder.exit(0, exit_code=1, time=1_500_000_000)
        builder.event("run-end", run=1, exit_code=1, time=1_600_000_000)
        builder.event("run", run=2, reason="saved", command=["target"], time=2_000_000_000)
        builder.process(["target"], pid=42, run=2, time=2_000_000_000)
        builder.call("cuInit", process=1, time=2_100_000_000, duration=900_000_000)
    return path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_device_holds_what_was_allocated_by_then(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = {at: printed(capsys, "device", str(session), "--at", at)["memory_used"]
            for at in ("0.5", "@1", "1.3s", "1400ms", "@3")}  # fmt: skip
    assert used == {"0.5": 0, "@1": 4096, "1.3s": 4096, "1400ms": 4096, "@3": 0}


def test_the_device_of_a_run_is_that_of_its_end(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "device", str(session), "--at", "run:1")["run"] == 1
    assert printed(capsys, "device", str(session), "--at", "run:2")["run"] == 2


def test_a_name_is_not_asked_for_before_it_was(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for at, names in (("@1", {"cuMemAlloc_v2"}), ("log:2", {"cuMemAlloc_v2", "cuGetExportTable"})):
        rows = printed(capsys, "coverage", str(session), "--at", at)["names"]
        assert names <= {row["name"] for row in rows}
        assert any(row["name"] == "cuGetExportTable" for row in rows) is ("cuGetExportTable" in names)


def test_calls_and_lines_are_those_of_the_moment(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "calls", str(session), "--at", "@2")["total"] == 2
    lines = printed(capsys, "log", str(session), "--at", "@2")["lines"]
    assert [line["text"] for line in lines] == ["allocated"]


def test_the_diagnosis_knows_what_was_known_then(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    early = printed(capsys, "diagnose", str(session), "--at", "@1")
    late = printed(capsys, "diagnose", str(session), "--at", "run:1")
    assert early["diagnosis"] == [] and early["unexplained"] == []
    assert late["diagnosis"] or late["unexplained"]


def test_a_call_under_way_at_a_moment_is_not_done_there(session: Path) -> None:
    moment = moment_named(open_session(session), "2.5")
    assert len(moment.calls) == 3
    assert [call.age_ns for call in moment.in_flight()] == [400_000_000]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@9", "there is no call 9: they go from 1 to 4"),
        ("@x", "names no moment"),
        ("log:3", "there is no line of the log 3: they go from 1 to 2"),
        ("run:7", "there is no run 7: there are 1, 2"),
        ("soon", "names no moment"),
        ("3 weeks", "names no moment"),
    ],
)
def test_what_names_no_moment_is_refused_with_what_would(session: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace(".", r"\.")):
        moment_named(open_session(session), text)


def test_a_time_without_a_unit_is_in_seconds_as_times_are_printed() -> None:
    assert [time_named(text) for text in ("7.1", "7.1s", "250ms", "3us")] == [
        7_100_000_000, 7_100_000_000, 250_000_000, 3_000,
    ]  # fmt: skip
