"""The workbench on a saved session, or on one that is still being written."""

from __future__ import annotations

import argparse
import gc


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "session", nargs="?", metavar="SESSION", help="path, name, @ (newest), @-1, or a report's zip"
    )


def run(options: argparse.Namespace) -> int:
    from workbench.sessions_store import resolve

    gc.disable()  # until the first frame is out: nothing of what is loaded till then is garbage
    path = resolve(options.session)
    from workbench.commands.common import opened

    session = opened(path)
    from workbench.app import ShimbenchApp

    ShimbenchApp(loop=None, session=session).run()
    return 0
