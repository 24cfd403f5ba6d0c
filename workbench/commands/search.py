"""Search everything a session holds: calls with their arguments and results, the log, notes, the sources that
shimbench.toml watches and those that the session's builds were made of. Prints a place and a text a line; of
calls and lines the place is one that --at understands. A line that its source has no more is printed with the
newest run that was built with it.

WORDS are a regular expression; capitals don't matter. Exit status 1 when nothing was found. --json prints
{"session", "search", "found": [{"kind": "call", "log", "note" or "source", "place", "time_ns", "text", "run",
"file"}]}, the last two of sources: the run, null as it is now, and the file that has this text.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
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

if TYPE_CHECKING:
    from workbench.views.search import Found

_SHOWN = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--limit", type=int, default=_SHOWN, metavar="N", help=f"at most so many ({_SHOWN})")
    parser.add_argument("--kind", choices=("call", "log", "note", "source"), help="only these")
    add_at(parser)
    add_session_words(parser, "WORDS ...", "what is searched for")


def run(options: argparse.Namespace) -> int:
    from workbench.views.search import search

    session, words = take_session(options.words)
    if not words:
        raise UsageError("what is searched for? shimbench search [SESSION] WORDS")
    any_found = False

    def chosen() -> Iterator[Found]:
        nonlocal any_found
        for found in search(session_at(session, options.at), words, Path.cwd()):
            if options.kind in (None, found.kind):
                any_found = True
                yield found

    with told_as_errors():
        shown = islice(chosen(), options.limit)
        if options.json:
            print_json_list({"session": str(session.path), "search": words}, "found", map(_as_json, shown))
        else:
            for each in shown:
                when = seconds(each.time_ns) if each.kind in ("call", "log") and each.time_ns else ""
                print(f"{each.place:>12} {when:>12}  {each.text}")
    return 0 if any_found else 1


def _as_json(found: Found) -> dict[str, Any]:
    row = {"kind": found.kind, "place": found.place, "time_ns": found.time_ns, "text": found.text}
    source = found.source
    return row if source is None else {**row, "run": source.run, "file": str(source.path)}
