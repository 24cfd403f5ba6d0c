"""Run the build command once and keep what it made, without launching anything.

Prints the build's output on stderr and the id of the kept build on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from workbench.commands.common import add_directory

    add_directory(parser)


def run(options: argparse.Namespace) -> int:
    import tempfile

    from workbench.config import load_config, with_built_libraries
    from workbench.errors import UsageError
    from workbench.loop.build import run_build
    from workbench.loop.processes import LocalSpawner
    from workbench.loop.store import BuildStore
    from workbench.loop.watch import SourceFiles
    from workbench.sessions_store import place_of

    config = load_config(options.directory)
    if config.shim.build is None:
        raise UsageError(f"{config.directory} has no [shim] build command; `shimbench init` writes one")
    with tempfile.TemporaryDirectory() as temporary:
        report = asyncio.run(
            run_build(
                LocalSpawner(sys.stderr.fileno()), config.shim.build, config.directory, 1, Path(temporary)
            )
        )
    if not report.ok:
        print(f"shimbench build: failed, {report.exit}, {len(report.errors)} errors", file=sys.stderr)
        return 1
    config = with_built_libraries(config) or config
    sources = SourceFiles(config.directory, config.watch)
    try:
        build = BuildStore(place_of(config.directory).store).keep(
            config.shim.libraries, None, sources, config.directory
        )
    except FileNotFoundError as error:
        print(f"shimbench build: the build was fine, but there is no {error.filename}", file=sys.stderr)
        return 1
    print(build.id)
    print(f"shimbench build: ok in {report.seconds:.1f} s, kept as {build.path}", file=sys.stderr)
    return 0
