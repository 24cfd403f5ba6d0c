"""The loop: save -> build -> keep -> stop the old run -> launch the next, all in one session.

A failed build leaves the run under way alone. A save during a build gives that build up and begins
again with both changes. Everything here is asyncio and knows no Textual; who wants to see it
subscribes to its events and reads `status`, `builds` and `session`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sessions import Session, open_session
from workbench import native
from workbench.config import RUNGS, Config
from workbench.errors import ShimbenchError
from workbench.loop.attach import Attached, attach, remains_of
from workbench.loop.build import BuildReport, progress_of, run_build
from workbench.loop.claim import Claim, Work
from workbench.loop.crashes import FAULTS, record_crashes
from workbench.loop.drive import Driver, driver_event
from workbench.loop.first_call import first_call_ns
from workbench.loop.host import HostForwarder
from workbench.loop.launch import Scouted, end_group, end_strays, scout, stop_target, target_environment
from workbench.loop.logs import LogFollower
from workbench.loop.processes import CollectorSpawner, Exit
from workbench.loop.stacks import watch_for_hangs
from workbench.loop.status import HostStatus, LoopEvent, LoopStatus, TargetStatus
from workbench.loop.store import BuildStore, StoredBuild
from workbench.loop.watch import Saved, SourceFiles, SourceWatcher
from workbench.sessions_store import FILE_NAME, Place, place_of
from workbench.tap.collector import Collector, CollectorError
from workbench.tap.rundir import make_bare_directory, make_run_directory
from workbench.target.command import Target, find_program
from workbench.target.ladder import Rung

TICK_SECONDS = 0.25
LOG_TICK_SECONDS = 0.1
FIRST_CALL_TICK_SECONDS = 0.01


class Loop:
    """One workbench at work on one directory: make it, `open()`, subscribe, `async with running(loop)`."""

    session: Session
    collector: Collector

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
        self.store = BuildStore(self.place.store)
        self.status = LoopStatus(target=TargetStatus(title=target.title))
        self.builds: list[BuildReport] = []
        self.current: StoredBuild | None = None
        """the newest good build; the next run maps it"""
        self.notice = ""
        """what is to be said at the start: that a session goes on, or that one runs on alone"""
        self._describe = target.describe
        self._tap = tap
        self._watch = watch
        self._attach = attach and session_dir is None
        self._attached = False
        self._claim: Claim | None = None
        self._builds_before = 0
        self._orphans: list[int] | None = None
        """what a collector that died has left: groups; None while there is one"""
        self._subscribers: list[Callable[[LoopEvent], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._building: asyncio.Task[BuildReport] | None = None
        self._scouting: asyncio.Task[Scouted] | None = None
        self._saved: Saved | None = None
        self._pid: int | None = None
        self._ending_reason = "by itself"
        self._run_ended = asyncio.Event()
        self.crashes_told: set[int] = set()
        self.last_exit: Exit | None = None
        self._stopped = False
        self._spawner: CollectorSpawner
        self._host: HostForwarder
        self.driver: Driver
        self._watcher: SourceWatcher | None = None

    # What others call.

    def subscribe(self, callback: Callable[[LoopEvent], None]) -> None:
        """`callback` is called on the asyncio loop with every event."""
        self._subscribers.append(callback)

    def unsubscribe(self, callback: Callable[[LoopEvent], None]) -> None:
        """Tell it no more."""
        self._subscribers.remove(callback)

    def open(self) -> None:
        """Start the collector and open the session it writes. Raises ShimbenchError when it can't be.

        With `attach`, a session of the same work that a killed workbench has left goes on instead.
        """
        if self._attach and self._open_left_alone():
            return
        self.session_dir.parent.mkdir(parents=True, exist_ok=True)
        if not native.paths().collector.is_file():
            raise ShimbenchError(f"{native.paths().collector} is not built: run ./dev build")
        try:
            self.collector = Collector.start(self.session_dir, native.paths().model)
        except (CollectorError, OSError) as error:
            raise ShimbenchError(f"no session can be written in {self.session_dir}: {error}") from error
        self._open_parts()
        work = Work(str(self.config.directory), self.target.argv, self._tap, str(self._host.socket_path))
        self._claim = Claim.make(self.session_dir, work)

    def _open_parts(self, host_socket: Path | None = None) -> None:
        self.session = open_session(self.session_dir)
        self._spawner = CollectorSpawner(self.collector, self._collector_gone)
        self._host = HostForwarder(
            self._spawner,
            self.config.directory,
            self.session_dir,
            self._host_status,
            self._host_state,
            host_socket,
        )
        tell = driver_event(self._record, self._emit)
        self.driver = Driver(self.config, self.target, self.session, self.session_dir, self._spawner, tell)

    def _open_left_alone(self) -> bool:
        found = attach(self.place, self.config.directory, self.target.argv, self._tap)
        if not isinstance(found, Attached):
            self.notice = found or ""
            return False
        self.session_dir, self.collector, self._claim = found.directory, found.collector, found.claim
        self._open_parts(Path(found.work.host_socket))
        self._attached = True
        return True

    async def start(self, climb: bool = False) -> None:
        """Watch the sources, and begin the first build or run behind our back. After `open`.

        `climb`: by the ladder from its lowest rung, as after a save.
        """
        self._spawner.start()
        globs = (*self.config.watch, *((f"/{FILE_NAME}",) if self.config.path else ()))
        if self._watch and globs:
            self._watcher = SourceWatcher(self.config.directory, globs, self._on_saved)
            self._watcher.start()
        self._spawn_task(self._tick())
        if self._tap:
            self._spawn_task(watch_for_hangs(self))
        if self.config.shim.logs:
            self._spawn_task(self._follow_logs())
        if not (self._attached and await self._take_up()):
            self._spawn_task(self.rebuild("start", climb))

    async def _take_up(self) -> bool:
        """Go on with the run and the forwarder that are there; False when no run ever began."""
        remains = remains_of(self.session, self.target.argv)
        self._builds_before = remains.builds
        if remains.host is not None:
            self._host.adopt(remains.host.pid, remains.host.argv)
        self.notice = f"attached to {self.session_dir.name}, whose workbench was gone"
        self._record("attached", run=remains.run)
        if remains.target is None:
            self._set(run=remains.run)
            return False
        with contextlib.suppress(OSError, ValueError, KeyError):
            self.current = self.store.load(remains.shim_id)
        shim = replace(
            self.status.shim,
            state="ok" if self.current else "none",
            build_id=self.current.id if self.current else "",
        )
        self._set(run=remains.run, shim=shim, target=TargetStatus("ended", title=self.target.title))
        self.notice += f": run {remains.run} "
        if remains.run_ended:
            self.notice += "had ended"
            return True
        self.driver.begin(remains.run)
        self._pid = remains.target.pid
        self._set(target=TargetStatus("running", 1, title=self.target.title))
        if remains.exit is not None:
            self._ended(self._pid, remains.run, remains.exit)
            self.notice += "had ended"
        else:
            self._spawn_task(self._await_end(self._pid, remains.run))
            if self._tap and not remains.first_call_told:
                self._spawn_task(self._await_first_call(remains.run, None))
            self.notice += "goes on"
        if self._watch and self.current is not None and await asyncio.to_thread(self._sources_differ):
            self.notice += "; sources were saved meanwhile"
            self._spawn_task(self.rebuild("saved while no workbench watched", climb=True))
        return True

    def _sources_differ(self) -> bool:
        """Has a source changed since the build that runs?"""
        assert self.current is not None
        return bool(self.config.watch) and self.current.sources != self.store.digests(
            SourceFiles(self.config.directory, self.config.watch), self.config.directory
        )

    async def stop(self) -> None:
        """End target and forwarder, seal the session. Safe to call twice."""
        if self._stopped:
            return
        self._stopped = True
        if self._watcher is not None:
            self._watcher.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.driver.cease()
        if self._building is not None:
            self._building.cancel()
            await asyncio.gather(self._building, return_exceptions=True)
        await self._end_run("the workbench ends")
        await self._host.stop()
        self._spawner.stop()
        await self._end_orphans()
        with contextlib.suppress(CollectorError):
            await asyncio.to_thread(self.collector.close)
        self.session.refresh()
        if self._claim is not None:
            self._claim.release()
        shutil.rmtree(self.session_dir / "runs", ignore_errors=True)
        await asyncio.to_thread(self.store.prune)

    async def relaunch(self, reason: str) -> None:
        """Stop the run and start the next on the newest good build."""
        self.driver.interrupt()
        # A task of ours: who asked may be gone before it is done (panes that give way to others').
        await asyncio.shield(self._spawn_task(self._relaunch(reason)))

    async def _relaunch(self, reason: str) -> None:
        async with self._turn:
            await self._guarded(self._launch(reason))

    async def rebuild(self, reason: str, climb: bool = False) -> None:
        """Build, and if that is good, relaunch, by the ladder if `climb`. Without a build command: keep
        what is there."""
        self.driver.interrupt()
        if self._building is not None:
            self._building.cancel()
        async with self._turn:
            await self._guarded(self._build_and_launch(reason, climb))

    async def stop_target(self, reason: str) -> None:
        """End the run; the next begins with a save or a relaunch."""
        self.driver.interrupt()
        async with self._turn:
            await self._end_run(reason)

    async def run_ended(self) -> Exit | None:
        """Wait until the run under way is over; -> how the target ended, None if it never began."""
        await self._run_ended.wait()
        return self.last_exit

    def pick_top(self) -> str:
        """The next rung is the top from the next run on, after the highest again the lowest; -> its name."""
        self.driver.top = RUNGS[(RUNGS.index(self.driver.top) + 1) % len(RUNGS)]
        self._set(top=self.driver.top)
        return self.driver.top

    @property
    def running(self) -> bool:
        return self._pid is not None

    # From the watcher.

    def _on_saved(self, saved: Saved) -> None:
        if self.config.path in saved.paths:
            self._emit("problem", f"{FILE_NAME} was changed: it is read again when shimbench starts again")
            saved = replace(saved, paths=tuple(path for path in saved.paths if path != self.config.path))
            if not saved.paths:
                return
        earlier = self._saved
        paths = {*saved.paths, *(earlier.paths if earlier else ())}
        self._saved = Saved(tuple(sorted(paths)), saved.at_ns)
        names = ", ".join(path.name for path in saved.paths[:3])
        self._spawn_task(self.rebuild(f"saved {names}{' ...' if len(saved.paths) > 3 else ''}", climb=True))

    # Building.

    async def _build_and_launch(self, reason: str, climb: bool) -> None:
        saved = self._saved
        await self._renew_collector()
        if self.config.shim.build is not None:
            report = await self._build(self.config.shim.build, reason)
            if report is None or not report.ok:
                return
        self._saved = None
        self.current = await asyncio.to_thread(self._keep)
        if self.builds:
            self.builds[-1] = replace(self.builds[-1], store_id=self.current.id)
        self._set(
            shim=replace(self.status.shim, state="ok", build_id=self.current.id, progress=None, errors=0)
        )
        if self.builds:
            self._tell_build(self.builds[-1])
        await self._launch(reason, saved, climb)

    async def _build(self, command: str, reason: str) -> BuildReport | None:
        """-> None when a newer save gave this build up."""
        number = self._builds_before + len(self.builds) + 1
        saved = self._saved
        self._set(shim=replace(self.status.shim, state="building", progress=None))
        self._emit("build-started", command, number=number, reason=reason)
        output: list[str] = []

        def on_output(text: str) -> None:
            output.append(text)
            self._set(shim=replace(self.status.shim, progress=progress_of("".join(output[-20:]))))
            self._emit("build-output", text, number=number)

        if self._pid is not None:
            look = asyncio.to_thread(scout, self._pid, self._mark(self.status.run))
            self._scouting = asyncio.create_task(look)
        self._building = asyncio.create_task(
            run_build(
                self._spawner, command, self.config.directory, number, self.session_dir / "builds", on_output
            )
        )
        try:
            report = await self._building
        except asyncio.CancelledError:
            if self._building.cancelled() and not self._stopped:
                self._set(shim=replace(self.status.shim, state="ok" if self.current else "none"))
                return None
            raise
        finally:
            self._building = None
        report = replace(report, sources=saved.paths if saved else (), reason=reason)
        if report.ok and (missing := self._missing_library()):
            report = replace(report, ok=False, problem=f"`{command}` succeeded, but there is no {missing}")
        self.builds.append(report)
        if not report.ok:
            failed = replace(
                self.status.shim, state="failed", progress=None, errors=max(1, len(report.errors))
            )
            self._set(shim=failed)
            self._scouting = None
            self._tell_build(report)
            if not self.running:
                self._run_ended.set()
        self._set(shim=replace(self.status.shim, seconds=report.seconds))
        return report

    def _missing_library(self) -> Path | None:
        return next((path for path in self.config.shim.libraries.values() if not path.is_file()), None)

    def _keep(self) -> StoredBuild:
        """Copy what the build made into the store. Raises ShimbenchError when a part is missing."""
        missing = self._missing_library()
        if missing:
            raise ShimbenchError(f"there is no {missing}: build it, or correct [shim.libraries]")
        sources = SourceFiles(self.config.directory, self.config.watch) if self.config.watch else ()
        return self.store.keep(
            self.config.shim.libraries, self._host_program(), sources, self.config.directory
        )

    def _host_program(self) -> Path | None:
        """The forwarder's program, when it is one that is built here and not a tool of the system."""
        command = self.config.host.run
        if command is None:
            return None
        own = native.paths().bin / command[0]
        if self.config.own_shim and own.is_file():
            return own
        found = find_program(command[0], self.config.directory, os.environ)
        if found is None:
            raise ShimbenchError(
                f"[host] run: there is no {command[0]} in {self.config.directory} nor on PATH"
            )
        path = Path(found)
        return path if path.is_relative_to(self.config.directory) else None

    def _tell_build(self, report: BuildReport) -> None:
        self._record(
            "build",
            build=report.number,
            ok=report.ok,
            seconds=round(report.seconds, 6),
            command=report.command,
            reason=report.reason,
            problem=report.problem,
            store_id=report.store_id,
            sources=[str(path) for path in report.sources],
            diagnostics=[
                {
                    "path": str(item.path) if item.path else None,
                    "line": item.line,
                    "column": item.column,
                    "severity": str(item.severity),
                    "message": item.message,
                }
                for item in report.diagnostics
            ],
        )
        self._emit("build-finished", report.problem, number=report.number, ok=report.ok)

    # Running.

    async def _launch(self, reason: str, saved: Saved | None = None, climb: bool = False) -> None:
        if self.current is None:
            raise ShimbenchError("there is no good build yet to launch the target on")
        await self._renew_collector()
        build, run = self.current, self.status.run + 1
        preparing = asyncio.create_task(asyncio.to_thread(self._environment, build, run))
        await self._end_run(reason)
        self._scouting = None
        self._run_ended.clear()
        self.last_exit = None
        self.driver.begin(run)
        started = TargetStatus("starting", title=self.target.title)
        self._set(run=run, target=started, rung="", exercise="", since="")
        if self.config.host.run is not None:
            words = self.config.host.run
            program = str(build.host) if build.host else words[0]
            await self._host.ensure((program, *words[1:]), run)
        environment = await preparing
        await self._describe_target()
        self._record(
            "run",
            run=run,
            reason=reason,
            shim=str(build.lib),
            shim_id=build.id,
            ours=self._is_ours(),
            libraries={soname: str(path) for soname, path in build.libraries.items()},
            host=" ".join(self.config.host.run or ()),
            command=list(self.target.argv),
            cwd=str(self.target.cwd),
            tap=self._tap,
            sources=dict(build.sources),
        )
        if self._tap:
            self._spawn_task(self._await_first_call(run, saved))
        if climb or self.driver.top != RUNGS[-1]:
            stopped_at = await self.driver.climb(run, environment)
            if stopped_at is not None:
                self._not_launched(run, stopped_at)
                return
        self._pid = self._spawner.spawn(self.target.argv, environment, self.target.cwd, "target", run)
        self._set(target=TargetStatus("running", 1, title=self.target.title))
        self._emit("run-started", reason, run=run, pid=self._pid)
        self._spawn_task(self._await_end(self._pid, run))
        self.driver.start(run)

    def _not_launched(self, run: int, rung: Rung) -> None:
        """The ladder ended below the target."""
        good = rung.state == "ok"
        self._record("run-end", run=run, exit_code=0 if good else 1, signal=None, reason=str(rung))
        self._set(target=TargetStatus("ended", 0, str(rung), 0 if good else 1, self.target.title))
        self._emit("run-ended", str(rung), run=run, status=0 if good else 1)
        self._run_ended.set()

    async def _describe_target(self) -> None:
        """What is installed of a program we know, told once, before it first runs."""
        describe, self._describe = self._describe, None
        if describe is None:
            return
        found = await asyncio.to_thread(describe)
        self._record("target", **found.as_json())
        for line in found.lines():
            self._emit("target", line)

    def _environment(self, build: StoredBuild, run: int) -> dict[str, str]:
        directory = self.session_dir / "runs" / str(run)
        originals = {path.resolve(): soname for soname, path in self.config.shim.libraries.items()}

        def add_libraries(inherited: Mapping[str, str]) -> Mapping[str, str]:
            if not self._tap:
                preload = self.target.preload
                return make_bare_directory(directory, build.libraries, inherited, preload, originals)
            return make_run_directory(
                directory,
                native.paths(),
                build.libraries,
                self.collector.socket_path,
                inherited=inherited,
                preload_too=self.target.preload,
                originals=originals,
            )

        own = {**self.target.env, **(self._host.environment if self.config.host.run else {})}
        return target_environment(os.environ, own, self._mark(run), add_libraries)

    def _is_ours(self) -> bool:
        """Is the shim our own, so that the model knows which functions it performs?"""
        driver = self.config.shim.libraries.get("libcuda.so.1")
        return driver is not None and driver.is_relative_to(native.paths().lib)

    def _mark(self, run: int) -> str:
        return f"{self.session_dir}#{run}"

    async def _end_run(self, reason: str) -> None:
        await self.driver.cease()
        if self._pid is None:
            await end_strays(self._mark(self.status.run))
            return
        pid, run = self._pid, self.status.run
        self._set(target=replace(self.status.target, state="stopping"))
        self._ending_reason = reason
        scouting, self._scouting = self._scouting, None
        scouted = await scouting if scouting is not None else None
        exit_ = await stop_target(self._spawner, pid, self._mark(run), scouted=scouted)
        self._ended(pid, run, exit_)

    async def _await_end(self, pid: int, run: int) -> None:
        self._ended(pid, run, await self._spawner.wait(pid))

    def _ended(self, pid: int, run: int, exit_: Exit) -> None:
        """Once a run: told by whoever hears of it first."""
        if self._pid != pid:
            return
        reason, self._ending_reason = self._ending_reason, "by itself"
        self._pid = None
        self.last_exit = exit_
        self.driver.target_ended()
        self._record("run-end", run=run, exit_code=exit_.exit_code, signal=exit_.signal, reason=reason)
        self._set(target=TargetStatus("ended", 0, str(exit_), exit_.status, self.target.title))
        self._emit("run-ended", str(exit_), run=run, status=exit_.status)
        self._run_ended.set()

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

    async def _await_first_call(self, run: int, saved: Saved | None) -> None:
        seen = 0
        while self.status.run == run:
            self.session.refresh()
            moment, seen = first_call_ns(self.session, run, seen)
            if moment is not None:
                seconds = (moment - saved.at_ns) / 1e9 if saved else None
                if seconds is not None:
                    self._set(last_save_to_first_call=seconds)
                self._record("first-call", run=run, seconds_since_save=seconds)
                self._emit("first-call", run=run, seconds_since_save=seconds)
                return
            await asyncio.sleep(FIRST_CALL_TICK_SECONDS)

    # Telling.

    async def _tick(self) -> None:
        """Count the target's processes now and then, and look where one died."""
        crashed = 0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.session.refresh()
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
                    self._set(target=replace(self.status.target, processes=max(1, alive)))

    def _collector_gone(self, text: str) -> None:
        """Targets go on without it, unrecorded; what it wrote is the session."""
        self._orphans = [pid for pid in (self._pid, self._host.pid) if pid is not None]
        self._emit(
            "problem", f"{text}: nothing is recorded any more; the next relaunch begins a new session (r)"
        )

    async def _renew_collector(self) -> None:
        """After a collector's death: end what it left, and go on in a new session."""
        if self._orphans is None:
            return
        await self._end_orphans()
        if self._claim is not None:
            self._claim.release()
        self.session_dir, earlier = self._next_session_dir(), self.session_dir
        self._attach, top = False, self.driver.top
        await self.driver.cease()
        self.open()
        self.driver.top = top
        self._spawner.start()
        self._emit("session", f"{earlier.name} has lost its collector: recorded in {self.session_dir.name}")

    def _next_session_dir(self) -> Path:
        if self.session_dir.parent == self.place.sessions:
            return self.place.new_session()
        number = 2
        while (path := self.session_dir.with_name(f"{self.session_dir.name}.{number}")).exists():
            number += 1
        return path

    async def _end_orphans(self) -> None:
        orphans, self._orphans = self._orphans or [], None
        for pid in orphans:
            await end_group(pid)
        await end_strays(self._mark(self.status.run))

    def _record(self, kind: str, /, **fields: Any) -> None:
        """Append an event to the session; when its collector is gone there is nobody to tell."""
        with contextlib.suppress(CollectorError):
            self.collector.event(kind, **fields)

    def record_event(self, kind: str, /, **fields: Any) -> None:
        """Append an event to the session."""
        self._record(kind, **fields)

    def _host_status(self, status: HostStatus) -> None:
        if status.state == "failed":
            self._record("host", state="failed", detail=status.detail)
            self._emit("problem", status.detail)
        self._set(host=status)
        self._emit("host", status.detail, state=status.state)

    def _host_state(self, state: Mapping[str, Any]) -> None:
        self._record("host", **{key: value for key, value in state.items() if key != "kind"})
        self._emit("host", "", **state)

    def _set(self, **changes: Any) -> None:
        status = replace(self.status, **changes)
        if status != self.status:
            self.status = status
            self._emit("status")

    def _emit(self, kind: str, text: str = "", /, **fields: Any) -> None:
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
            self._emit("problem", str(error))
            self._record("problem", text=str(error))
            state = self.status.shim.state
            if state in ("building", "none"):
                self._set(shim=replace(self.status.shim, state="failed", progress=None))
            if not self.running:
                self._set(target=TargetStatus("none", exit=str(error), title=self.target.title))
                self._run_ended.set()

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._emit("problem", f"{type(error).__name__}: {error}")


@contextlib.asynccontextmanager
async def running(loop: Loop, climb: bool = False) -> AsyncIterator[Loop]:
    """Start a loop and stop it again, whatever happens."""
    await loop.start(climb)
    try:
        yield loop
    finally:
        await loop.stop()
