"""The workbench on a real llama.cpp CUDA backend and a tiny model: no GPU, no Ollama.

The backend is the one of the PyPI package cyllama-cuda12 (95 MB, fetched once), run under our own shim
and forwarder.

--gallery opens one of the recorded failures instead: real runtimes under shims that are broken on purpose.
`shimbench demo --gallery` lists them and asks which; --list only lists. Every other command takes them as
gallery:NAME, as `shimbench diagnose gallery:hang`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workbench.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--session", type=Path, metavar="PATH", help="where to record; must not exist yet")
    parser.add_argument("--no-tap", action="store_true", help="run bare: the same libraries, no recording")
    parser.add_argument(
        "--repeat", type=int, default=600, metavar="S", help="go on decoding for so many seconds (600)"
    )
    parser.add_argument(
        "--gallery", nargs="?", const="", metavar="NAME", help="open a recorded failure, chosen from a list"
    )
    parser.add_argument("--list", action="store_true", help="with --gallery: list them and stop")
    parser.add_argument("--json", action="store_true", help="with --list: print one JSON list")
    parser.add_argument("--fetch-only", action="store_true", help="fetch what it needs and stop")


def run(options: argparse.Namespace) -> int:
    if options.gallery is not None:
        return _gallery(options)
    if options.list or options.json:
        raise UsageError("--list and --json belong to --gallery")
    from workbench import native
    from workbench.commands.setting import plan_loop, run_workbench
    from workbench.demo.target import demo_target

    driver = native.paths().bin / "shimbench-llama"
    target = demo_target(
        driver, cache(), options.repeat, lambda text: print(text, file=sys.stderr, flush=True)
    )
    if options.fetch_only:
        return 0
    options.directory = native.ROOT if native.in_checkout() else Path()
    plan = plan_loop(
        options,
        watch=True,
        attach=True,
        command=target.command,
        environment=target.environment,
        exercise=target.exercise,
        ladder=target.ladder,
    )
    return run_workbench(plan)


def _gallery(options: argparse.Namespace) -> int:
    """List the recorded failures, or open one of them."""
    from sessions.gallery import recordings

    known = recordings()
    if options.json:
        from workbench.commands.common import print_json

        print_json([{"name": each.name, "title": each.title, "path": str(each.path)} for each in known])
        return 0
    if options.list or not (options.gallery or sys.stdin.isatty()):
        print("\n".join(f"{each.name:22} {each.title}" for each in known))
        return 0
    name = options.gallery
    if not name:
        for number, each in enumerate(known, 1):
            print(f"{number:>3}  {each.name:22} {each.title}", file=sys.stderr)
        print(f"which one, 1..{len(known)} or a name? ", end="", file=sys.stderr, flush=True)
        said = sys.stdin.readline().strip()
        name = known[int(said) - 1].name if said.isdigit() and 0 < int(said) <= len(known) else said
    from workbench.commands.open import show
    from workbench.sessions_store import resolve

    return show(resolve(f"gallery:{name}"))


def cache() -> Path:
    """Where downloads are kept: in the checkout, else in the user's cache."""
    from workbench import native

    if native.in_checkout():
        return native.ROOT / ".cache"
    import platformdirs

    return platformdirs.user_cache_path("shimbench")
