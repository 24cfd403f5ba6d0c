"""List the recorded sessions, the newest first, with the names by which other commands know them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def run(options: argparse.Namespace) -> int:
    from workbench.sessions_store import place_of

    place = place_of(options.directory)
    rows = [_describe(path, number) for number, path in enumerate(place.all())]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        text = f"{row['calls']:>10} calls  {row['runs']:>3} runs  {row['command']}"
        print(f"{row['at']:<5} {row['name']:<20} {row.get('error') or text}")
    if not rows:
        import sys

        print(f"no sessions in {place.sessions}", file=sys.stderr)
    return 0


def _describe(path: Path, number: int) -> dict[str, Any]:
    from sessions import open_session

    row: dict[str, Any] = {"at": f"@-{number}" if number else "@", "name": path.name, "path": str(path)}
    try:
        session = open_session(path)
        runs = [event for event in session.events if event.kind == "run"]
        row |= {
            "live": session.live,
            "calls": len(session.calls),
            "runs": len(runs),
            "command": " ".join(runs[-1].fields["command"]) if runs else "",
        }
    except Exception as error:  # one damaged session must not hide the others
        row["error"] = f"cannot be read: {error}"
    return row
