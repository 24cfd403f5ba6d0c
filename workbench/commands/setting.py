"""What `shimbench`, `run` and `demo` share: from options to a loop that is ready to start."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.config import Exercise
    from workbench.loop.loop import Loop


@dataclasses.dataclass(frozen=True)
class LoopPlan:
    """A loop whose settings are known and fine."""

    title: str
    """of its target, as the header has it"""
    settings: Mapping[str, Any]

    def make(self) -> Loop:
        """The loop, not opened."""
        from workbench.loop.loop import Loop

        return Loop(**self.settings)


def plan_loop(
    options: argparse.Namespace,
    *,
    watch: bool,
    attach: bool = False,
    command: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    exercise: Exercise | None = None,
    ladder: Mapping[str, tuple[str, ...]] | None = None,
) -> LoopPlan:
    """A loop for `options.directory`, `.session`, `.no_tap` and `.command`; not started yet.

    `command` and `environment` stand in for the command line's, `exercise` and `ladder` for those of
    [target], as the demo needs. Raises UsageError. What it loads is little: the loop itself, which brings
    numpy and the session's reader, comes with LoopPlan.make().
    """
    from workbench.config import RecordConfig, load_config
    from workbench.sessions_store import place_of
    from workbench.target.command import find_target

    config = load_config(options.directory)
    if getattr(options, "driver", False):
        from workbench.real_driver import on_the_driver

        config = on_the_driver(config)
    if getattr(options, "buffers", None) is not None:
        config = dataclasses.replace(config, record=RecordConfig(_limit(options.buffers)))
    session: Path | None = options.session
    if session is not None and session.exists() and (not session.is_dir() or any(session.iterdir())):
        raise UsageError(f"--session {session}: there is something already")
    place = place_of(config.directory)
    target = find_target(config, command or options.command, place.root)
    if options.command or command:
        # The directory is where shimbench.toml lies; a command typed here runs here.
        target = dataclasses.replace(target, cwd=Path.cwd())
    if command:
        driven = dataclasses.replace(config.target, exercise=exercise, ladder=ladder)
        config = dataclasses.replace(config, target=driven)
    if environment:
        target = dataclasses.replace(target, env={**environment, **target.env})
    return LoopPlan(
        target.title,
        {
            "config": config,
            "session_dir": session.resolve() if session else None,
            "target": target,
            "tap": not options.no_tap,
            "watch": watch,
            "place": place,
            "attach": attach,
        },
    )


def _limit(text: str) -> int:
    from workbench.config import byte_count

    try:
        return byte_count(text)
    except ValueError as error:
        raise UsageError(f"--buffers={text}: {error}") from None


def run_workbench(plan: LoopPlan) -> int:
    """The workbench's panes over a loop, until one quits; -> exit status. The first frame is painted before
    the loop begins."""
    import asyncio
    import gc

    from workbench.commands.common import need_terminal

    need_terminal()
    gc.disable()  # until the first frame is out: nothing of what is loaded till then is garbage
    loop = asyncio.run(_show(plan))
    if loop is not None:
        print(f"shimbench: recorded in {loop.session_dir}", file=sys.stderr)
    return 0


async def _show(plan: LoopPlan) -> Loop | None:
    """-> the loop, ended; None when one quit before it began."""
    import asyncio
    import signal

    from workbench.app import ShimbenchApp

    begun: list[Loop] = []

    async def begin() -> Loop:
        loop = plan.make()
        loop.open()
        begun.append(loop)
        await loop.start()
        return loop

    app = ShimbenchApp(begin, name=plan.title)
    try:
        while True:
            for number in (signal.SIGHUP, signal.SIGTERM):  # the terminal was closed, or we are to end
                asyncio.get_running_loop().add_signal_handler(number, app.exit)
            again = await app.run_async()
            if app.failure is not None:
                raise app.failure
            if not again:
                break
            (loop,) = begun  # its session is another one, with panes of its own
            app = ShimbenchApp(loop, loop.session)
        if begun:
            print("shimbench: ending the target", file=sys.stderr, flush=True)
    finally:
        for loop in begun:
            await loop.stop()
    return begun[0] if begun else None
