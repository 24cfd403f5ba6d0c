"""The workbench on a saved session, or on one that is still being written."""

from __future__ import annotations

import argparse
import gc
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessions import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "session", nargs="?", metavar="SESSION", help="path, name, @ (newest), @-1, or a report's zip"
    )


def run(options: argparse.Namespace) -> int:
    from workbench.sessions_store import resolve

    return show(resolve(options.session))


def show(path: Path) -> int:
    """The workbench on the session at a path, until one quits; -> exit status."""
    gc.disable()  # until the session is on the screen: nothing of what is loaded till then is garbage
    if path.is_dir() and not (path / "session.json").exists():
        open_at(path)  # says why it is none before the screen is taken
    from workbench.commands.common import need_terminal

    need_terminal()
    from workbench.app import ShimbenchApp

    app = ShimbenchApp(loop=None, session=partial(open_at, path), name=path.stem)
    app.run()
    if app.failure is not None:
        raise app.failure
    return 0


def open_at(path: Path) -> Session:
    """The session at a path. ShimbenchError when it is none."""
    from workbench.commands.common import opened

    return opened(path)
