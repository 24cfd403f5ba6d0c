"""What a loop records into: its collector and session, taken up, lost and begun anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sessions import SessionError, open_session
from workbench import native
from workbench.errors import ShimbenchError
from workbench.loop.attach import Attached, attach
from workbench.loop.claim import Claim, Work
from workbench.loop.drive import Driver, driver_event
from workbench.loop.host import HostForwarder
from workbench.loop.launch import end_group, end_strays
from workbench.loop.processes import CollectorSpawner
from workbench.loop.room import with_room
from workbench.sessions_store import Place
from workbench.tap.collector import Collector, CollectorError

if TYPE_CHECKING:
    from workbench.loop.loop import Loop


class Recording:
    """Opens `loop`'s collector, session, spawner, host and driver, which belong together."""

    def __init__(self, loop: Loop, attach: bool) -> None:
        self.attached = False
        """the session is one that a killed workbench has left"""
        self._loop = loop
        self._attach = attach
        self._claim: Claim | None = None
        self._buffers = False
        self._orphans: list[int] | None = None
        """what a collector that died has left: groups; None while there is one"""

    def open(self) -> None:
        """Start the collector and open the session it writes. Raises ShimbenchError when it can't be.

        With `attach`, a session of the same work that a killed workbench has left goes on instead.
        """
        loop = self._loop
        if self._attach and self._open_left_alone():
            return
        if not native.paths().collector.is_file():
            raise ShimbenchError(f"{native.paths().collector} is not built: run ./dev build")
        if loop.session_dir.parent == loop.place.sessions:
            self._move_to(*with_room(loop.place))
        try:
            loop.session_dir.parent.mkdir(parents=True, exist_ok=True)
            loop.collector = Collector.start(loop.session_dir, native.paths().model)
            self.record_buffers()
        except (CollectorError, OSError) as error:
            raise ShimbenchError(f"no session can be written in {loop.session_dir}: {error}") from error
        self._open_parts()
        work = Work(
            str(loop.config.directory),
            loop.target.argv,
            loop.tap,
            str(loop.host.socket_path),
        )
        self._claim = Claim.make(loop.session_dir, work)

    def _move_to(self, place: Place, why: str) -> None:
        """Sessions and builds go to another place, where this one takes none."""
        loop = self._loop
        if place != loop.place:
            loop.place, loop.notice = place, why
            loop.session_dir = place.new_session()
            loop.builder.move(place)

    def _open_parts(self, host_socket: Path | None = None) -> None:
        loop = self._loop
        try:
            loop.session = open_session(loop.session_dir)
        except SessionError as error:
            raise ShimbenchError(str(error)) from error
        loop.spawner = CollectorSpawner(loop.collector, self._gone)
        loop.host = HostForwarder(
            loop.spawner,
            loop.config.directory,
            loop.session_dir,
            loop.on_host_status,
            loop.on_host_state,
            host_socket,
            lambda data: loop.collector.blob(data),
        )
        tell = driver_event(loop.record_event, loop.emit)
        loop.driver = Driver(
            loop.config,
            loop.target,
            loop.session,
            loop.session_dir,
            loop.spawner,
            tell,
        )

    def _open_left_alone(self) -> bool:
        loop = self._loop
        found = attach(loop.place, loop.config.directory, loop.target.argv, loop.tap)
        if not isinstance(found, Attached):
            loop.notice = found or ""
            return False
        loop.session_dir, loop.collector, self._claim = (
            found.directory,
            found.collector,
            found.claim,
        )
        self._open_parts(Path(found.work.host_socket))
        self.attached = True
        return True

    def record_buffers(self) -> None:
        """Have the collector record buffers as the configuration says."""
        record = self._loop.config.record
        if record.limit or self._buffers:
            self._loop.collector.record_buffers(record.limit, inputs=record.inputs)
        self._buffers = record.limit > 0

    def release(self) -> None:
        """Let other workbenches have the session."""
        if self._claim is not None:
            self._claim.release()

    def _gone(self, text: str) -> None:
        """Targets go on without it, unrecorded; what it wrote is the session."""
        loop = self._loop
        self._orphans = [pid for pid in (loop.runs.pid, loop.host.pid) if pid is not None]
        loop.emit(
            "problem", f"{text}: nothing is recorded any more; the next relaunch begins a new session (r)"
        )

    async def renew(self) -> None:
        """After a collector's death: end what it left, and go on in a new session."""
        loop = self._loop
        if self._orphans is None:
            return
        await self.end_orphans()
        self.release()
        loop.session_dir, earlier = self._next_session_dir(), loop.session_dir
        self._attach, top = False, loop.driver.top
        await loop.driver.cease()
        self.open()
        loop.driver.top = top
        loop.spawner.start()
        loop.emit("session", f"{earlier.name} has lost its collector: recorded in {loop.session_dir.name}")

    def _next_session_dir(self) -> Path:
        loop = self._loop
        if loop.session_dir.parent == loop.place.sessions:
            return loop.place.new_session()
        number = 2
        while (path := loop.session_dir.with_name(f"{loop.session_dir.name}.{number}")).exists():
            number += 1
        return path

    async def end_orphans(self) -> None:
        """End what a collector that died has left."""
        orphans, self._orphans = self._orphans or [], None
        for pid in orphans:
            await end_group(pid)
        await end_strays(self._loop.runs.mark)
