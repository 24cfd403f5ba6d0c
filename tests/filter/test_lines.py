"""The filter language for lines of the log: which pass, and where it says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions import Session
from sessions.testing import SessionBuilder
from workbench.filter import LINES, FilterError, complete, help_lines, parse_lines
from workbench.filter.apply import terms_of_line, with_term
from workbench.native import NativePaths
from workbench.views.log_filter import FilteredLog

REPORT = [
    "CUDA error: out of memory",
    "  current device: 0, in function f at /src/a.cu:1",
    "  cudaMalloc(&p)",
]


@pytest.fixture
def builder(tmp_path: Path, native_paths: NativePaths) -> SessionBuilder:
    """Nine lines of a server and a runner: 5, 7 and 8 are one report."""
    builder = SessionBuilder(tmp_path / "session", native_paths.model.read_bytes())
    builder.process(["/opt/bin/llama-server"], pid=100, run=1)
    other = builder.process(["/opt/bin/ollama", "serve"], pid=4200, run=2)
    builder.line("load_tensors: offloaded 3/3 layers to GPU")
    builder.line('time=t level=WARN source=sched.go:1 msg="gone idle" size=4 lib="a b"', process=other)
    builder.call("cuInit")
    builder.line("\x1b[31mred\x1b[0m\x1b[32mgreen\x1b[0m", stream="stdout")
    builder.line('time=t level=INFO source=types.go:32 msg="inference compute" library=CUDA', process=other)
    builder.line(REPORT[0])
    builder.line('time=t level=DEBUG source=a.go:7 msg="a|b (c) ?"', process=other)
    for line in REPORT[1:]:
        builder.line(line)
    builder.line("no newline", torn=True)
    return builder


def passing(session: Session, text: str) -> list[int]:
    """Numbers of the lines that pass."""
    lines = FilteredLog(session, parse_lines(text))
    lines.advance()
    return [lines.number(index) + 1 for index in range(len(lines))]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("idle", [2]),
        ("GPU", [1]),
        ("!idle !red !line", [1, 4, 5, 6, 7, 8]),
        ("redgreen", [3]),
        ("offload*gpu", [1]),
        ("offload*cpu", []),
        ('"out of memory"', [5, 7, 8]),
        ("function current", [5, 7, 8]),
        ("!device", [1, 2, 3, 4, 6, 9]),
        ('text:"a|b (c)"', [6]),
        ('re:"^(no|load)"', [1, 9]),
        ("level:warn", [2, 5, 7, 8]),
        ("level:=info or level:<info level:>=trace", [4, 6]),
        ("source:sched*", [2]),
        ("source:load_tensors level:trace", []),
        ("field:library=cuda", [4]),
        ('field:size or field:"lib=a b"', [2]),
        ("process:ollama", [2, 4, 6]),
        ("pid:4200 !compute", [2, 6]),
        ("run:2", [2, 4, 6]),
        ("role:target is:report", [5, 7, 8]),
        ("role:host", []),
        ("fd:1", [3]),
        ("fd:out or is:torn", [3, 9]),
        ("line:<=2", [1, 2]),
        ("call:0", [1, 2]),
        ("bytes:10-11", [9]),
        ("time:>=0ns", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("time:>1min", []),
    ],
)
def test_which_lines_pass(builder: SessionBuilder, text: str, numbers: list[int]) -> None:
    session = builder.open()
    assert passing(session, text) == numbers
    known = None
    for step in (1, 2, 3, 5):  # in pieces, the first time without knowing which lines are one report
        lines = FilteredLog(session, parse_lines(text), known)
        for stop in range(step, 9 + step, step):
            lines.advance(min(stop, 9))
        assert [lines.number(index) + 1 for index in range(len(lines))] == numbers, step
        known = lines.blocks


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("idle level:loud", 12, "no level"),
        ("levl:warn", 1, "did you mean level:"),
        ("idle dur:>1ms", 6, "only of calls"),
        ("re:[", 4, "no regular expression"),
        ("cuda.*error", 1, "re:cuda.*error"),
        ("cudaMalloc(", 12, "missing"),
        ("role:nobody", 6, "target"),
        ("fd:9", 4, "out"),
        ("is:odd", 4, "report or torn"),
        ('"out of', 1, "quote"),
    ],
)
def test_an_error_points_at_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_lines(text)
    assert caught.value.column == column
    assert words in caught.value.message
    assert caught.value.text == text


def test_a_report_that_grows_is_judged_anew_as_a_whole(builder: SessionBuilder) -> None:
    session = builder.open()
    lines, others = FilteredLog(session, parse_lines("deeper")), FilteredLog(session, parse_lines("!deeper"))
    builder.line(REPORT[0])
    builder.publish()
    for each in (session.refresh, lines.advance, others.advance):
        each()
    before = len(others)
    assert len(lines) == 0
    builder.line("  current device: 1, in function deeper at /src/a.cu:2")
    builder.publish()
    for each in (session.refresh, lines.advance, others.advance):
        each()
    assert [lines.number(index) for index in range(len(lines))] == [9, 10]
    assert len(others) == before - 1


def test_a_line_passes_every_filter_that_is_made_of_it(builder: SessionBuilder) -> None:
    session = builder.open()
    for number in range(len(session.log)):
        text = ""
        for what, each in terms_of_line(session, number).items():
            assert number + 1 in passing(session, each), (what, each)
            text = with_term(text, each)
        assert number + 1 in passing(session, text)
    assert {"source", "level", "field size", "field lib", "message"} <= set(terms_of_line(session, 1))


def test_completion_knows_levels_and_the_session_s_own_sources_and_fields(builder: SessionBuilder) -> None:
    session = builder.open()

    def offered(text: str) -> list[str]:
        return [each.text for each in complete(text, len(text), session, LINES)]

    assert offered("lev") == ["level:"]
    assert "warn" in offered("level:")
    assert offered("idle source:types") == ["types.go:32"]
    assert offered("field:libr") == ["library=CUDA"]
    assert "ollama" in offered("process:")
    assert "dur:" not in offered("")


def test_every_term_is_explained_and_its_example_is_a_filter() -> None:
    for term in LINES.terms:
        assert term.help
        parse_lines(term.example)
    assert len(help_lines(LINES)) > len(LINES.terms)
