"""Print a run in time: each process as a bar with its calls, end and result; Ollama's passes (first pass of
a library folder, validation, refresh, model load) with how much of Ollama's limits they took.

--json prints {"session", "run", "era", "verdict", "passes": [{"kind", "folder", "start_s", "end_s", "used_s",
"limit", "limit_s", "overrun", "share", "in_calls_s", "processes", "notes"}], "others": [processes of no
pass], "installed": [text], "warnings": [text], "wrong_libraries": [{"pid", "soname", "path", "expected",
"how"}]}; a process is {"pid", "role", "name", "start_s", "end_s", "calls", "failed", "lost", "in_calls_s",
"first_call", "opened_driver", "ending", "ending_kind", "limit_s", "result"}.
"""

from __future__ import annotations

import argparse
import shutil

from workbench.commands.common import add_session_words, check_run, only_session, print_json, told_as_errors
from workbench.moments import add_at, session_at


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=int, metavar="N", help="of this run instead of the newest")
    add_at(parser)
    add_session_words(parser, "", "nothing else")


def run(options: argparse.Namespace) -> int:
    from workbench.views.timeline import as_json
    from workbench.views.timeline_text import rows
    from workbench.views.timeline_tracker import timeline_of

    session = only_session(options.words)
    session = session_at(session, options.at)
    check_run(session, options.run)
    with told_as_errors():
        timeline = timeline_of(session, options.run)
    if options.json:
        print_json({"session": str(session.path), **as_json(timeline)})
        return 0
    for row in rows(timeline, shutil.get_terminal_size((110, 24)).columns):
        print(row.text)
    return 0
