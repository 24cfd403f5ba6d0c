"""List the recorded sessions, name them, and remove those nobody needs.

  shimbench sessions [DIR]                          the newest first, with the names other commands take
  shimbench sessions name @ "before the fix"        a name, which other commands take too; "" takes it away
  shimbench sessions good @[:RUN]                   a run to compare with: `shimbench diff @good`
  shimbench sessions bad @                          not good any more
  shimbench sessions prune --older-than 30d         by age, the last write counts; and by size:
  shimbench sessions prune --over 5G                the oldest, until the rest takes no more than this
  shimbench sessions remove SESSION ...             these

prune and remove ask first, unless --yes; --dry-run only says what would go. A session that is being written
is never removed; one that has a name, is good or holds marks is pruned only with --kept-too. The sessions of
a project lie in DIR/.shimbench/sessions, all others in the user's own state directory.

--json prints one list: {"at", "name", "path", "given_name", "good" (a run or null), "in_use", "kept",
"calls", "runs", "marks", "command", "size" in bytes, "written" as unix time, "damage", "error"}; of prune and
remove, those that went.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import ShimbenchError, UsageError

if TYPE_CHECKING:
    from workbench.sessions_care import Held

_ACTIONS = ("list", "name", "good", "bad", "prune", "remove")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_NAME = re.compile(r"[^@/\s][^/]{0,79}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "%(prog)s [list | name | good | bad | prune | remove] [options] [...]"
    parser.add_argument("words", nargs="*", metavar="WORD", help="an action and what it is done to")
    parser.add_argument("--older-than", type=_age, metavar="AGE", help="prune: 90m, 36h, 30d, 8w")
    parser.add_argument("--over", type=_size, metavar="SIZE", help="prune: 500M, 5G, of all together")
    parser.add_argument("--kept-too", action="store_true", help="prune: named, good and marked ones as well")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed")
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def run(options: argparse.Namespace) -> int:
    words = list(options.words)
    action = words.pop(0) if words and words[0] in _ACTIONS and not Path(words[0]).is_dir() else "list"
    if action != "prune" and (options.older_than is not None or options.over is not None or options.kept_too):
        raise UsageError("--older-than, --over and --kept-too belong to `shimbench sessions prune`")
    if action in ("list", "prune"):
        if len(words) > 1:
            raise UsageError(f"{words[0]}: no action ({', '.join(_ACTIONS)}), and one directory is enough")
        return _list(options, words) if action == "list" else _prune(options, words)
    if action == "remove":
        return _remove_named(options, words)
    return _label(action, words)


def _list(options: argparse.Namespace, words: list[str]) -> int:
    from workbench.sessions_care import look_at
    from workbench.sessions_store import place_of

    place = place_of(_directory(words))
    rows = [(number, look_at(path)) for number, path in enumerate(place.all())]
    if options.json:
        _print_json([held for _, held in rows], [f"@-{number}" if number else "@" for number, _ in rows])
        return 0
    for number, held in rows:
        print(f"{f'@-{number}' if number else '@':<5} {_line(held)}")
    if not rows:
        print(f"no sessions in {place.sessions}", file=sys.stderr)
    return 0


def _line(held: Held) -> str:
    from workbench.commands.common import size

    notes = [f'"{held.label.name}"'] if held.label.name else []
    notes += [f"run {held.label.good} good"] if held.label.good is not None else []
    notes += [f"{held.marks} marks"] if held.marks else []
    notes += ["in use"] if held.in_use else []
    notes += [f"damaged: {held.damage[0]}"] if held.damage else []
    said = held.error or f"{held.calls:>10} calls  {held.runs:>3} runs  {held.command}"
    tail = f"  [{', '.join(notes)}]" if notes else ""
    return f"{held.path.name:<20} {_ago(held.written):>8}  {size(held.size):>9}  {said}{tail}"


def _label(action: str, words: list[str]) -> int:
    """Give a session a name, or take it for good."""
    from dataclasses import replace

    from sessions import SessionError
    from sessions.label import Label
    from workbench.sessions_store import place_of, resolve, split_run

    wanted = 2 if action == "name" else 1
    if len(words) != wanted:
        raise UsageError(f"usage: shimbench sessions {action} SESSION{' NAME' if wanted == 2 else ''}")
    word, number = split_run(words[0]) if action == "good" else (words[0], None)
    path = resolve(word)
    if not (path / "session.json").is_file():
        raise UsageError(f"{path}: a report's zip can't be labelled; only a session's directory")
    try:
        label = Label.of(path)
        if action == "name":
            other = place_of().named(words[1]) if words[1] else None
            if other is not None and other != path:
                raise UsageError(f'{other.name} is called "{words[1]}" already')
            if words[1] and not _NAME.fullmatch(words[1]):
                raise UsageError(f'"{words[1]}": a name has no / in it and does not begin with @ or a blank')
            label = replace(label, name=words[1])
        else:
            label = replace(label, good=_run_of(path, number) if action == "good" else None)
        label.put(path)
    except SessionError as error:
        raise ShimbenchError(str(error)) from error
    except OSError as error:
        raise ShimbenchError(
            f"{path}: can't be labelled, {error.strerror}; copy it to where you may write"
        ) from error
    return 0


def _run_of(path: Path, number: int | None) -> int:
    """The run that is meant, the newest without a number; UsageError when there is none."""
    from workbench.commands.common import opened

    session = opened(path)
    found = session.newest_run if number is None else number
    if not any(process.run == found and process.role == "target" for process in session.processes):
        raise UsageError(
            f"{path.name}: there is no run {found} of a target in it"
            if found >= 0
            else f"{path.name}: no run"
        )
    return found


def _prune(options: argparse.Namespace, words: list[str]) -> int:
    from workbench.sessions_care import clear_remains, look_at, superfluous
    from workbench.sessions_store import place_of

    if options.older_than is None and options.over is None:
        raise UsageError("say what may go: --older-than 30d, --over 5G, or both")
    place = place_of(_directory(words))
    before = None if options.older_than is None else time.time() - options.older_than
    there = [look_at(path) for path in place.all()]
    gone = superfluous(there, before=before, most=options.over, kept_too=options.kept_too)
    if not options.dry_run:
        clear_remains(place.sessions)
    return _remove(options, gone, len(there))


def _remove_named(options: argparse.Namespace, words: list[str]) -> int:
    from workbench.sessions_care import look_at
    from workbench.sessions_store import resolve

    if not words:
        raise UsageError("shimbench sessions remove SESSION ...")
    paths = list(dict.fromkeys(resolve(word) for word in words))  # all of them, before the first goes
    for path in paths:
        if not (path / "session.json").is_file():
            raise UsageError(f"{path}: no session's directory; nothing was removed")
    return _remove(options, [look_at(path) for path in paths], None)


def _remove(options: argparse.Namespace, gone: list[Held], of: int | None) -> int:
    from workbench.commands.common import confirm, size
    from workbench.sessions_care import remove

    total = size(sum(held.size for held in gone))
    if not options.json:
        for held in gone:
            print(_line(held))
    if gone and not options.dry_run:
        if not options.yes:
            confirm(f"remove {'this session' if len(gone) == 1 else f'these {len(gone)} sessions'}, {total}?")
        for held in gone:
            remove(held.path)
    if options.json:
        _print_json(gone, ["" for _ in gone])
    did = "would remove" if options.dry_run else "removed"
    print(f"{did} {len(gone)}{f' of {of}' if of is not None else ''}, {total}", file=sys.stderr)
    return 0


def _directory(words: list[str]) -> Path | None:
    if not words:
        return None
    if not Path(words[0]).is_dir():
        raise UsageError(f"{words[0]}: no directory, and no action ({', '.join(_ACTIONS)})")
    return Path(words[0])


def _print_json(rows: list[Held], at: list[str]) -> None:
    listed = [{"at": place, **held.as_json()} for held, place in zip(rows, at, strict=True)]
    print(json.dumps(listed, indent=1))


def _ago(then: float) -> str:
    elapsed = max(0, time.time() - then)
    for unit in ("w", "d", "h", "m"):
        if elapsed >= 2 * _UNITS[unit]:
            return f"{int(elapsed // _UNITS[unit])} {unit} ago"
    return f"{int(elapsed)} s ago"


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text}: an age is a number with s, m, h, d or w, as 30d")
    return float(match[1]) * _UNITS[match[2]]


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text}: a size is a number with K, M, G or T, as 5G")
    return int(float(match[1]) * _SIZES[match[2]])
