"""Print what the processes of a session wrote, every line in full: number, seconds, pid, stream, bytes, text.

FILTER is the workbench's filter language in its words for lines, e.g. level:warn source:runner* !idle. All
lines of a crash's report are printed when one passes. --filter-help explains it; --level, --source, --pid and
--role stand for its terms. --raw prints the text alone, byte for byte. --json prints {"session", "total",
"filter", "lines": [{"number", "time_ns", "pid", "role", "stream", "length", "torn", "after_call", "text",
"form", "level", "time", "source", "message", "fields", "report"}]}; from "form" on it is read from the text,
"report" is the number of the line its report begins with, or null. With --count {"session", "total",
"filter", "count"}. docs/filter.md says what a filter may say.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from workbench.commands.common import (
    add_session_words,
    print_filter_help,
    print_json,
    print_json_list,
    seconds,
    take_session,
    told_as_errors,
)
from workbench.moments import add_at, session_at

if TYPE_CHECKING:
    from sessions import Line
    from workbench.views.log_blocks import LogBlocks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--raw", action="store_true", help="only the text, as it was written")
    parser.add_argument("--pid", type=int, help="only what this process wrote")
    parser.add_argument("--level", metavar="LEVEL", help="this level and graver: trace ... error")
    parser.add_argument("--source", metavar="GLOB", help="lines that name such a source: runner.go*, srv*")
    parser.add_argument("--role", help="target, host, build, exercise or shim")
    parser.add_argument("--count", action="store_true", help="print how many pass, and not which")
    parser.add_argument("--filter-help", action="store_true", help="explain the filter language and stop")
    add_at(parser)
    add_session_words(parser, "FILTER ...", "a filter")


def run(options: argparse.Namespace) -> int:
    from workbench.filter import LINES, parse_lines
    from workbench.filter.apply import term, with_term
    from workbench.views.log_filter import FilteredLog

    if options.filter_help:
        print_filter_help(LINES)
        return 0
    session, text = take_session(options.words)
    for key in ("level", "source", "pid", "role"):
        value = getattr(options, key)
        if value is not None:
            text = with_term(text, term(key, str(value)))
    line_filter = parse_lines(text)
    with told_as_errors():
        session = session_at(session, options.at)
        lines = FilteredLog(session, line_filter if text else None)
        lines.advance()
        numbers = map(lines.number, range(len(lines)))
        chosen = ((number, session.log.line(number)) for number in numbers)
        head = {"session": str(session.path), "total": len(session.log), "filter": text}
        if options.count:
            print_json({**head, "count": len(lines)}) if options.json else print(len(lines))
            return 0
        if options.json:
            print_json_list(head, "lines", (_as_json(number, line, lines.blocks) for number, line in chosen))
            return 0
        sys.stdout.flush()
        for number, line in chosen:
            sys.stdout.buffer.write(_as_written(line) if options.raw else _as_line(number, line))
        sys.stdout.buffer.flush()
    return 0


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
