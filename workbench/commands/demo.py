"""The workbench on a real llama.cpp CUDA backend and a tiny model: no GPU, no Ollama.

The backend is the one of the PyPI package cyllama-cuda12 (95 MB, fetched once), run under our own shim
and forwarder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--session", type=Path, metavar="PATH", help="where to record; must not exist yet")
    parser.add_argument("--no-tap", action="store_true", help="run bare: the same libraries, no recording")
    parser.add_argument(
        "--repeat", type=int, default=600, metavar="S", help="go on decoding for so many seconds (600)"
    )
    parser.add_argument("--fetch-only", action="store_true", help="fetch what it needs and stop")


def run(options: argparse.Namespace) -> int:
    from workbench import native
    from workbench.commands.setting import make_loop, run_workbench
    from workbench.demo.target import demo_target

    driver = native.paths().bin / "shimbench-llama"
    target = demo_target(
        driver, cache(), options.repeat, lambda text: print(text, file=sys.stderr, flush=True)
    )
    if options.fetch_only:
        return 0
    options.directory = native.ROOT if native.in_checkout() else Path()
    loop = make_loop(
        options,
        watch=True,
        attach=True,
        command=target.command,
        environment=target.environment,
        exercise=target.exercise,
        ladder=target.ladder,
    )
    return run_workbench(loop)


def cache() -> Path:
    """Where downloads are kept: in the checkout, else in the user's cache."""
    from workbench import native

    if native.in_checkout():
        return native.ROOT / ".cache"
    import platformdirs

    return platformdirs.user_cache_path("shimbench")
