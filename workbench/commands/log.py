"""Print what the processes of a session wrote, every line in full: number, seconds, pid, stream, bytes, text.

REGEX keeps the lines in which it is found. --raw prints the text alone, byte for byte.
--json prints {"session", "total", "lines": [{"number", "time_ns", "pid", "role", "stream", "length", "torn",
"after_call", "text"}]}.
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

if TYPE_CHECKING:
    from sessions import Line, Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--raw", action="store_true", help="only the text, as it was written")
    parser.add_argument("--pid", type=int, help="only what this process wrote")
    parser.add_argument("--role", help="target, host, build, exercise or shim")
    add_session_words(parser, "REGEX", "a regular expression")


def run(options: argparse.Namespace) -> int:
    session, text = take_session(options.words)
    try:
        pattern = re.compile(text.encode()) if text else None
    except re.error as error:
        raise UsageError(f"{text!r} is no regular expression: {error}") from None
    with told_as_errors():
        chosen = _chosen(session, pattern, options.pid, options.role)
        if options.json:
            head = {"session": str(session.path), "total": len(session.log)}
            print_json_list(head, "lines", (_as_json(number, line) for number, line in chosen))
            return 0
        sys.stdout.flush()
        for number, line in chosen:
            sys.stdout.buffer.write(_as_written(line) if options.raw else _as_line(number, line))
        sys.stdout.buffer.flush()
    return 0


def _chosen(
    session: Session, pattern: re.Pattern[bytes] | None, pid: int | None, role: str | None
) -> Iterator[tuple[int, Line]]:
    from workbench.views.log import numbered_lines

    for number, line in numbered_lines(session, 0, len(session.log)):
        if pid not in (None, line.pid) or role not in (None, line.role):
            continue
        if pattern is None or pattern.search(line.text):
            yield number, line


def _as_written(line: Line) -> bytes:
    return line.text if line.torn else line.text + b"\n"


def _as_line(number: int, line: Line) -> bytes:
    head = f"{number + 1:>6} {seconds(line.time_ns):>12} {line.pid:>7} {line.stream:<6} {line.length:>5}B  "
    return head.encode() + line.text + (b" [no newline]\n" if line.torn else b"\n")


def _as_json(number: int, line: Line) -> dict[str, Any]:
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
    }
