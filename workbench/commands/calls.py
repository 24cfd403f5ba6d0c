"""Print the recorded calls of a session, one a line: number, seconds, pid, thread, caller, duration, call.

FILTER is the workbench's filter language, for example: cuMem* !ok caller:libcudart dur:>1ms
--json prints {"session", "total", "filter", "calls": [{"number", "time_ns", "duration_ns", "pid", "thread",
"caller", "function", "arguments": {name: text}, "out": {name: text}, "result", "ok", "nesting"}]}; with
--count {"session", "total", "filter", "count"}. docs/filter.md says what a filter may say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from workbench.commands.common import (
    add_session_words,
    duration,
    pid_of,
    print_filter_help,
    print_json,
    print_json_list,
    seconds,
    take_session,
    told_as_errors,
)
from workbench.moments import add_at, session_at

if TYPE_CHECKING:
    from sessions import Session
    from sessions.decode import CallDecoder
    from workbench.filter import Filter

_BATCH = 65536


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--first", type=int, metavar="N", help="at most the first N that pass the filter")
    parser.add_argument("--last", type=int, metavar="N", help="only the last N that pass the filter")
    parser.add_argument("--count", action="store_true", help="print how many pass, and not which")
    parser.add_argument("--filter-help", action="store_true", help="explain the filter language and stop")
    add_at(parser)
    add_session_words(parser, "FILTER ...", "a filter")


def run(options: argparse.Namespace) -> int:
    from sessions.decode import CallDecoder
    from workbench.filter import CALLS, parse

    if options.filter_help:
        print_filter_help(CALLS)
        return 0
    session, text = take_session(options.words)
    call_filter = parse(text)
    decoder = CallDecoder(session.schema)
    with told_as_errors():
        session = session_at(session, options.at)
        if options.count:
            _print_count(session, call_filter, text, options.json)
            return 0
        rows = _chosen(session, call_filter, options.first, options.last)
        if options.json:
            head = {"session": str(session.path), "total": len(session.calls), "filter": text}
            print_json_list(head, "calls", (_as_json(session, decoder, row) for row in rows))
        else:
            row = None
            for row in rows:
                print(_as_line(session, decoder, row))
            if row is None:  # a mistyped session reads as a filter
                passed = (
                    f"none of its {len(session.calls)} calls passes {text}" if text else "it holds no call"
                )
                print(f"{session.path}: {passed}", file=sys.stderr)
    return 0


def _print_count(session: Session, call_filter: Filter, text: str, as_json: bool) -> None:
    count, total = 0, len(session.calls)
    for start in range(0, total, _BATCH):
        count += int(call_filter.mask(session, start, min(start + _BATCH, total)).sum())
    if as_json:
        print_json({"session": str(session.path), "total": total, "filter": text, "count": count})
    else:
        print(count)


def _chosen(session: Session, call_filter: Filter, first: int | None, last: int | None) -> Iterator[int]:
    """Row indices that pass, in order."""
    if last is not None:
        yield from _last(session, call_filter, last)
        return
    left = first
    for start in range(0, len(session.calls), _BATCH):
        stop = min(start + _BATCH, len(session.calls))
        for at in call_filter.mask(session, start, stop).nonzero()[0].tolist():
            if left is not None:
                if left <= 0:
                    return
                left -= 1
            yield start + at


def _last(session: Session, call_filter: Filter, count: int) -> list[int]:
    found: list[int] = []
    stop = len(session.calls)
    while stop and len(found) < count:
        start = max(0, stop - _BATCH)
        found = [start + at for at in call_filter.mask(session, start, stop).nonzero()[0].tolist()] + found
        stop = start
    return found[-count:] if count > 0 else []


def _as_line(session: Session, decoder: CallDecoder, number: int) -> str:
    row = session.calls.row(number)
    caller = session.caller_name(row.process, row.caller).rpartition("+0x")[0] or f"0x{row.caller:x}"
    inside = "  " * row.nesting
    return (
        f"{number + 1:>8} {seconds(row.time):>12} {pid_of(session, row.process):>7} {row.thread:>7} "
        f"{caller:<20} {duration(row.duration):>8}  {inside}{decoder.text(session, number)}"
    )


def _as_json(session: Session, decoder: CallDecoder, number: int) -> dict[str, Any]:
    from workbench.filter.terms import is_ok

    row = session.calls.row(number)
    call = decoder.call(session, number)
    return {
        "number": number + 1,
        "time_ns": row.time,
        "duration_ns": row.duration,
        "pid": pid_of(session, row.process),
        "thread": row.thread,
        "caller": session.caller_name(row.process, row.caller),
        "function": call.name,
        "arguments": {a.name or str(place): a.text for place, a in enumerate(call.arguments) if not a.out},
        "out": {a.name: a.text for a in call.arguments if a.out},
        "result": call.result,
        "ok": is_ok(row),
        "nesting": row.nesting,
    }
