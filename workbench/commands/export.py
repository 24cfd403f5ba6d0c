"""Write a span of a session for another tool.

  shimbench export -o trace.pftrace                          the newest session, for ui.perfetto.dev
  shimbench export @-1 --since 2.5 --until 4 -o calls.csv    one and a half seconds of the one before
  shimbench export -o failed.sqlite '!ok'                    what a filter lets pass
  shimbench export --run 3 -o third.txt                      one run

The format follows from the file's name unless --to names one. FILTER chooses calls; log lines, runs and
builds of the same time go along where the format has a place for them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workbench.commands.common import (
    add_session_words,
    add_span,
    print_json,
    size,
    span_of,
    take_session,
    told_as_errors,
)
from workbench.errors import ShimbenchError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from sessions.export import FORMATS

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    width = max(map(len, FORMATS))
    parser.epilog = "formats:\n" + "\n".join(f"  {name:{width}}  {line}" for name, line in FORMATS.items())
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="what to write")
    parser.add_argument("--to", choices=FORMATS, metavar="FORMAT", help="one of the formats below")
    add_span(parser)
    parser.add_argument("--force", action="store_true", help="write over a file that exists")
    add_session_words(parser, "FILTER ...", "a filter of calls")


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm  # type: ignore[import-untyped]

    from sessions.export import SUFFIXES, writer
    from sessions.export.span import Span
    from workbench.filter import parse

    path = Path(options.output)
    name = options.to or SUFFIXES.get(path.suffix.lower())
    if name is None:
        raise UsageError(f"{path.name}: no format has this suffix ({' '.join(SUFFIXES)}); name one with --to")
    if path.exists() and not options.force:
        raise UsageError(f"{path} exists; --force writes over it")
    session, text = take_session(options.words)
    since, until = span_of(options, session)
    bar = tqdm(unit=" calls", disable=not sys.stderr.isatty(), leave=False)
    span = Span(session, parse(text) if text else None, since, until, bar.update)
    part = path.with_name(f".{path.name}.part")
    try:
        with told_as_errors():
            calls = bar.total = len(span)
            writer(name)(span, part)
        part.replace(path)
    except OSError as error:
        raise ShimbenchError(f"{path}: {error.strerror}") from error
    finally:
        bar.close()
        part.unlink(missing_ok=True)
    if options.json:
        print_json({"path": str(path), "format": name, "calls": calls, "bytes": path.stat().st_size})
    else:
        print(f"{path}: {calls} calls, {size(path.stat().st_size)}, {name}", file=sys.stderr)
    return 0
