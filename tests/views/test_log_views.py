"""Reports in the log, its filter, and the command that prints it."""

from __future__ import annotations

import json
from typing import Any

from sessions.testing import SessionBuilder
from workbench import cli
from workbench.target.log_grammar import Level
from workbench.views.log_blocks import LogBlocks

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
    blocks.update(session)
    report = blocks.of(4)
    assert report is not None and report.lines == [1, 3, 4, 5] and report.first == 1
    assert blocks.of(0) is None and blocks.of(2) is None and blocks.of(6) is None


def test_a_report_grows_while_it_is_written(builder: SessionBuilder) -> None:
    builder.line(REPORT[0])
    session = builder.open()
    blocks = LogBlocks()
    blocks.update(session)
    assert blocks.of(0) is None  # one line alone is no report
    builder.line(REPORT[1])
    builder.publish()
    session.refresh()
    blocks.update(session)
    report = blocks.of(0)
    assert report is not None and report.lines == [0, 1]


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
    found = printed(capsys, path, "!idle", "or", "update_slots")["lines"]
    assert [line["number"] for line in found] == [1, 2, 4, 5, 6, 7]
    assert printed(capsys, "--count", path, "is:report") == {
        "session": path, "total": 7, "filter": "is:report", "count": 4,
    }  # fmt: skip


def test_the_command_points_at_what_is_wrong_and_explains_the_language(
    builder: SessionBuilder, capsys: Any
) -> None:
    write(builder)
    builder.finish()
    path = str(builder.path)
    assert cli.main(["log", "--level", "loud", path]) == 2
    assert "loud" in capsys.readouterr().err
    assert cli.main(["log", path, "idle", "dur:>1ms"]) == 2
    _, text, caret = capsys.readouterr().err.rstrip("\n").split("\n")
    assert text[caret.index("^") :] == "dur:>1ms"
    assert cli.main(["log", "--filter-help"]) == 0
    assert "level:LEVEL" in capsys.readouterr().out


def test_levels_have_their_usual_names() -> None:
    assert Level.named("Warning") == Level.WARN
