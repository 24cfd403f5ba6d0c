"""One run without the workbench, as `shimbench run` does it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from workbench.loop.crashes import record_crashes
from workbench.loop.loop import Loop, running
from workbench.loop.processes import Exit
from workbench.loop.stacks import record_stacks
from workbench.loop.status import LoopEvent

if TYPE_CHECKING:
    from sessions import Session

COPY_SECONDS = 0.05


@dataclass(frozen=True)
class RunOutcome:
    """How the one run went."""

    exit: Exit | None
    """None when the target never began"""
    timed_out: bool = False
    interrupted: bool = False
    problem: str = ""
    driven: bool = False
    """the exercise was over, or the top rung reached, before the target ended, which was then ended"""


class OutputCopy:
    """Passes output on as the session records it: the target's to both streams, every line whole and in
    order, and the forwarder's words, headed by `host: `, to stderr. `target=False` leaves the first out.
    """

    def __init__(self, session: Session, stdout: BinaryIO, stderr: BinaryIO, *, target: bool = True) -> None:
        self._session = session
        self._stderr = stderr
        self._streams = {"stdout": stdout, "stderr": stderr} if target else {}
        self._next = 0

    def advance(self) -> None:
        """Pass on what the session has got since."""
        end = len(self._session.log)
        for line in self._session.log.lines(self._next, end):
            stream = self._streams.get(line.stream) if line.role == "target" else None
            if stream is not None:
                stream.write(line.text)
                if line.length > len(line.text):
                    stream.write(b"\n")
                stream.flush()
            elif line.role == "host":
                self._stderr.write(b"host: " + line.text + b"\n")
                self._stderr.flush()
        self._next = end


async def run_once(
    loop: Loop,
    timeout: float | None,
    say: Callable[[str], None],
    copy: OutputCopy | None = None,
    *,
    climb: bool = False,
) -> RunOutcome:
    """Build, launch, wait for the target's end or `timeout` seconds, stop everything and seal.

    `loop` is open already. Where the target is driven, the end of the exercise ends the run; with `climb`,
    the ladder is climbed first, and its top rung ends it. SIGINT and SIGTERM end the target, and the
    session is sealed as always.
    """
    problems: list[str] = []
    interrupted = asyncio.Event()

    def on_event(event: LoopEvent) -> None:
        if event.kind == "problem":
            problems.append(event.text)
            say(event.text)
        elif event.kind == "target":
            say(event.text)
        elif event.kind == "build-output":
            say(event.text.rstrip("\n"))
        elif event.kind == "build-finished" and not event.fields["ok"]:
            report = loop.builds[-1]
            problems.append(report.problem or f"the build failed: {report.exit}")
            say(problems[-1])

    loop.subscribe(on_event)
    asyncio_loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio_loop.add_signal_handler(number, interrupted.set)
    timed_out = was_driven = False
    try:
        async with running(loop, climb):
            copying = asyncio.create_task(_keep_copying(loop, copy)) if copy else None
            ended = asyncio.ensure_future(loop.run_ended())
            stopped = asyncio.ensure_future(interrupted.wait())
            driven = asyncio.ensure_future(loop.driver.done.wait())
            waited = [ended, stopped, *([driven] if climb or _is_driven(loop) else [])]
            done, _ = await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            timed_out = not done
            was_driven = bool(done) and ended not in done and stopped not in done
            if ended not in done:
                if timed_out:
                    await record_stacks(loop)
                reason = "time is up" if timed_out else "interrupted" if stopped in done else "it was driven"
                await loop.stop_target(reason)
                ended.cancel()
            stopped.cancel()
            driven.cancel()
            for task in (ended, stopped, driven):
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            loop.session.refresh()
            await record_crashes(loop)
            if copying is not None:
                copying.cancel()
        if copy is not None:
            copy.advance()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio_loop.remove_signal_handler(number)
    problem = problems[-1] if problems else ""
    return RunOutcome(loop.last_exit, timed_out, interrupted.is_set(), problem, was_driven)


def _is_driven(loop: Loop) -> bool:
    """Does somebody else than the target decide when the exercise is over?"""
    exercise = loop.config.target.exercise
    return exercise is not None and exercise.output is None


async def _keep_copying(loop: Loop, copy: OutputCopy) -> None:
    while True:
        loop.session.refresh()
        copy.advance()
        await asyncio.sleep(COPY_SECONDS)
