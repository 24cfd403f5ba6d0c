"""`shimbench diagnose`: text for people, JSON for programs."""

from __future__ import annotations

import json

import pytest

from sessions.testing import SessionBuilder
from workbench import cli


def test_json_counts_calls_and_lines_as_they_are_displayed(
    builder: SessionBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.call("cuInit", args=(0,), result=100)
    builder.line("ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected")
    builder.finish()
    assert cli.main(["diagnose", str(builder.path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = report["diagnosis"][0]
    assert (report["run"], found["rule"], found["stage"]) == (1, "init-fails", "init")
    assert [(piece["call"], piece["log"]) for piece in found["evidence"]] == [(1, None), (None, 1)]


def test_text_of_a_healthy_session_says_that_no_rule_matches(
    builder: SessionBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.call("cuInit", args=(0,))
    builder.finish()
    assert cli.main(["diagnose", str(builder.path)]) == 0
    heading, doing = capsys.readouterr().out.splitlines()
    assert heading == "no rule matches: nothing failed that it knows of"
    assert doing.startswith("  - ")


def test_what_is_unexplained_is_shown_and_no_cause_invented(
    builder: SessionBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.call("cuEventQuery", args=(1,), result=1)
    builder.exit(0, exit_code=3)
    builder.finish()
    assert cli.main(["diagnose", str(builder.path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("no rule matches: look here\n")
    assert "exit 3" in text and "cuEventQuery" in text


@pytest.mark.parametrize("command", ["coverage", "device", "diagnose", "kernels", "timeline"])
def test_a_run_that_is_not_there_is_an_error_and_not_an_empty_answer(
    builder: SessionBuilder, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    builder.call("cuInit", args=(0,), result=100)
    builder.finish()
    assert cli.main([command, str(builder.path), "--run", "7"]) == 2
    assert "--run 7: there is no such run, there are: 1" in capsys.readouterr().err
    assert cli.main([command, str(builder.path), "--run", "1"]) == 0
