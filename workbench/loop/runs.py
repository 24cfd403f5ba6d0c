"""The loop's runs: end the one under way, launch the next on the newest good build, hear how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench import native
from workbench.config import RUNGS
from workbench.loop.attach import remains_of
from workbench.loop.first_call import first_call_ns
from workbench.loop.launch import Scouted, end_strays, scout, stop_target, target_environment
from workbench.loop.processes import Exit
from workbench.loop.status import TargetStatus
from workbench.loop.store import StoredBuild
from workbench.loop.watch import Saved
from workbench.tap.rundir import make_bare_directory, make_run_directory
from workbench.target.ladder import Rung

if TYPE_CHECKING:
    from workbench.loop.loop import Loop

FIRST_CALL_TICK_SECONDS = 0.01


class Runs:
    """The runs of `loop`'s target, one at a time."""

    def __init__(self, loop: Loop) -> None:
        self.pid: int | None = None
        """of the target's first process, while it lives"""
        self.last_exit: Exit | None = None
        self.over = asyncio.Event()
        """no run is under way, and none is about to begin"""
        self._loop = loop
        self._describe = loop.target.describe
        self._scouting: asyncio.Task[Scouted] | None = None
        self._ending_reason = "by itself"

    @property
    def mark(self) -> str:
        """By which all processes of the newest run are known."""
        return self._mark(self._loop.status.run)

    def _mark(self, run: int) -> str:
        return f"{self._loop.session_dir}#{run}"

    def scout(self) -> None:
        """Look, while something else is waited for, which processes the end of this run has to end."""
        if self.pid is not None:
            self._scouting = asyncio.create_task(asyncio.to_thread(scout, self.pid, self.mark))

    def goes_on(self) -> None:
        """The run under way is not to be ended after all."""
        self._scouting = None
        if self.pid is None:
            self.over.set()

    async def launch(
        self, build: StoredBuild, reason: str, saved: Saved | None = None, climb: bool = False
    ) -> None:
        """End the run under way and begin the next, by the ladder if `climb`."""
        loop = self._loop
        run = loop.status.run + 1
        preparing = asyncio.create_task(asyncio.to_thread(self._environment, build, run))
        await self.end(reason)
        self._scouting = None
        self.over.clear()
        self.last_exit = None
        loop.driver.begin(run)
        started = TargetStatus("starting", title=loop.target.title)
        loop.set_status(run=run, target=started, rung="", exercise="", since="")
        if loop.config.host.run is not None:
            words = loop.config.host.run
            program = str(build.host) if build.host else words[0]
            await loop.host.ensure((program, *words[1:]), run)
        environment = await preparing
        await self._describe_target()
        self._record_run(build, run, reason)
        if loop.tap:
            loop.spawn_task(self._await_first_call(run, saved))
        if climb or loop.driver.top != RUNGS[-1]:
            stopped_at = await loop.driver.climb(run, environment)
            if stopped_at is not None:
                self._not_launched(run, stopped_at)
                return
        self.pid = loop.spawner.spawn(loop.target.argv, environment, loop.target.cwd, "target", run)
        loop.set_status(target=TargetStatus("running", 1, title=loop.target.title))
        loop.emit("run-started", reason, run=run, pid=self.pid)
        loop.spawn_task(self._await_end(self.pid, run))
        loop.driver.start(run)

    def _record_run(self, build: StoredBuild, run: int, reason: str) -> None:
        loop = self._loop
        loop.record_event(
            "run",
            run=run,
            reason=reason,
            shim=str(build.lib),
            shim_id=build.id,
            ours=self._is_ours(),
            libraries={soname: str(path) for soname, path in build.libraries.items()},
            host=" ".join(loop.config.host.run or ()),
            command=list(loop.target.argv),
            cwd=str(loop.target.cwd),
            tap=loop.tap,
            sources=dict(build.sources),
        )

    def _not_launched(self, run: int, rung: Rung) -> None:
        """The ladder ended below the target."""
        loop, good = self._loop, rung.state == "ok"
        loop.record_event("run-end", run=run, exit_code=0 if good else 1, signal=None, reason=str(rung))
        loop.set_status(target=TargetStatus("ended", 0, str(rung), 0 if good else 1, loop.target.title))
        loop.emit("run-ended", str(rung), run=run, status=0 if good else 1)
        self.over.set()

    async def _describe_target(self) -> None:
        """What is installed of a program we know, told once, before it first runs."""
        describe, self._describe = self._describe, None
        if describe is None:
            return
        found = await asyncio.to_thread(describe)
        self._loop.record_event("target", **found.as_json())
        for line in found.lines():
            self._loop.emit("target", line)

    def _environment(self, build: StoredBuild, run: int) -> dict[str, str]:
        loop = self._loop
        directory = loop.session_dir / "runs" / str(run)
        originals = {path.resolve(): soname for soname, path in loop.config.shim.libraries.items()}

        def add_libraries(inherited: Mapping[str, str]) -> Mapping[str, str]:
            if not loop.tap:
                preload = loop.target.preload
                return make_bare_directory(directory, build.libraries, inherited, preload, originals)
            return make_run_directory(
                directory,
                native.paths(),
                build.libraries,
                loop.collector.socket_path,
                inherited=inherited,
                preload_too=loop.target.preload,
                originals=originals,
            )

        own = {**loop.target.env, **(loop.host.environment if loop.config.host.run else {})}
        return target_environment(os.environ, own, self._mark(run), add_libraries)

    def _is_ours(self) -> bool:
        """Is the shim our own, so that the model knows which functions it performs?"""
        driver = self._loop.config.shim.libraries.get("libcuda.so.1")
        return driver is not None and driver.is_relative_to(native.paths().lib)

    # The end of a run.

    async def end(self, reason: str) -> None:
        """End the run under way, and whatever it has left."""
        loop = self._loop
        await loop.driver.cease()
        if loop.status.run > 0:
            loop.record_event("run-stopping", run=loop.status.run, reason=reason)
        if self.pid is None:
            await end_strays(self.mark)
            return
        pid, run = self.pid, loop.status.run
        loop.set_status(target=replace(loop.status.target, state="stopping"))
        self._ending_reason = reason
        scouting, self._scouting = self._scouting, None
        scouted = await scouting if scouting is not None else None
        exit_ = await stop_target(loop.spawner, pid, self.mark, scouted=scouted)
        self._ended(pid, run, exit_)

    async def _await_end(self, pid: int, run: int) -> None:
        self._ended(pid, run, await self._loop.spawner.wait(pid))

    def _ended(self, pid: int, run: int, exit_: Exit) -> None:
        """Once a run: told by whoever hears of it first."""
        if self.pid != pid:
            return
        loop = self._loop
        reason, self._ending_reason = self._ending_reason, "by itself"
        self.pid = None
        self.last_exit = exit_
        loop.driver.target_ended()
        loop.record_event("run-end", run=run, exit_code=exit_.exit_code, signal=exit_.signal, reason=reason)
        state = "unknown" if exit_.unseen else "ended"
        loop.set_status(target=TargetStatus(state, 0, str(exit_), exit_.status, loop.target.title))
        loop.emit("run-ended", str(exit_), run=run, status=exit_.status)
        self.over.set()

    # A run's first call.

    async def _await_first_call(self, run: int, saved: Saved | None) -> None:
        loop, seen = self._loop, 0
        while loop.status.run == run:
            loop.session.refresh()
            moment, seen = first_call_ns(loop.session, run, seen)
            if moment is not None:
                seconds = (moment - saved.at_ns) / 1e9 if saved else None
                if seconds is not None:
                    loop.set_status(last_save_to_first_call=seconds)
                loop.record_event("first-call", run=run, seconds_since_save=seconds)
                loop.emit("first-call", run=run, seconds_since_save=seconds)
                return
            await asyncio.sleep(FIRST_CALL_TICK_SECONDS)

    # A run that an earlier workbench began.

    async def take_up(self) -> bool:
        """Go on with the run and the forwarder that are there; False when no run ever began."""
        loop, builder = self._loop, self._loop.builder
        remains = remains_of(loop.session, loop.target.argv)
        builder.earlier = remains.builds
        if remains.host is not None:
            loop.host.adopt(remains.host.pid, remains.host.argv)
        loop.notice = f"attached to {loop.session_dir.name}, whose workbench was gone"
        loop.record_event("attached", run=remains.run)
        if remains.target is None:
            loop.set_status(run=remains.run)
            return False
        with contextlib.suppress(OSError, ValueError, KeyError):
            builder.load(remains.shim_id)
        shim = replace(
            loop.status.shim,
            state="ok" if builder.current else "none",
            build_id=builder.current.id if builder.current else "",
        )
        loop.set_status(run=remains.run, shim=shim, target=TargetStatus("ended", title=loop.target.title))
        loop.notice += f": run {remains.run} "
        if remains.run_ended:
            loop.notice += "had ended"
            return True
        loop.driver.begin(remains.run)
        self.pid = remains.target.pid
        loop.set_status(target=TargetStatus("running", 1, title=loop.target.title))
        if remains.exit is not None:
            self._ended(self.pid, remains.run, remains.exit)
            loop.notice += "had ended"
        else:
            loop.spawn_task(self._await_end(self.pid, remains.run))
            if loop.tap and not remains.first_call_told:
                loop.spawn_task(self._await_first_call(remains.run, None))
            loop.notice += "goes on"
        if loop.watch and builder.current is not None and await asyncio.to_thread(builder.sources_differ):
            loop.notice += "; sources were saved meanwhile"
            loop.spawn_task(loop.rebuild("saved while no workbench watched", climb=True))
        return True
