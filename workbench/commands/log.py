"""Print what the processes of a session wrote, every line in full: number, seconds, pid, stream, bytes, text.

REGEX keeps the lines in which it is found, --level those of that level and graver (trace, debug, info, warn,
error), --source those whose own source (file, function, tag) matches a GLOB. A crash's report is one: all its
lines are printed when one is. --raw prints the text alone, byte for byte. --json prints {"session", "total",
"lines": [{"number", "time_ns", "pid", "role", "stream", "length", "torn", "after_call", "text", "form",
"level", "time", "source", "message", "fields", "report"}]}; from "form" on it is read from the text, "report"
is the number of the line its report begins with, or null.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from workbench.commands.common import (
    add_session_words,
    print_json_list,
    seconds,
    take_session,
    told_as_errors,
)
from workbench.errors import UsageError
from workbench.moments import add_at, session_at
from workbench.views.log_blocks import LogBlocks

if TYPE_CHECKING:
    from sessions import Line, Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--raw", action="store_true", help="only the text, as it was written")
    parser.add_argument("--pid", type=int, help="only what this process wrote")
    parser.add_argument("--level", metavar="LEVEL", help="this level and graver: trace ... error")
    parser.add_argument("--source", metavar="GLOB", help="lines that name such a source: runner.go*, srv*")
    parser.add_argument("--role", help="target, host, build, exercise or shim")
    add_at(parser)
    add_session_words(parser, "REGEX", "a regular expression")


def run(options: argparse.Namespace) -> int:
    session, text = take_session(options.words)
    try:
        pattern = re.compile(text.encode()) if text else None
    except re.error as error:
        raise UsageError(f"{text!r} is no regular expression: {error}") from None
    if options.level is not None:
        from workbench.target.log_grammar import Level

        try:
            options.level = Level.named(options.level)
        except ValueError as error:
            raise UsageError(str(error)) from None
    with told_as_errors():
        session = session_at(session, options.at)
        blocks = LogBlocks()
        blocks.update(session)
        chosen = _chosen(session, pattern, options, blocks)
        if options.json:
            head = {"session": str(session.path), "total": len(session.log)}
            print_json_list(head, "lines", (_as_json(number, line, blocks) for number, line in chosen))
            return 0
        sys.stdout.flush()
        for number, line in chosen:
            sys.stdout.buffer.write(_as_written(line) if options.raw else _as_line(number, line))
        sys.stdout.buffer.flush()
    return 0


def _chosen(
    session: Session, pattern: re.Pattern[bytes] | None, options: argparse.Namespace, blocks: LogBlocks
) -> Iterator[tuple[int, Line]]:
    from workbench.views.log import numbered_lines
    from workbench.views.log_filter import LogFilter

    graver = None
    if options.level is not None or options.source is not None:
        from workbench.filter.terms import matches

        graver = LogFilter("", options.level, matches(options.source) if options.source else None)

    def passes(line: Line, in_report: bool) -> bool:
        if options.pid not in (None, line.pid) or options.role not in (None, line.role):
            return False
        if graver is not None and not graver.passes(line.text, "", in_report):
            return False
        return pattern is None or pattern.search(line.text) is not None

    reports: dict[int, bool] = {}
    for number, line in numbered_lines(session, 0, len(session.log)):
        block = blocks.of(number)
        if block is None:
            chosen = passes(line, False)
        else:
            if block.first not in reports:
                lines = map(session.log.line, block.lines)
                reports[block.first] = any(passes(each, True) for each in lines)
            chosen = reports[block.first]
        if chosen:
            yield number, line


def _as_written(line: Line) -> bytes:
    return line.text if line.torn else line.text + b"\n"


def _as_line(number: int, line: Line) -> bytes:
    head = f"{number + 1:>6} {seconds(line.time_ns):>12} {line.pid:>7} {line.stream:<6} {line.length:>5}B  "
    return head.encode() + line.text + (b" [no newline]\n" if line.torn else b"\n")


def _as_json(number: int, line: Line, blocks: LogBlocks) -> dict[str, Any]:
    from workbench.target.log_grammar import Level, parse_bytes

    parsed = parse_bytes(line.text)
    block = blocks.of(number)
    return {
        "number": number + 1,
        "time_ns": line.time_ns,
        "pid": line.pid,
        "role": line.role,
        "stream": line.stream,
        "length": line.length,
        "torn": line.torn,
        "after_call": line.after_call,
        "text": line.text.decode("utf-8", "backslashreplace"),
        "form": parsed.form,
        "level": None if parsed.level == Level.UNKNOWN else parsed.level.name.lower(),
        "time": parsed.time or None,
        "source": parsed.source or None,
        "message": _printable(parsed.message),
        "fields": [list(map(_printable, pair)) for pair in parsed.fields],
        "report": block.first + 1 if block is not None else None,
    }


def _printable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
