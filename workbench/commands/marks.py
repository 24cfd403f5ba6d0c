"""List the marks and notes of a session, or make one: `shimbench marks --add @443 --note "first failure"`.

PLACE is @CALL or log:LINE. Marks made after the recording lie beside the session; of a read-only one, or of
a report's zip, in your data folder, which is said. --json prints {"session", "marks": [{"kind": "call"
or "line", "number", "time_ns", "note", "text"}]}.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from workbench.commands.common import add_session_words, only_session, print_json, seconds, told_as_errors
from workbench.errors import ShimbenchError

if TYPE_CHECKING:
    from sessions import Session
    from sessions.marks import Mark, Marks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--add", metavar="PLACE", help="mark a call or a line: @443, log:212")
    parser.add_argument("--remove", metavar="PLACE", help="take a mark back")
    parser.add_argument("--note", default="", help="with --add: what is worth knowing about it")
    add_session_words(parser, "", "nothing else")


def run(options: argparse.Namespace) -> int:
    from sessions.marks import Marks
    from workbench.sessions_store import marks_elsewhere

    session = only_session(options.words)
    with told_as_errors():
        marks = Marks(session, marks_elsewhere())
        if marks.problem:
            print(marks.problem, file=sys.stderr)
        for place, removed in ((options.add, False), (options.remove, True)):
            if place is not None:
                _put(session, marks, place, options.note, removed)
        rows = [_as_json(session, mark) for mark in marks]
    if options.json:
        print_json({"session": str(session.path), "marks": rows})
    elif options.add is None and options.remove is None:
        for row in sorted(rows, key=lambda row: row["time_ns"]):
            place = f"@{row['number']}" if row["kind"] == "call" else f"log:{row['number']}"
            note = f"{row['note']}  | " if row["note"] else ""
            print(f"{place:>12} {seconds(row['time_ns']):>12}  {note}{row['text']}")
    return 0


def _put(session: Session, marks: Marks, place: str, note: str, removed: bool) -> None:
    from sessions.marks import Mark
    from workbench.moments import place_named

    kind, index = place_named(session, place)
    try:
        path = marks.put(Mark(kind, index, note), removed)
    except OSError as error:
        raise ShimbenchError(f"the mark can't be kept: {error}") from error
    if path.parent != session.path:
        print(f"{session.archive or session.path} can't be written to: kept in {path}", file=sys.stderr)


def _as_json(session: Session, mark: Mark) -> dict[str, Any]:
    from sessions.decode import CallDecoder

    known = len(session.calls) if mark.kind == "call" else len(session.log)
    time_ns, text = 0, "(not in the session)"
    if mark.index < known and mark.kind == "call":
        time_ns = session.calls.row(mark.index).time
        text = CallDecoder(session.schema).text(session, mark.index)
    elif mark.index < known:
        line = session.log.line(mark.index)
        time_ns, text = line.time_ns, line.text.decode("utf-8", "backslashreplace")
    return {"kind": mark.kind, "number": mark.index + 1, "time_ns": time_ns, "note": mark.note, "text": text}
