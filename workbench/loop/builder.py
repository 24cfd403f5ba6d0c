"""The loop's builds: one after another, each good one kept with its sources, each told in the session."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import native
from workbench.config import with_built_libraries
from workbench.errors import ShimbenchError
from workbench.loop.build import BuildReport, progress_of, run_build
from workbench.loop.room import with_room
from workbench.loop.store import BuildStore, StoredBuild
from workbench.loop.watch import Saved, SourceFiles
from workbench.target.command import find_program

if TYPE_CHECKING:
    from workbench.loop.loop import Loop
    from workbench.sessions_store import Place

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


class Builder:
    """Builds what `loop` works on; `current` is what the next run maps."""

    def __init__(self, loop: Loop) -> None:
        self.reports: list[BuildReport] = []
        self.current: StoredBuild | None = None
        """the newest good build"""
        self.earlier = 0
        """number of the newest build of a workbench that was here before"""
        self._loop = loop
        self._place = loop.place
        self._store = BuildStore(loop.place.store)
        self._building: asyncio.Task[BuildReport] | None = None

    def move(self, place: Place) -> None:
        """Keep builds in another place from now on."""
        self._place = place
        self._store = BuildStore(place.store)

    def give_up(self) -> None:
        """The build under way is not wanted any more."""
        if self._building is not None:
            self._building.cancel()

    async def cease(self) -> None:
        """Give the build under way up, and wait until it is gone."""
        if self._building is not None:
            self._building.cancel()
            await asyncio.gather(self._building, return_exceptions=True)

    async def prune(self) -> None:
        """Drop old builds of the store, but for those that sessions which stay have run on."""
        from workbench.sessions_care import builds_needed

        await asyncio.to_thread(self._store.prune, needed=partial(builds_needed, self._place))

    def load(self, build_id: str) -> None:
        """Go on with a build of the store. Raises OSError, ValueError or KeyError when it is not there."""
        self.current = self._store.load(build_id)

    def sources_differ(self) -> bool:
        """Has a source changed since the build that runs?"""
        config = self._loop.config
        assert self.current is not None
        return bool(config.watch) and self.current.sources != self._store.digests(
            SourceFiles(config.directory, config.watch), config.directory
        )

    async def build(self, command: str, reason: str, saved: Saved | None) -> BuildReport | None:
        """Run the build command; -> None when a newer save gave this build up."""
        loop = self._loop
        number = self.earlier + len(self.reports) + 1
        loop.set_status(shim=replace(loop.status.shim, state="building", progress=None))
        loop.emit("build-started", command, number=number, reason=reason)
        output: list[str] = []

        def on_output(text: str) -> None:
            output.append(text)
            loop.set_status(shim=replace(loop.status.shim, progress=progress_of("".join(output[-20:]))))
            loop.emit("build-output", text, number=number)

        self._building = asyncio.create_task(
            run_build(
                loop.spawner, command, loop.config.directory, number, loop.session_dir / "builds", on_output
            )
        )
        try:
            report = await self._building
        except asyncio.CancelledError:
            if self._building.cancelled() and not loop.stopped:
                loop.set_status(shim=replace(loop.status.shim, state="ok" if self.current else "none"))
                return None
            raise
        finally:
            self._building = None
        report = replace(report, sources=saved.paths if saved else (), reason=reason)
        if report.ok:
            await self._take_what_was_made(command)
        if report.ok and (missing := self._missing_library()):
            report = replace(report, ok=False, problem=f"`{command}` succeeded, but there is no {missing}")
        self.reports.append(report)
        if not report.ok:
            loop.set_status(
                shim=replace(
                    loop.status.shim, state="failed", progress=None, errors=max(1, len(report.errors))
                )
            )
            self._tell(report)
        loop.set_status(shim=replace(loop.status.shim, seconds=report.seconds))
        return report

    async def keep(self) -> StoredBuild:
        """Copy what the build made into the store, and tell of it.

        Raises ShimbenchError when a part is missing.
        """
        loop = self._loop
        kept, elsewhere = await asyncio.to_thread(self._keep)
        self.current = kept
        if elsewhere:
            loop.emit("target", f"  warning: {elsewhere}")
        if self.reports:
            self.reports[-1] = replace(self.reports[-1], store_id=self.current.id)
        loop.set_status(
            shim=replace(loop.status.shim, state="ok", build_id=self.current.id, progress=None, errors=0)
        )
        if self.reports:
            self._tell(self.reports[-1])
        return self.current

    def _keep(self) -> tuple[StoredBuild, str]:
        """-> what is kept, and why it lies elsewhere than usual, if it does."""
        config = self._loop.config
        missing = self._missing_library()
        if missing:
            raise ShimbenchError(f"there is no {missing}: build it, or correct [shim.libraries]")
        sources = SourceFiles(config.directory, config.watch) if config.watch else ()
        built = config.shim.libraries, self._host_program(), sources, config.directory
        try:
            return self._store.keep(*built), ""
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            place, why = with_room(self._loop.place)
            if place == self._loop.place:  # there is some, and still not enough
                raise ShimbenchError(
                    f"{place.store}: the build can't be kept: {error.strerror}; free some space"
                ) from error
            self.move(place)
            return self._store.keep(*built), why

    async def _take_what_was_made(self, command: str) -> None:
        """Where no [shim.libraries] says what the build makes, its libraries are the shim."""
        loop = self._loop
        if not loop.config.own_shim:
            return
        config = await asyncio.to_thread(with_built_libraries, loop.config)
        if config is None:
            return
        loop.config = config
        for soname, path in config.shim.libraries.items():
            name = path.relative_to(config.directory)
            loop.emit(
                "target", f"  {name} of `{command}` stands for {soname}; `init --force` writes that down"
            )

    def _missing_library(self) -> Path | None:
        libraries = self._loop.config.shim.libraries
        return next((path for path in libraries.values() if not path.is_file()), None)

    def _host_program(self) -> Path | None:
        """The forwarder's program, when it is one that is built here and not a tool of the system."""
        config = self._loop.config
        command = config.host.run
        if command is None:
            return None
        own = native.paths().bin / command[0]
        if config.own_shim and own.is_file():
            return own
        found = find_program(command[0], config.directory, os.environ)
        if found is None:
            raise ShimbenchError(f"[host] run: there is no {command[0]} in {config.directory} nor on PATH")
        path = Path(found)
        return path if path.is_relative_to(config.directory) else None

    def _tell(self, report: BuildReport) -> None:
        self._loop.record_event(
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
        self._loop.emit("build-finished", report.problem, number=report.number, ok=report.ok)
