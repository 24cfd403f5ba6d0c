"""Moments as people name them: a time, a call, a line of the log, the end of a run."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from workbench.errors import UsageError

if TYPE_CHECKING:
    from sessions import Session
    from sessions.marks import MarkKind
    from sessions.moment import Moment
    from workbench.views.snapshots import State

SYNTAX = (
    "7.1, 7.1s or 250ms since the session's start; @443: when call 443 returned; log:212; run:2 (its end)"
)
_TOLD_FROM = 2_000_000  # calls to be gone through before a moment is known, from which on that is said


def add_at(parser: argparse.ArgumentParser) -> None:
    """--at MOMENT, for the commands that show a session as it was."""
    parser.add_argument("--at", metavar="MOMENT", help=f"as it was at this moment: {SYNTAX}")


def session_at(session: Session, at: str | None) -> Session:
    """The session, or its moment when one is named. UsageError when there is no such moment."""
    return session if at is None else moment_named(session, at)


def moment_named(session: Session, text: str) -> Moment:
    """The session as it was at a moment by its name. UsageError when there is none of that name."""
    from sessions.moment import moment_at, moment_of_call

    kind, colon, rest = text.strip().partition(":")
    if text.startswith("@"):
        return moment_of_call(session, _number(text, text[1:], len(session.calls), "call"))
    if kind == "log" and colon:
        number = _number(text, rest, len(session.log), "line of the log")
        return moment_at(session, session.log.line(number).time_ns)
    if kind == "run" and colon:
        return moment_at(session, end_of_run(session, _run(session, rest)))
    return moment_at(session, time_named(text))


def place_named(session: Session, text: str) -> tuple[MarkKind, int]:
    """`@443` or `log:212` as ("call", 442) or ("line", 211). UsageError when there is none."""
    kind, colon, rest = text.strip().partition(":")
    if text.startswith("@"):
        return "call", _number(text, text[1:], len(session.calls), "call")
    if kind == "log" and colon:
        return "line", _number(text, rest, len(session.log), "line of the log")
    raise UsageError(f"{text!r} names no call and no line: @443, log:212")


def time_named(text: str) -> int:
    """`7.1`, `7.1s`, `250ms` in ns since the session's start; without a unit, seconds as they are printed."""
    from workbench.filter.language import nanoseconds

    bare = text.strip().replace(" ", "")
    try:
        return int(float(bare) * 1e9) if bare.replace(".", "", 1).isdigit() else int(nanoseconds(bare))
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} names no moment: {SYNTAX}") from None


def end_of_run(session: Session, run: int) -> int:
    """When a run ended, in ns since the session's start; while it goes on, the last moment known."""
    ends = [
        event.time_ns
        for event in session.events
        if event.kind == "run-end" and event.fields.get("run") == run
    ]
    if ends:
        return ends[-1]
    later = [event.time_ns for event in session.events
             if event.kind == "run" and int(event.fields.get("run") or 0) > run]  # fmt: skip
    return later[0] - 1 if later else last_moment(session)


def last_moment(session: Session) -> int:
    """The last moment of which something is known, in ns since the session's start."""
    last = session.now_ns()
    if session.events:
        last = max(last, session.events[-1].time_ns)
    if len(session.log):
        last = max(last, session.log.line(-1).time_ns)
    total = len(session.calls)
    tail = session.calls.columns(max(0, total - 4096), total, ("time", "duration"))
    return max(last, int((tail["time"] + tail["duration"]).max())) if total else last


def state_at(moment: Moment, run: int | None = None) -> State:
    """What device, coverage and results were at a moment; snapshots that are missing are left for the next
    time, which is said where it takes long."""
    from workbench.views.snapshots import Snapshots

    snapshots = Snapshots(moment.whole)
    missing = snapshots.missing(len(moment.calls))
    if missing:
        if missing > _TOLD_FROM:
            print(f"going through {missing} calls, once for all moments ...", file=sys.stderr, flush=True)
        snapshots.build(len(moment.calls))
        if snapshots.states.problem:
            print(snapshots.states.problem, file=sys.stderr)
    return snapshots.state(moment, run)


def _number(text: str, digits: str, count: int, what: str) -> int:
    """A displayed number as an index from 0."""
    bare = digits.strip().replace(" ", "")
    if not bare.isdecimal():
        raise UsageError(f"{text!r} names no moment: {SYNTAX}")
    if not 1 <= int(bare) <= count:
        there = f"they go from 1 to {count}" if count else "there is none"
        raise UsageError(f"there is no {what} {bare}: {there}")
    return int(bare) - 1


def _run(session: Session, digits: str) -> int:
    known = sorted({process.run for process in session.processes if process.role in ("", "target")})
    if not digits.strip().isdecimal() or int(digits) not in known:
        there = ", ".join(map(str, known)) or "none"
        raise UsageError(f"there is no run {digits.strip()}: there are {there}")
    return int(digits)
