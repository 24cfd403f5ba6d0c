"""The filter language's words for lines of the log.

A crash's report is one: a term holds for all of its lines when it holds for one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from sessions.format import ROLES
from workbench.filter.language import (
    Language,
    Term,
    compare,
    matches,
    nanoseconds,
    process_values,
    whole_number,
)
from workbench.filter.nodes import Mask, Node
from workbench.target.log_grammar import Level, LogLine, parse_bytes

if TYPE_CHECKING:
    from sessions import Line, Process, Session

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
_EXPRESSION = re.compile(r"\.[*+]|\\[.()\[\]{}dDwWsSbB*+?|^$]|\[\^|\[[^\]]+\][*+]")
"""what hardly anybody writes who does not mean a regular expression"""
_STREAMS = {"1": "stdout", "out": "stdout", "2": "stderr", "err": "stderr"}
_OFFERED = 5000  # lines at the end of a log among which sources and fields to offer are looked for


class Written:
    """A line of the log with its index, or the lines of one report with theirs."""

    def __init__(self, session: Session, numbers: Sequence[int], lines: Sequence[Line], report: bool) -> None:
        self.session = session
        self.numbers = numbers
        self.lines = lines
        self.report = report

    @cached_property
    def texts(self) -> list[str]:
        """The lines without their colours; what is no UTF-8 as the log pane shows it."""
        texts = (line.text.decode("utf-8", "backslashreplace") for line in self.lines)
        return [_COLOURS.sub("", text) if "\x1b" in text else text for text in texts]

    @cached_property
    def folded(self) -> list[str]:
        """The same, for where capitals don't matter."""
        return [text.casefold() for text in self.texts]

    @cached_property
    def parsed(self) -> list[LogLine]:
        """The lines taken apart."""
        return [parse_bytes(line.text) for line in self.lines]

    @property
    def process(self) -> Process | None:
        """Who wrote them, when it is known."""
        index = self.lines[0].process
        return self.session.processes[index] if 0 <= index < len(self.session.processes) else None


Lines = Sequence[Written]


class LineTest:
    """A term of lines."""

    def __init__(self, holds: Callable[[Written], bool], dear: bool = False) -> None:
        self._holds = holds
        self.dear = dear

    def mask(self, rows: Lines, wanted: Mask) -> Mask:
        found = np.zeros(len(rows), bool)
        for at in np.flatnonzero(wanted).tolist():
            found[at] = self._holds(rows[at])
        return found


def writer(session: Session, line: Line) -> str:
    """Who wrote a line: the program's name, or the role of one that is not the target's."""
    if line.role not in ("", "target") or not 0 <= line.process < len(session.processes):
        return line.role or line.stream
    return PurePosixPath(session.processes[line.process].exe).name


def _text(value: str) -> Node[Lines]:
    folded = value.casefold()
    if "*" not in folded:
        return LineTest(lambda written: any(folded in text for text in written.folded))
    pieces = re.compile(".*?".join(map(re.escape, folded.split("*"))), re.DOTALL)
    return LineTest(lambda written: any(pieces.search(text) for text in written.folded))


def _words(value: str) -> Node[Lines]:
    if _EXPRESSION.search(value):
        raise ValueError(f"a regular expression is written re:{value}, these very characters text:{value}")
    return _text(value)


def _expression(value: str) -> Node[Lines]:
    try:
        expression = re.compile(value, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from None
    return LineTest(lambda written: any(expression.search(text) for text in written.texts))


def _level(value: str) -> Node[Lines]:
    exact = value[0] in "<>="
    test = compare(value if exact else f">={value}", Level.named)

    def holds(written: Written) -> bool:
        return bool(test(Level.ERROR)) if written.report else any(test(each.level) for each in written.parsed)

    return LineTest(holds, dear=True)


def _source(value: str) -> Node[Lines]:
    matching = matches(value)
    return LineTest(lambda written: any(matching(each.source) for each in written.parsed), dear=True)


def _field(value: str) -> Node[Lines]:
    key, equals, wanted = value.partition("=")
    matching = matches(wanted) if equals else lambda _: True

    def holds(written: Written) -> bool:
        return any(name == key and matching(text) for each in written.parsed for name, text in each.fields)

    return LineTest(holds, dear=True)


def _process(value: str) -> Node[Lines]:
    matching = matches(value)
    return LineTest(lambda written: matching(writer(written.session, written.lines[0])))


def _role(value: str) -> Node[Lines]:
    if value not in ROLES:
        raise ValueError(", ".join(role for role in ROLES if role))
    return LineTest(lambda written: (written.lines[0].role or "target") == value)


def _pid(value: str) -> Node[Lines]:
    pid = whole_number(value)
    return LineTest(lambda written: written.lines[0].pid == pid)


def _run(value: str) -> Node[Lines]:
    run = whole_number(value)
    return LineTest(lambda written: written.process is not None and written.process.run == run)


def _fd(value: str) -> Node[Lines]:
    stream = _STREAMS.get(value, value)
    if stream not in _STREAMS.values():
        raise ValueError("out (1) or err (2)")
    return LineTest(lambda written: written.lines[0].stream == stream)


def _measured(value: str, read: Callable[[str], float], measure: Callable[[Line], int]) -> Node[Lines]:
    test = compare(value, read)
    return LineTest(lambda written: any(test(measure(line)) for line in written.lines))


def _line(value: str) -> Node[Lines]:
    test = compare(value, whole_number)
    return LineTest(lambda written: any(test(number + 1) for number in written.numbers))


_KINDS: dict[str, Callable[[Written], bool]] = {
    "report": lambda written: written.report,
    "torn": lambda written: any(line.torn for line in written.lines),
}


def _is(value: str) -> Node[Lines]:
    if value not in _KINDS:
        raise ValueError(" or ".join(_KINDS))
    return LineTest(_KINDS[value])


_TERMS: tuple[Term[Lines], ...] = (
    Term("", "WORDS", "part of the text, * for anything between; quote blanks", '"out of memory"', _words),
    Term("text", "text:WORDS", "the same, whatever is in it", 'text:"a|b"', _text),
    Term(
        "re", "re:REGEX", "a regular expression; quote blanks and ( ) | ! &", 're:"fail(ed|ure)"', _expression
    ),
    Term(
        "level",
        "level:LEVEL",
        "that level and graver, level:=LEVEL that one: trace, debug, info, warn, error",
        "level:warn",
        _level,
    ),
    Term(
        "source", "source:GLOB", "the file, function or tag that a line names", "source:runner.go*", _source
    ),
    Term(
        "field",
        "field:KEY=GLOB",
        "a field that a line has; field:KEY whatever it is",
        "field:library=CUDA",
        _field,
    ),
    Term("process", "process:GLOB", "who wrote it, as the log pane names it", "process:llama*", _process),
    Term("role", "role:ROLE", "target, host, build, exercise or shim", "role:host", _role),
    Term("pid", "pid:NUMBER", "lines of the process with this pid", "pid:4121", _pid),
    Term("fd", "fd:out|err", "what it was written to; fd:1, fd:2 as well", "fd:err", _fd),
    Term("run", "run:NUMBER", "lines of one run of the session", "run:3", _run),
    Term(
        "time",
        "time:>TIME",
        "when it was written, since the session's start",
        "time:2s-3s",
        lambda value: _measured(value, nanoseconds, lambda line: line.time_ns),
    ),
    Term("line", "line:NUMBER-NUMBER", "lines by their number", "line:>200", _line),
    Term(
        "call",
        "call:NUMBER-NUMBER",
        "by the number of the last call recorded before it",
        "call:>443",
        lambda value: _measured(value, whole_number, lambda line: line.after_call),
    ),
    Term(
        "bytes",
        "bytes:NUMBER-NUMBER",
        "by length, the newline counted",
        "bytes:98",
        lambda value: _measured(value, whole_number, lambda line: line.length),
    ),
    Term("is", "is:report", "lines of a crash's report; is:torn those without a newline", "is:report", _is),
)


def _values(key: str, session: Session | None) -> list[tuple[str, str]]:
    fixed = {
        "level": [(name, "and graver") for name in ("error", "warn", "info", "debug", "trace")],
        "role": [(role, "role") for role in ROLES if role],
        "fd": [("out", "standard output"), ("err", "standard error")],
        "is": [("report", "of a crash"), ("torn", "without a newline")],
        "time": [(">1s", "later than"), ("<20ms", "earlier than"), ("1s-2s", "between")],
    }
    if key in fixed or session is None:
        return fixed.get(key, [])
    if key in ("source", "field"):
        return _found(key, session)
    if key == "process":
        roles = [(role, "role") for role in ROLES if role not in ("", "target")]
        return [*process_values(key, session), *roles]
    return process_values(key, session)


def _found(key: str, session: Session) -> list[tuple[str, str]]:
    """Sources, or fields with their values, of the last lines."""
    found: dict[str, str] = {}
    for line in session.log.lines(max(len(session.log) - _OFFERED, 0), len(session.log)):
        parsed = parse_bytes(line.text)
        if key == "source" and parsed.source:
            found[parsed.source] = "source"
        elif key == "field":
            found |= {f"{name}={text}": "field" for name, text in parsed.fields if '"' not in text}
    return sorted(found.items())


LINES: Language[Lines] = Language("lines of the log", _TERMS, (), _values)
"""What is said of lines of the log."""
