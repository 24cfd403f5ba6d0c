"""The commands that print a session: data on stdout, one JSON object when asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sessions import Session
from workbench.cli import main
from workbench.filter import parse


def printed(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    status = main(list(words))
    out, err = capfd.readouterr()
    assert (status, err) == (0, "")
    return out


def as_json(capfd: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(printed(capfd, *words))


def test_calls_are_printed_one_a_line(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    lines = printed(capfd, "calls", str(session.path)).splitlines()
    assert len(lines) == 8
    assert lines[1].split()[0] == "2"
    assert "libggml-cuda.so" in lines[1]
    assert "cuMemAlloc_v2(dptr=0x1, bytesize=4096) -> CUDA_ERROR_OUT_OF_MEMORY" in lines[1]


def test_calls_take_a_filter_and_limits(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    found = as_json(capfd, "calls", str(session.path), "pid:200", "!ok", "--json")
    assert [call["number"] for call in found["calls"]] == [4, 6, 8]
    assert found["total"] == 8 and found["filter"] == "pid:200 !ok"
    assert len(printed(capfd, "calls", "--first", "2", str(session.path)).splitlines()) == 2
    last = printed(capfd, "calls", "--last", "1", str(session.path))
    assert "cuStreamSynchronize" in last


def test_a_filter_that_means_nothing_is_a_usage_error(
    session: Session, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["calls", str(session.path), "pid:abc"]) == 2
    assert "column 5" in capfd.readouterr().err


def test_a_session_that_is_not_there_is_a_usage_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["calls", "/nowhere/at/all"]) == 2
    assert "/nowhere/at/all" in capfd.readouterr().err


def test_the_filter_language_explains_itself(capfd: pytest.CaptureFixture[str]) -> None:
    text = printed(capfd, "calls", "--filter-help")
    assert "dur:>TIME" in text and "unreturned" in text


def test_the_log_is_printed_in_full(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    lines = printed(capfd, "log", str(session.path)).splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("20B  ggml: out of memory")
    assert lines[2].endswith("no newline [no newline]")
    assert printed(capfd, "log", "--raw", str(session.path), "re:sec.*ss") == "second process\n"
    found = as_json(capfd, "log", "--json", "--pid", "100", str(session.path))
    assert [(line["length"], line["after_call"]) for line in found["lines"]] == [(20, 2)]


def test_coverage_and_device_are_printed(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    assert "cuFoo" in printed(capfd, "coverage", str(session.path))
    names = as_json(capfd, "coverage", "--json", "--run", "1", str(session.path))["names"]
    assert {"cuInit", "cuMemAlloc_v2"} <= {row["name"] for row in names}
    device = as_json(capfd, "device", "--json", "--run", "1", str(session.path))
    assert device["run"] == 1 and device["memory_used"] == 0
    assert printed(capfd, "device", str(session.path)).startswith("run 2: device memory unknown")


def test_json_calls_ok_what_the_filter_calls_ok(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    calls = as_json(capfd, "calls", str(session.path), "--json")["calls"]
    fine = parse("ok").mask(session, 0, len(session.calls)).tolist()
    assert [call["ok"] for call in calls] == fine


def test_the_session_may_stand_behind_the_filter(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["error", str(session.path)], [str(session.path), "error"]):
        told = as_json(capfd, "calls", *words, "--json")
        assert (told["filter"], [call["number"] for call in told["calls"]]) == ("error", [2, 4, 6])
