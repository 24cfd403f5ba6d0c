"""The loop: save -> build -> keep -> stop the old run -> launch the next, all in one session.

A failed build leaves the run under way alone. A save during a build gives that build up and begins
again with both changes. Everything here is asyncio and knows no Textual; who wants to see it
subscribes to its events and reads `status`, `builds` and `session`.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sessions import Session
from workbench.config import DEFAULT_BUFFERS, RUNGS, Config, byte_count
from workbench.errors import ShimbenchError
from workbench.loop.build import BuildReport
from workbench.loop.builder import Builder
from workbench.loop.crashes import FAULTS, record_crashes
from workbench.loop.drive import Driver
from workbench.loop.host import HostForwarder
from workbench.loop.logs import LogFollower
from workbench.loop.processes import CollectorSpawner, Exit
from workbench.loop.recording import Recording
from workbench.loop.room import told
from workbench.loop.runs import Runs
from workbench.loop.stacks import watch_for_hangs
from workbench.loop.status import HostStatus, LoopEvent, LoopStatus, TargetStatus
from workbench.loop.store import StoredBuild
from workbench.loop.watch import Saved, SourceWatcher
from workbench.sessions_store import FILE_NAME, Place, place_of
from workbench.tap.collector import Collector, CollectorError
from workbench.target.command import Target

TICK_SECONDS = 0.25
LOG_TICK_SECONDS = 0.1


class Loop:
    """One workbench at work on one directory: make it, `open()`, subscribe, `async with running(loop)`."""

    session: Session
    collector: Collector
    spawner: CollectorSpawner
    host: HostForwarder
    driver: Driver

    def __init__(
        self,
        config: Config,
        session_dir: Path | None = None,
        *,
        target: Target,
        tap: bool = True,
        watch: bool = True,
        place: Place | None = None,
        attach: bool = False,
    ) -> None:
        self.config = config
        self.target = target
        self.place = place or place_of(config.directory)
        self.session_dir = session_dir or self.place.new_session()
        self.tap = tap
        self.status = LoopStatus(target=TargetStatus(title=target.title))
        self.builder = Builder(self)
        self.runs = Runs(self)
        self.notice = ""
        """what is to be said at the start: that a session goes on, or that one runs on alone"""
        self.crashes_told: set[int] = set()
        self.looking = asyncio.Lock()
        """held while the stacks of a process are read: two debuggers can't be at one"""
        self.stopped = False
        self.watch = watch
        self.recording = Recording(self, attach and session_dir is None)
        self._subscribers: list[Callable[[LoopEvent], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._saved: Saved | None = None
        self._watcher: SourceWatcher | None = None

    @property
    def builds(self) -> list[BuildReport]:
        """All builds of this workbench, in order."""
        return self.builder.reports

    @property
    def current(self) -> StoredBuild | None:
        """The newest good build; the next run maps it."""
        return self.builder.current

    @property
    def last_exit(self) -> Exit | None:
        """How the newest run ended, if it has."""
        return self.runs.last_exit

    # What others call.

    def record_buffers(self, text: str = "") -> str:
        """Record what calls are given and fill, up to a size as `512M`, or `off`; nothing said: the other
        of the two. -> what is done from now on. ValueError when it is no size."""
        ends = text == "off" or (not text and self.config.record.limit > 0)
        limit = 0 if ends else byte_count(text) if text else DEFAULT_BUFFERS
        self.config = replace(self.config, record=replace(self.config.record, limit=limit))
        self.recording.record_buffers()
        return f"buffers are recorded, up to {limit >> 20} MiB" if limit else "buffers are recorded no more"

    def open(self) -> None:
        """Start the collector and open the session it writes. Raises ShimbenchError when it can't be.

        With `attach`, a session of the same work that a killed workbench has left goes on instead.
        """
        self.recording.open()

    def subscribe(self, callback: Callable[[LoopEvent], None]) -> None:
        """`callback` is called on the asyncio loop with every event."""
        self._subscribers.append(callback)

    def unsubscribe(self, callback: Callable[[LoopEvent], None]) -> None:
        """Tell it no more."""
        self._subscribers.remove(callback)

    async def start(self, climb: bool = False) -> None:
        """Watch the sources, and begin the first build or run behind our back. After `open`.

        `climb`: by the ladder from its lowest rung, as after a save.
        """
        self.spawner.start()
        globs = (*self.config.watch, *((f"/{FILE_NAME}",) if self.config.path else ()))
        if self.watch and globs:
            self._watcher = SourceWatcher(self.config.directory, globs, self._on_saved)
            self._watcher.start()
        self.spawn_task(self._tick())
        if self.tap:
            self.spawn_task(watch_for_hangs(self))
        if self.config.shim.logs:
            self.spawn_task(self._follow_logs())
        if not (self.recording.attached and await self.runs.take_up()):
            self.spawn_task(self.rebuild("start", climb))

    async def stop(self) -> None:
        """End target and forwarder, seal the session. Safe to call twice."""
        if self.stopped:
            return
        self.stopped = True
        if self._watcher is not None:
            self._watcher.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.driver.cease()
        await self.builder.cease()
        await self.runs.end("the workbench ends")
        await self.host.stop()
        self.spawner.stop()
        await self.recording.end_orphans()
        with contextlib.suppress(CollectorError):
            await asyncio.to_thread(self.collector.close)
        self.session.refresh()
        self.recording.release()
        shutil.rmtree(self.session_dir / "runs", ignore_errors=True)
        await self.builder.prune()

    async def relaunch(self, reason: str) -> None:
        """Stop the run and start the next on the newest good build."""
        self.driver.interrupt()
        # A task of ours: who asked may be gone before it is done (panes that give way to others').
        await asyncio.shield(self.spawn_task(self._relaunch(reason)))

    async def _relaunch(self, reason: str) -> None:
        async with self._turn:
            await self._guarded(self._launch(reason))

    async def _launch(self, reason: str, saved: Saved | None = None, climb: bool = False) -> None:
        if self.current is None:
            raise ShimbenchError("there is no good build yet to launch the target on")
        await self.recording.renew()
        await self.runs.launch(self.current, reason, saved, climb)

    async def rebuild(self, reason: str, climb: bool = False) -> None:
        """Build, and if that is good, relaunch, by the ladder if `climb`. Without a build command: keep
        what is there."""
        self.driver.interrupt()
        self.builder.give_up()
        async with self._turn:
            await self._guarded(self._build_and_launch(reason, climb))

    async def stop_target(self, reason: str) -> None:
        """End the run; the next begins with a save or a relaunch."""
        self.driver.interrupt()
        async with self._turn:
            await self.runs.end(reason)

    async def run_ended(self) -> Exit | None:
        """Wait until the run under way is over; -> how the target ended, None if it never began."""
        await self.runs.over.wait()
        return self.last_exit

    def pick_top(self) -> str:
        """The next rung is the top from the next run on, after the highest again the lowest; -> its name."""
        self.driver.top = RUNGS[(RUNGS.index(self.driver.top) + 1) % len(RUNGS)]
        self.set_status(top=self.driver.top)
        return self.driver.top

    @property
    def running(self) -> bool:
        return self.runs.pid is not None

    # From the watcher.

    def _on_saved(self, saved: Saved) -> None:
        if self.config.path in saved.paths:
            self.emit("problem", f"{FILE_NAME} was changed: it is read again when shimbench starts again")
            saved = replace(saved, paths=tuple(path for path in saved.paths if path != self.config.path))
            if not saved.paths:
                return
        earlier = self._saved
        paths = {*saved.paths, *(earlier.paths if earlier else ())}
        self._saved = Saved(tuple(sorted(paths)), saved.at_ns)
        names = ", ".join(path.name for path in saved.paths[:3])
        self.spawn_task(self.rebuild(f"saved {names}{' ...' if len(saved.paths) > 3 else ''}", climb=True))

    # Building.

    async def _build_and_launch(self, reason: str, climb: bool) -> None:
        saved = self._saved
        await self.recording.renew()
        if self.config.shim.build is not None:
            self.runs.scout()
            report = await self.builder.build(self.config.shim.build, reason, saved)
            if report is None:
                return
            if not report.ok:
                self.runs.goes_on()
                return
        self._saved = None
        await self.builder.keep()
        await self._launch(reason, saved, climb)

    # Beside the runs.

    async def _follow_logs(self) -> None:
        """Files the shim writes its log to become lines of the session like any other output."""

        def on_line(path: Path, line: bytes) -> None:
            with contextlib.suppress(CollectorError):
                self.collector.line(line + b"\n", stream="shim", role="shim")

        follower = LogFollower(self.config.directory, self.config.shim.logs, on_line)
        try:
            while True:
                await asyncio.sleep(LOG_TICK_SECONDS)
                follower.advance()
        finally:
            follower.finish()

    # Telling.

    async def _tick(self) -> None:
        """Count the target's processes now and then, and look where one died."""
        crashed = 0
        full = False
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.session.refresh()
            if any(self.session.lost_to_disk) and not full:
                full = True
                self.emit(
                    "target",
                    f"  warning: {self.session_dir}: the disk takes no more; what was recorded stays, "
                    "what comes now is counted as lost. Free some space, and recording goes on",
                )
            dead = sum(process.signal in FAULTS for process in self.session.processes)
            if dead > crashed:
                crashed = dead
                await record_crashes(self)
            if self.status.target.state == "running":
                alive = sum(
                    process.run == self.status.run and process.ended_ns is None and process.role == "target"
                    for process in self.session.processes
                )
                if alive != self.status.target.processes:
                    self.set_status(target=replace(self.status.target, processes=max(1, alive)))

    def record_event(self, kind: str, /, **fields: Any) -> None:
        """Append an event to the session; when its collector is gone there is nobody to tell."""
        with contextlib.suppress(CollectorError):
            self.collector.event(kind, **fields)

    def on_host_status(self, status: HostStatus) -> None:
        if status.state == "failed":
            self.record_event("host", state="failed", detail=status.detail)
            self.emit("problem", status.detail)
        self.set_status(host=status)
        self.emit("host", status.detail, state=status.state)

    def on_host_state(self, state: Mapping[str, Any]) -> None:
        self.record_event("host", **{key: value for key, value in state.items() if key != "kind"})
        self.emit("host", "", **state)

    def set_status(self, **changes: Any) -> None:
        """Change fields of `status`, and say so to whoever listens."""
        status = replace(self.status, **changes)
        if status != self.status:
            self.status = status
            self.emit("status")

    def emit(self, kind: str, text: str = "", /, **fields: Any) -> None:
        """Tell whoever listens that something happened."""
        if kind in ("rung", "exercise", "since"):
            told: dict[str, Any] = {kind: text}
            self.status = replace(self.status, **told)
        event = LoopEvent(kind, text, fields)
        for callback in list(self._subscribers):
            callback(event)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """What goes wrong while building or launching is told; the loop lives on."""
        try:
            await work
        except (ShimbenchError, CollectorError, OSError) as error:
            said = told(error) if isinstance(error, OSError) else str(error)
            self.emit("problem", said)
            self.record_event("problem", text=said)
            state = self.status.shim.state
            if state in ("building", "none"):
                self.set_status(shim=replace(self.status.shim, state="failed", progress=None))
            if not self.running:
                self.set_status(target=TargetStatus("none", exit=said, title=self.target.title))
                self.runs.over.set()

    def spawn_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that ends with the loop at the latest; what goes wrong in it is told as a problem."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.emit("problem", f"{type(error).__name__}: {error}")


@contextlib.asynccontextmanager
async def running(loop: Loop, climb: bool = False) -> AsyncIterator[Loop]:
    """Start a loop and stop it again, whatever happens."""
    await loop.start(climb)
    try:
        yield loop
    finally:
        await loop.stop()
