"""Run the forwarder alone, until it is interrupted. What stands behind `--` is given to it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shimbench host [--socket PATH] [--memcheck] [--launch-limit SECONDS] [-- OPTION ...]"
    parser.add_argument("--socket", type=Path, metavar="PATH", help="where it listens")
    parser.add_argument(
        "--memcheck",
        action="store_true",
        help="check each access of a kernel to global memory against the allocations; kernels are slow then",
    )
    parser.add_argument(
        "--launch-limit",
        metavar="SECONDS",
        help="a kernel that runs longer is ended with CUDA_ERROR_LAUNCH_TIMEOUT (default 300)",
    )


def run(options: argparse.Namespace) -> int:
    from workbench import native
    from workbench.errors import ShimbenchError
    from workbench.loop.host import SOCKET_VARIABLE

    program = native.paths().host
    if not program.is_file():
        raise ShimbenchError(f"{program} is not built: run ./dev build")
    if options.socket:
        os.environ[SOCKET_VARIABLE] = str(options.socket.absolute())
    rules = ["--memcheck"] if options.memcheck else []
    if options.launch_limit is not None:
        rules += ["--launch-limit", options.launch_limit]
    os.execv(program, [str(program), *rules, *options.command])
