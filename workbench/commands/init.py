"""Write a shimbench.toml from what DIR holds: how it is built, which libraries the build made, and the
environment of an ollama.service."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory",
        nargs="?",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where to look, and to write (default: here)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite a shimbench.toml that is there")


def run(options: argparse.Namespace) -> int:
    from workbench.errors import UsageError
    from workbench.init.write import describe, look, render
    from workbench.sessions_store import FILE_NAME

    directory = options.directory.resolve()
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")
    path = directory / FILE_NAME
    if path.exists() and not options.force:
        raise UsageError(f"{path} is there already; --force overwrites it")
    found = look(directory)
    for line in describe(found):
        print(line, file=sys.stderr)
    path.write_text(render(found))
    print(path)
    return 0
