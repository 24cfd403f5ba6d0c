"""Make a session ready for a bug report: one zip with the session, a page, and a status text.

What is secret or private is taken out first: secrets by name and by shape, user and host names, homes,
addresses, prompts and generated text (kept with --keep-text). --preview shows what would be taken out, and
writes nothing. The zip holds report.html (needs no network), status.md, the session for `shimbench open`,
the diagnosis, versions, and the edits between runs.

--markdown prints the status, short, to be pasted into a thread, and writes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.commands.common import (
    add_session_words,
    add_span,
    only_session,
    print_json,
    size,
    span_of,
    told_as_errors,
)
from workbench.errors import ShimbenchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions import Session
    from sessions.copy import Window
    from sessions.redact import Redactor
    from workbench.loop.store import BuildStore
    from workbench.report.facts import ReportFacts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("-o", "--output", metavar="FILE", help="the zip to write (SESSION's name.zip)")
    add_span(parser)
    parser.add_argument("--keep-text", action="store_true", help="leave prompts and generated text in")
    parser.add_argument(
        "--buffers",
        action="store_true",
        help="leave recorded buffers in, for replay: prompts, weights, outputs",
    )
    parser.add_argument("--preview", action="store_true", help="show what would be taken out; write nothing")
    parser.add_argument("--markdown", action="store_true", help="print the short status; write nothing")
    parser.add_argument("--no-pictures", action="store_true", help="without screenshots of the panes")
    parser.add_argument("--force", action="store_true", help="write over a file that exists")
    add_session_words(parser, "", "nothing else")


def run(options: argparse.Namespace) -> int:
    from sessions.copy import Window
    from sessions.redact import Redactor
    from sessions.writer import library_path

    session = only_session(options.words)
    path = Path(options.output or f"{session.path.name}.zip")
    writes = not (options.preview or options.markdown)
    if writes and path.exists() and not options.force:
        raise UsageError(f"{path} exists; --force writes over it")
    redactor = Redactor(keep_text=options.keep_text)
    redactor.learn(session, os.environ)
    window = Window(*span_of(options, session))
    if options.preview:
        return _preview(session, redactor, window, options.json)
    if options.markdown and not library_path().is_file():
        return _without_writer(options, session, redactor)
    try:
        with told_as_errors(), _copied(session, redactor, window, options.buffers) as (copy, facts):
            if options.markdown:
                from workbench.report.status import status_text

                sys.stdout.write(status_text(facts, brief=True))
            else:
                _write(facts, copy, redactor, path, pictures=not options.no_pictures)
    except OSError as error:
        where = f"{error.filename or path}: {error.strerror or error}"
        if not library_path().is_file():
            where = "a report needs the session writer, which is not built here: ./dev build, or --markdown"
        raise ShimbenchError(where) from error
    if writes:
        if options.json:
            print_json({"path": str(path), "bytes": path.stat().st_size, "taken_out": dict(redactor.found)})
        else:
            print(f"{path}: {size(path.stat().st_size)}; taken out: {redactor.summary()}", file=sys.stderr)
            print("look at report.html in it before you hand it over", file=sys.stderr)
    return 0


def _without_writer(options: argparse.Namespace, session: Session, redactor: Redactor) -> int:
    """The status text where the native writer is not built, on another system say: redacted as text."""
    from workbench.report.facts import gather
    from workbench.report.status import status_text
    from workbench.report.versions import recorded_here

    spans = (options.since, options.until, options.run)
    if any(value is not None for value in spans):
        raise ShimbenchError("a part of a session needs the session writer: run ./dev build first")
    with told_as_errors():
        text = status_text(gather(session, here=recorded_here(session)), brief=True).encode()
    sys.stdout.write(b"".join(map(redactor.text, text.splitlines(keepends=True))).decode("utf-8", "replace"))
    return 0


@contextlib.contextmanager
def _copied(
    session: Session, redactor: Redactor, window: Window, buffers: bool
) -> Iterator[tuple[Session, ReportFacts]]:
    """The redacted copy, for as long as it is needed, and what the report says of it."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    from workbench.report.bundle import facts_of, redacted
    from workbench.report.versions import recorded_here

    with tempfile.TemporaryDirectory(prefix="shimbench-report-") as scratch:
        with tqdm(total=100, unit="%", desc="copying", disable=not sys.stderr.isatty(), leave=False) as bar:
            copy = redacted(
                session, Path(scratch) / "session", redactor, window,
                lambda share: bar.update(100 * share - bar.n), keep_buffers=buffers,
            )  # fmt: skip
        yield copy, facts_of(copy, redactor, _store_of(session), here=recorded_here(session))


def _store_of(session: Session) -> BuildStore | None:
    """The builds that its runs were of, as far as they are still there."""
    from workbench.loop.store import BuildStore
    from workbench.sessions_store import place_of

    beside = session.path.parent.parent / "store"
    store = beside if beside.is_dir() else place_of().store
    return BuildStore(store) if store.is_dir() else None


def _write(facts: ReportFacts, copy: Session, redactor: Redactor, path: Path, pictures: bool) -> None:
    from workbench.report.bundle import write

    taken: Sequence[tuple[str, str]] = ()
    if pictures:
        from workbench.report.screenshots import take

        taken = take(copy)
    part = path.with_name(f".{path.name}.part")
    try:
        write(facts, redactor, part, taken)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _preview(session: Session, redactor: Redactor, window: Window, as_json: bool) -> int:
    """What would be taken out: of the session, and of the edits between its runs."""
    from sessions.copy import go_through
    from workbench.report.bundle import facts_of

    with told_as_errors():
        go_through(session, redactor, window)
        facts_of(session, redactor, _store_of(session))
    pairs = [
        (before.decode("utf-8", "replace"), after.decode("utf-8", "replace"))
        for before, after in redactor.examples
    ]
    if as_json:
        examples = [{"before": before, "after": after} for before, after in pairs]
        print_json({"taken_out": dict(redactor.found), "examples": examples})
        return 0
    for before, after in pairs:
        print(f"- {before}\n+ {after}")
    print(f"taken out: {redactor.summary()}")
    return 0
