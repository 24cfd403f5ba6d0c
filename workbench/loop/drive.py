"""Climbing the ladder before a target is launched, driving it afterwards, and saying what an edit changed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sessions import SessionError, open_session
from workbench.config import RUNGS, Config, Exercise
from workbench.loop.processes import Spawner
from workbench.loop.teed import Teed, run_teed
from workbench.target import exercise as driving
from workbench.target import ollama
from workbench.target.exercise import Expectation, Outcome
from workbench.target.ladder import (
    KERNEL_PATIENCE_SECONDS,
    PATIENCE_SECONDS,
    SHORT_RUNGS,
    Rung,
    ShortRung,
    judge,
    judge_kernel,
    kernel_probe,
    seen_rung,
    short_rungs,
)
from workbench.views.log import numbered_lines, of_run
from workbench.views.since import changes, run_facts

if TYPE_CHECKING:
    from sessions import Session
    from workbench.target.command import Target

TICK_SECONDS = 0.05
SETTLED_SECONDS = 5.0
"""After which a target that nobody drives is compared with the run before."""
LAST_WORDS_SECONDS = 3.0
"""For an exercise to see what its target wrote last."""


class Driver:
    """What happens around one target, run after run. `tell(kind, text, **fields)` writes an event of the
    session and tells who listens to the loop."""

    def __init__(
        self,
        config: Config,
        target: Target,
        session: Session,
        session_dir: Path,
        spawner: Spawner,
        tell: Callable[..., None],
    ) -> None:
        self.config = config
        self.target = target
        self.top = RUNGS[-1]
        """the rung to climb to; what lies above it is not done"""
        self.rungs: dict[str, Rung] = {}
        """of the newest run, by name"""
        self.outcome: Outcome | None = None
        self.expectation: Expectation | None = None
        self.done = asyncio.Event()
        """the newest run has reached its top rung, or can't"""
        self._session = session
        self._session_dir = session_dir
        self._spawner = spawner
        self._tell = tell
        self._run = 0
        self._ended = asyncio.Event()
        self._hurry = asyncio.Event()
        self._cpu: Outcome | None = None
        self._task: asyncio.Task[None] | None = None

    # What the loop calls.

    def begin(self, run: int) -> None:
        """A new run: nothing is known of it."""
        self._run, self.rungs, self.outcome, self.expectation = run, {}, None, None
        self.done.clear()
        self._ended.clear()
        self._hurry.clear()

    async def climb(self, run: int, environment: Mapping[str, str]) -> Rung | None:
        """The short rungs, one after another; -> the one that failed, or the top if that is one of them;
        None when the target is to be launched."""
        answer = self._session_dir / "runs" / str(run) / "probe.json"
        top = RUNGS.index(self.top)
        for rung in short_rungs(self.config, self.target, environment, answer):
            if RUNGS.index(rung.name) > top or self._hurry.is_set():
                break
            answer.unlink(missing_ok=True)
            ended = await self._run_rung(rung, run, environment, answer.parent, PATIENCE_SECONDS)
            command = (self.config.target.ladder or {}).get(rung.name)
            result = judge(
                rung.name, answer, ended.status, ended.ending, ended.text, ended.seconds, not command
            )
            self._reach(result)
            if result.state == "failed":
                self.done.set()
                return result
            if rung.name == "probe" and not command:
                await self._try_kernel(run, rung, environment, answer.parent)
        if self.top in SHORT_RUNGS:
            if self.top not in self.rungs and not self._hurry.is_set():
                self._reach(Rung(self.top, "failed", "nothing to run for it: [target] ladder says what"))
            self.done.set()
            return self.rungs.get(self.top) or Rung(self.top, "failed", "given up for a newer run")
        return None

    async def _run_rung(
        self, rung: ShortRung, run: int, environment: Mapping[str, str], folder: Path, timeout: float
    ) -> Teed:
        own = dict(rung.environment)
        paths = [*filter(None, (own.get("LD_LIBRARY_PATH"), environment.get("LD_LIBRARY_PATH")))]
        if paths:
            own["LD_LIBRARY_PATH"] = ":".join(paths)
        return await run_teed(
            self._spawner,
            rung.argv,
            {**environment, **own},
            self.target.cwd,
            "target",
            run,
            folder,
            timeout=timeout,
            both=True,
            ending_early=self._hurry.wait(),
        )

    async def _try_kernel(
        self, run: int, probe: ShortRung, environment: Mapping[str, str], folder: Path
    ) -> None:
        """Whether a kernel does anything: an event `kernel-probe` {run, outcome, text}. It decides no rung,
        for a shim may well be built up to its launches one wall after another."""
        answer = folder / "kernel.json"
        answer.unlink(missing_ok=True)
        ended = await self._run_rung(
            kernel_probe(probe, answer), run, environment, folder, KERNEL_PATIENCE_SECONDS
        )
        outcome, text = judge_kernel(answer, ended.status, ended.ending, ended.seconds)
        self._tell("kernel-probe", text, run=run, outcome=outcome)

    def start(self, run: int) -> None:
        """The target was launched: watch it, and drive it."""
        self._task = asyncio.create_task(self._attend(run))
        self._task.add_done_callback(self._attended)

    def target_ended(self) -> None:
        """The target ended by itself; the exercise sees what is left to see."""
        self._ended.set()

    async def cease(self) -> None:
        """The run is over: whatever is still tried is given up."""
        self._hurry.set()
        task, self._task = self._task, None
        if task is not None and not task.done():
            if self._ended.is_set():
                await asyncio.wait([task], timeout=LAST_WORDS_SECONDS)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def interrupt(self) -> None:
        """A newer run is wanted: a rung that is climbed now is given up."""
        self._hurry.set()

    # One run.

    async def _attend(self, run: int) -> None:
        watching = asyncio.create_task(self._watch(run))
        try:
            exercise = self._exercise()
            if exercise is not None:
                await self._perform(exercise, run)
                self.done.set()
                await self._compare(run)
                await self._ended.wait()
            else:
                with contextlib.suppress(
                    TimeoutError
                ):  # a server does not end, and is compared as it is then
                    await asyncio.wait_for(self._ended.wait(), SETTLED_SECONDS)
                await self._compare(run)
                await self._ended.wait()
            self.done.set()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def _attended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._tell("problem", f"{type(error).__name__}: {error}")
            self.done.set()

    async def _watch(self, run: int) -> None:
        """Rungs that the target's own output speaks of."""
        seen = 0
        while True:
            total = len(self._session.log)
            for _, line in numbered_lines(self._session, seen, total):
                rung = seen_rung(line) if line.role == "target" else None
                known = self.rungs.get(rung.name) if rung is not None else None
                if rung is None or not of_run(self._session, line, run):
                    continue
                if known is None or known.state != rung.state:
                    self._reach(rung)
                    if rung.name == self.top and self.top != RUNGS[-1]:
                        self.done.set()
            seen = total
            await asyncio.sleep(TICK_SECONDS)
            self._session.refresh()

    def _reach(self, rung: Rung) -> None:
        self.rungs[rung.name] = rung
        self._tell("rung", str(rung), run=self._run, **rung.as_json())

    def _exercise(self) -> Exercise | None:
        """What is to be done to reach the top rung; None when nothing is."""
        exercise = self.config.target.exercise
        if exercise is None or self.top == "tokens":
            return exercise
        if self.top != "load" or exercise.http is None or exercise.json is None or not self._is_ollama():
            return None
        loading = {key: value for key, value in exercise.json.items() if key not in ("prompt", "messages")}
        return replace(exercise, json=loading, expect=None)  # Ollama loads the model and says so

    def _is_ollama(self) -> bool:
        return ollama.is_server(self.target.argv)

    async def _perform(self, exercise: Exercise, run: int) -> None:
        """One exercise, told with its comparison."""
        compared = exercise.expect == "cpu"
        asked = driving.greedy(exercise, gpu=True) if compared and self._is_ollama() else exercise
        outcome = await self._once(asked, run)
        if compared:
            if self._cpu is None or not self._cpu.ok:
                self._cpu = await self._on_cpu(exercise, run)
            self.expectation = driving.compare_tokens(outcome, self._cpu)
        self.outcome = outcome
        expected = {"same": None, "expectation": ""}
        if self.expectation is not None:
            expected = {"same": self.expectation.same, "expectation": self.expectation.text}  # type: ignore[dict-item]
        text = "; ".join(filter(None, (str(outcome), self.expectation.text if self.expectation else "")))
        self._tell("exercise", text, run=run, **outcome.as_json(), **expected)
        good = outcome.ok and (self.expectation is None or self.expectation.same)
        if self.top == "tokens":
            self._reach(Rung("tokens", "ok" if good else "failed", text, outcome.seconds))

    async def _once(self, exercise: Exercise, run: int) -> Outcome:
        if exercise.http is not None:
            url = driving.url_of(exercise, self.target.url)
            if url is None:
                where = f'write the whole URL: http = "http://127.0.0.1:8080{exercise.http}"'
                return Outcome(False, 0.0, error=f"nobody said where {self.target.title} listens: {where}")
            asking = asyncio.ensure_future(driving.request(exercise, url))
            ended = asyncio.ensure_future(self._ended.wait())
            await asyncio.wait([asking, ended], return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            if not asking.done():  # what it has answered already is still read
                await asyncio.wait([asking], timeout=LAST_WORDS_SECONDS)
            if not asking.done():
                asking.cancel()
                return Outcome(False, 0.0, error="the target ended before it answered")
            return asking.result()
        if exercise.output is not None:
            return await self._printed(exercise, run)
        return await self._command(driving.command_of(exercise, self.config.directory), exercise, run)

    async def _command(self, words: tuple[str, ...], exercise: Exercise, run: int) -> Outcome:
        environment = {**os.environ, **self.target.env}
        if self.target.url:
            environment["SHIMBENCH_TARGET_URL"] = self.target.url
        ended = await run_teed(
            self._spawner,
            words,
            environment,
            self.config.directory,
            "exercise",
            run,
            self._session_dir / "runs" / str(run),
            timeout=exercise.timeout,
        )
        ending = ended.ending if ended.status is not None else f"no end after {exercise.timeout:g} s"
        if exercise.output is not None:
            found = driving.of_output(exercise.output, exercise.tokens, ended.lines, ending)
            assert found is not None
            return found
        return driving.of_command(ended.status, ending, ended.lines, ended.seconds)

    async def _printed(self, exercise: Exercise, run: int) -> Outcome:
        """The tokens that the target prints by itself."""
        assert exercise.output is not None
        seen, lines = 0, list[tuple[float, bytes]]()
        begun = self._session.now_ns()
        deadline = begun + int(exercise.timeout * 1e9)
        while True:
            over = self._ended.is_set()
            self._session.refresh()
            total = len(self._session.log)
            for _, line in numbered_lines(self._session, seen, total):
                if line.role == "target" and of_run(self._session, line, run) and line.process >= 0:
                    lines.append(((line.time_ns - begun) / 1e9, line.text))
            seen = total
            ending = "the target ended" if over else ""
            if not ending and self._session.now_ns() > deadline:
                ending = f"no more within {exercise.timeout:g} s"
            if found := driving.of_output(exercise.output, exercise.tokens, lines, ending):
                return found
            await asyncio.sleep(TICK_SECONDS)

    async def _on_cpu(self, exercise: Exercise, run: int) -> Outcome:
        """The same without the GPU, once: what is asked and the model stay the same."""
        if exercise.cpu is not None:
            return await self._command(exercise.cpu, exercise, run)
        if exercise.http is not None and self._is_ollama():
            return await self._once(driving.greedy(exercise, gpu=False), run)
        return Outcome(False, 0.0, error='say how it is asked there: cpu = "command"')

    async def _compare(self, run: int) -> None:
        """What is different from the run before."""
        if run < 2:
            return
        with contextlib.suppress(SessionError, OSError):
            found = await asyncio.to_thread(_compared, self._session_dir, run)
            text = f"since run {run - 1}: {'; '.join(found) if found else 'nothing changed'}"
            self._tell("since", text, run=run, before=run - 1, changes=found)


def _compared(session_dir: Path, run: int) -> list[str]:
    session = open_session(session_dir)
    return changes(run_facts(session, run - 1), run_facts(session, run))


def driver_event(record: Callable[..., None], emit: Callable[..., None]) -> Callable[..., None]:
    """A Driver's `tell` for a loop."""

    def tell(kind: str, text: str = "", /, **fields: Any) -> None:
        record(kind, **{"text": text, **fields})
        emit(kind, text, **fields)

    return tell
