"""The workbench: watches DIR's sources, builds, relaunches the target and shows what happens, live."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path

from workbench.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from workbench.commands.common import add_directory

    add_directory(parser)
    parser.add_argument("--session", type=Path, metavar="PATH", help="where to record; must not exist yet")
    parser.add_argument("--no-tap", action="store_true", help="run bare: the same libraries, no recording")


def run(options: argparse.Namespace) -> int:
    from workbench.commands.setting import plan_loop, run_workbench

    if not options.directory.is_dir():
        raise UsageError(_no_directory(str(options.directory)))
    return run_workbench(plan_loop(options, watch=True, attach=True))


def _no_directory(word: str) -> str:
    """Whoever types a word alone may have meant a command."""
    from workbench.cli import COMMANDS

    if "/" in word:
        return f"{word} is not a directory"
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"did you mean `shimbench {near[0]}`?" if near else f"to run a program: shimbench -- {word}"
    return f"{word} is neither a command of shimbench nor a directory; {hint}"
