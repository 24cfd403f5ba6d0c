"""Print which names were asked for, by whom and how, and what became of them; what is fatal comes first.

NAMES are globs. Names that nobody misses are folded into one line unless --all is given.
--json prints {"session", "run", "names": [{"name", "answered", "performed", "calls", "last_result",
"effect", "error", "source", "asked": [{"by", "how", "version", "flags", "answered", "count"}]}]}.
"""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from workbench.commands.common import add_session_words, check_run, print_json, take_session, told_as_errors
from workbench.moments import add_at, moment_named, state_at

if TYPE_CHECKING:
    from workbench.views.coverage import Asked, CoverageRow

_EFFECTS = {
    "fatal-at-init": "FATAL at init",
    "fatal-later": "fatal later",
    "unknown": "not answered",
    "harmless": "harmless",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=int, metavar="N", help="of this run instead of the newest")
    parser.add_argument("--all", action="store_true", help="harmless names and those never called as well")
    parser.add_argument("--missing", action="store_true", help="only names that were not answered")
    add_at(parser)
    add_session_words(parser, "NAME ...", "globs over names")


def run(options: argparse.Namespace) -> int:
    from workbench.views.coverage import Coverage

    session, text = take_session(options.words)
    check_run(session, options.run)
    globs = text.split()
    with told_as_errors():
        if options.at is not None:
            coverage = state_at(moment_named(session, options.at), options.run).coverage
        else:
            coverage = Coverage(options.run)
            coverage.update(session)
        rows = [row for row in coverage.rows() if _wanted(row, globs, options.missing)]
    if options.json:
        names = [_as_json(row) for row in rows]
        print_json({"session": str(session.path), "run": coverage.run, "names": names})
        return 0
    shown = rows if options.all or globs else [row for row in rows if not _folded(row)]
    for row in shown:
        print(_as_line(row))
    harmless = sum(row.effect == "harmless" for row in rows) - sum(row.effect == "harmless" for row in shown)
    idle = len(rows) - len(shown) - harmless
    if harmless or idle:
        print(
            f"... {harmless} not answered but harmless, {idle} answered and never called (--all shows them)"
        )
    return 0


def _wanted(row: CoverageRow, globs: list[str], missing: bool) -> bool:
    if missing and row.answered:
        return False
    return not globs or any(fnmatchcase(row.name, glob) for glob in globs)


def _folded(row: CoverageRow) -> bool:
    return row.effect == "harmless" or (row.answered and not row.calls)


def _as_line(row: CoverageRow) -> str:
    askers = ", ".join(dict.fromkeys(_how(asked) for asked in row.asked)) or "called without being asked for"
    if not row.answered:
        error = f" (error {row.error})" if row.error else ""
        mark = "!" if row.effect.startswith("fatal") else " "
        return f"{mark} {row.name:<44} {_EFFECTS[row.effect]}{error}; {askers}; {row.reason}"
    state = f"{row.calls} calls" if row.calls else "never called"
    performed = {True: "", False: ", not performed", None: ""}[row.performed]
    last = f", last {row.last_result}" if row.last_result else ""
    return f"  {row.name:<44} {state}{last}{performed}; {askers}"


def _how(asked: Asked) -> str:
    version = f"@{asked.version}" if asked.version else ""
    flags = f" flags {asked.flags}" if asked.flags else ""
    return f"{asked.by} by {asked.how}{version}{flags}"


def _as_json(row: CoverageRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "answered": row.answered,
        "performed": row.performed,
        "calls": row.calls,
        "last_result": row.last_result,
        "effect": row.effect or None,
        "error": row.error,
        "source": row.reason or None,
        "asked": [
            {
                "by": asked.by,
                "how": asked.how,
                "version": asked.version,
                "flags": asked.flags,
                "answered": asked.answered,
                "count": asked.count,
            }
            for asked in row.asked
        ],
    }
