"""Say why a run did not get to compute on the GPU: what failed, the cause, what shows it, what would fix it.

What stands first is the first wall on the road; what merely follows from it is marked so. --json prints
{"session", "run", "diagnosis": [{"rule", "stage", "what", "cause", "fix", "certainty", "note", "processes",
"consequence_of", "evidence": [{"text", "call", "log", "name"}]}], "unexplained": [evidence], "notes":
[text]}. docs/diagnosis.md lists the rules. The exit status is 0 whatever is found.
"""

from __future__ import annotations

import argparse
import shutil

from workbench.commands.common import add_session_words, check_run, only_session, print_json, told_as_errors
from workbench.moments import add_at, session_at


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=int, metavar="N", help="of this run instead of the newest")
    add_at(parser)
    add_session_words(parser, "", "nothing else")


def run(options: argparse.Namespace) -> int:
    from workbench.diagnosis import explain

    session = only_session(options.words)
    check_run(session, options.run)
    with told_as_errors():
        found = explain(session_at(session, options.at), options.run)
    if options.json:
        print_json(
            {
                "session": str(session.path),
                "run": found.run,
                "diagnosis": [diagnosis.as_json() for diagnosis in found.diagnoses],
                "unexplained": [piece.as_json() for piece in found.unexplained],
                "notes": found.notes,
            }
        )
        return 0
    width = shutil.get_terminal_size((110, 24)).columns
    for diagnosis in found.diagnoses:
        print("\n".join(diagnosis.lines(width)))
    if not found.diagnoses:
        print("no rule matches: " + ("look here" if found.unexplained else "nothing failed that it knows of"))
        for piece in found.unexplained or found.doing:
            print(f"  - {piece.text}")
    for note in found.notes:
        print(f"note: {note}")
    return 0
