"""Run the forwarder alone, until it is interrupted. What stands behind `--` is given to it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shimbench host [--socket PATH] [-- OPTIONS OF shimbench-host ...]"
    parser.add_argument("--socket", type=Path, metavar="PATH", help="where it listens")


def run(options: argparse.Namespace) -> int:
    from workbench import native
    from workbench.errors import ShimbenchError
    from workbench.loop.host import SOCKET_VARIABLE

    program = native.paths().host
    if not program.is_file():
        raise ShimbenchError(f"{program} is not built: run ./dev build")
    if options.socket:
        os.environ[SOCKET_VARIABLE] = str(options.socket.absolute())
    os.execv(program, [str(program), *options.command])
