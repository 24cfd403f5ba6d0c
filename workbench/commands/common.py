"""What the commands that print a session share: which session is meant, and how data is written."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import ShimbenchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions import Session
    from workbench.filter import Language


def print_filter_help(language: Language[Any]) -> None:
    """Explain a vocabulary of the filter language, a row each."""
    from workbench.filter import help_lines

    lines = help_lines(language)
    width = max(len(syntax) for syntax, _ in lines)
    print("\n".join(f"{syntax:{width}}  {meaning}" for syntax, meaning in lines))


def add_session_words(parser: argparse.ArgumentParser, rest: str, help_text: str) -> None:
    """[SESSION] [REST ...]: the first word is the session if there is one of that name or path."""
    tail = f" [{rest}]" if rest else ""
    # Given in full: argparse can't wrap a usage whose names hold brackets.
    parser.usage = f"%(prog)s [options] [SESSION]{tail}"
    parser.add_argument(
        "words",
        nargs="*",
        metavar=f"SESSION{tail}",
        help=f"path, name, @ or @-1, or a report's zip; then {help_text}",
    )
    add_json(parser)


def add_directory(parser: argparse.ArgumentParser) -> None:
    """[DIR]: whose shimbench.toml is meant."""
    text = "what holds the shimbench.toml, if there is one (default: here)"
    parser.add_argument("directory", nargs="?", type=Path, default=Path(), metavar="DIR", help=text)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def check_run(session: Session, run: int | None) -> None:
    """UsageError when the session has no such run: an empty view would read as "nothing failed"."""
    known = {process.run for process in session.processes if process.role in ("", "target")}
    known |= {int(event.fields.get("run", 0)) for event in session.events if event.kind == "run"}
    if run is not None and run not in known:
        there = ", ".join(map(str, sorted(known))) or "none"
        raise UsageError(f"--run {run}: there is no such run, there are: {there}")


def add_span(parser: argparse.ArgumentParser) -> None:
    """--since, --until, --run: which part of the session."""
    parser.add_argument("--since", "--from", type=float, metavar="S", help="from this second on")
    parser.add_argument("--until", type=float, metavar="S", help="up to this second")
    parser.add_argument("--run", type=int, metavar="N", help="of this run alone")


def span_of(options: argparse.Namespace, session: Session) -> tuple[int, int]:
    """From when to when, in ns since the session's start. UsageError when there is no such run or time."""
    since, until = -(1 << 62), 1 << 62
    if options.run is not None:
        runs = {int(event.fields.get("run", 0)): event for event in session.events if event.kind == "run"}
        if options.run not in runs:
            there = ", ".join(map(str, runs)) or "none"
            raise UsageError(f"--run {options.run}: there is no such run, there are: {there}")
        since = runs[options.run].time_ns
        until = min((run.time_ns for run in runs.values() if run.time_ns > since), default=until)
    if options.since is not None:
        since = max(since, int(options.since * 1e9))
    if options.until is not None:
        until = min(until, int(options.until * 1e9))
    if since > until:
        raise UsageError("nothing lies between --since and --until")
    return since, until


def take_session(words: list[str]) -> tuple[Session, str]:
    """The session that is meant, the newest if none is named, and the words that are left.

    It stands first; a path or @ that is found also as the last word.

    UsageError when there is no such session, ShimbenchError when it can't be read.
    """
    from workbench.sessions_store import resolve

    rest = list(words)
    path = None
    if rest:
        try:
            path = resolve(rest[0])
            del rest[0]
        except UsageError:
            if rest[0].startswith(("@", "/", "./", "../")):
                raise
    if path is None and len(rest) > 1 and ("/" in rest[-1] or rest[-1].startswith("@")):
        # `calls '!ok' PATH`: what is left may hold a slash or an @ as well, so only one that is there counts.
        with contextlib.suppress(UsageError):
            path = resolve(rest[-1])
            del rest[-1]
    if path is None:
        path = resolve(None)
    return opened(path), " ".join(rest)


def only_session(words: list[str]) -> Session:
    """The session that is meant where nothing may stand beside it, the newest if none is named.

    UsageError when there is no such session, ShimbenchError when it can't be read.
    """
    from workbench.sessions_store import resolve

    if len(words) > 1:
        raise UsageError(f"one SESSION is wanted, not {len(words)}: {' '.join(words)}")
    return opened(resolve(words[0] if words else None))


def opened(path: Path) -> Session:
    """The session at `path`, or the one in the report's zip that lies there. ShimbenchError when it is none.

    What a zip holds is unpacked into a folder that goes with this process.
    """
    import atexit
    import shutil
    import tempfile

    from sessions import SessionError, open_session
    from sessions.archive import is_archive, unpack

    archive = None
    try:
        if is_archive(path):
            archive = path
            scratch = Path(tempfile.mkdtemp(prefix="shimbench-open-"))
            atexit.register(shutil.rmtree, scratch, ignore_errors=True)
            path = unpack(path, scratch / path.stem)
        session = open_session(path)
        session.archive = archive
        return session
    except SessionError as error:
        raise ShimbenchError(str(error)) from error


def confirm(question: str) -> None:
    """Ask on the terminal; UsageError unless the answer is yes."""
    if not sys.stdin.isatty():
        raise UsageError("nothing was changed: nobody is here to ask; say --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was changed")


def need_terminal() -> None:
    """UsageError where the screen would hear of no key (stdin) or be seen by nobody (Textual's is stderr)."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        instead = "without one: run, calls, log, diagnose, ... (--help)"
        raise UsageError(f"the workbench needs a terminal as stdin and stderr; {instead}")


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def print_json_list(head: dict[str, Any], name: str, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object whose member `name` is a list as long as it takes, written as it comes."""
    text = json.dumps(head)[:-1]
    sys.stdout.write(f"{text}{', ' if head else ''}{json.dumps(name)}: [")
    for number, row in enumerate(rows):
        sys.stdout.write((",\n" if number else "\n") + json.dumps(row))
    sys.stdout.write("\n]}\n")


@contextlib.contextmanager
def told_as_errors() -> Iterator[None]:
    """Damage that shows only while reading is told in one sentence as well."""
    from sessions import SessionError

    try:
        yield
    except SessionError as error:
        raise ShimbenchError(str(error)) from error


def pid_of(session: Session, process: int) -> int:
    """The pid of a process by its index; 0 when the session never heard of it."""
    return session.processes[process].pid if 0 <= process < len(session.processes) else 0


def seconds(nanoseconds: int) -> str:
    """A time since the session's start."""
    return f"{nanoseconds / 1e9:.6f}"


def duration(nanoseconds: int) -> str:
    """A duration in the unit that suits it."""
    for limit, unit, scale in ((10_000, "ns", 1), (10_000_000, "us", 1e3), (10_000_000_000, "ms", 1e6)):
        if nanoseconds < limit:
            return f"{nanoseconds / scale:.0f} {unit}"
    return f"{nanoseconds / 1e9:.1f} s"


def size(count: int) -> str:
    """A number of bytes."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
