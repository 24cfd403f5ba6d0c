"""Reports in the log, its filter, and the command that prints it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sessions.testing import SessionBuilder
from workbench import cli
from workbench.target.log_grammar import Level
from workbench.views.log_blocks import LogBlocks
from workbench.views.log_filter import read

REPORT = [
    "CUDA error: an illegal memory access was encountered",
    "  current device: 0, in function ggml_backend_cuda_synchronize at /src/ggml-cuda.cu:2905",
    "  cudaStreamSynchronize(cuda_ctx->stream())",
    "/src/ggml-cuda.cu:98: CUDA error",
]


def write(builder: SessionBuilder) -> int:
    """The report of the first process with lines of another between its own; -> the other's index."""
    other = builder.process(["/opt/bin/ollama", "serve"], pid=4200)
    builder.line("load_tensors: offloaded 3/3 layers to GPU")
    builder.line(REPORT[0])
    builder.line('time=t level=WARN source=sched.go:1 msg="gone idle"', process=other)
    for line in REPORT[1:]:
        builder.line(line)
    builder.line("srv  update_slots: all slots are idle")
    return other


def test_the_lines_of_a_crash_are_one_report_whatever_others_write_between(builder: SessionBuilder) -> None:
    write(builder)
    session = builder.open()
    blocks = LogBlocks()
    assert blocks.update(session) == [1, 3, 4, 5]
    report = blocks.of(4)
    assert report is not None and report.lines == [1, 3, 4, 5] and report.first == 1
    assert blocks.of(0) is None and blocks.of(2) is None and blocks.of(6) is None


def test_a_report_grows_while_it_is_written(builder: SessionBuilder) -> None:
    builder.line(REPORT[0])
    session = builder.open()
    blocks = LogBlocks()
    assert blocks.update(session) == [0] and blocks.of(0) is None  # one line alone is no report
    builder.line(REPORT[1])
    builder.publish()
    session.refresh()
    assert blocks.update(session) == [1]
    report = blocks.of(0)
    assert report is not None and report.lines == [0, 1]


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("level:warn", [1, 3]),
        ("level:error", [3]),
        ("source:sched*", [1]),
        ("source:load_tensors level:trace", []),
        ("level:warn idle", [1]),
        ("level:warn !idle", [3]),
        ("!idle", [0, 2, 3]),
        ("level:loud", []),
        ("[", []),
    ],
)
def test_the_filter_knows_level_and_source_and_then_a_regular_expression(
    text: str, passing: list[int]
) -> None:
    lines = [
        b"load_tensors: offloaded 3/3 layers to GPU",
        b'time=t level=WARN source=sched.go:1 msg="gone idle"',
        b'time=t level=INFO source=types.go:32 msg="inference compute"',
        b"ggml_cuda_init: failed to initialize CUDA: no error",
    ]
    filter_ = read(text)
    assert filter_ is not None
    assert [n for n, line in enumerate(lines) if filter_.passes(line, line.decode())] == passing


def test_nothing_to_filter_by_is_no_filter() -> None:
    assert read("") is None and read("  ") is None and read("!") is None


def printed(capsys: Any, *words: str) -> dict[str, Any]:
    assert cli.main(["log", "--json", *words]) == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


def test_the_command_prints_a_report_whole_and_its_lines_taken_apart(
    builder: SessionBuilder, capsys: Any
) -> None:
    write(builder)
    builder.finish()
    path = str(builder.path)
    found = printed(capsys, path, "in function ggml_backend")["lines"]
    assert [line["number"] for line in found] == [2, 4, 5, 6]
    assert {line["report"] for line in found} == {2}
    found = printed(capsys, "--level", "warn", path)["lines"]
    assert [line["number"] for line in found] == [2, 3, 4, 5, 6]
    found = printed(capsys, "--source", "sched*", path)["lines"]
    assert [(line["level"], line["message"], line["source"]) for line in found] == [
        ("warn", "gone idle", "sched.go:1")
    ]
    assert cli.main(["log", "--level", "loud", path]) == 2
    assert "loud" in capsys.readouterr().err


def test_levels_have_their_usual_names() -> None:
    assert Level.named("Warning") == Level.WARN
