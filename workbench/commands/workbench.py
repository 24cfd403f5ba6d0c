"""The workbench: watches DIR's sources, builds, relaunches the target and shows what happens, live."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", nargs="?", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--session", type=Path, metavar="PATH", help="where to record; must not exist yet")
    parser.add_argument("--no-tap", action="store_true", help="run bare: the same libraries, no recording")


def run(options: argparse.Namespace) -> int:
    from workbench.commands.setting import plan_loop, run_workbench

    return run_workbench(plan_loop(options, watch=True, attach=True))
