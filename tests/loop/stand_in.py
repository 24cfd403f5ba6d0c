"""A loop without native parts: a collector that only starts programs, a session that is empty.

What is shown here is the loop's own work; tests/real runs it with the collector and the tap.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.patience import PATIENCE_SECONDS
from workbench.config import Config
from workbench.loop.drive import Driver, driver_event
from workbench.loop.host import HostForwarder
from workbench.loop.loop import Loop
from workbench.loop.processes import CollectorSpawner
from workbench.loop.status import LoopEvent
from workbench.sessions_store import Place
from workbench.target.command import Target


class StandInCollector:
    """Starts programs as its own children and keeps the events it was given."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.lines: list[bytes] = []
        self._ended: list[SimpleNamespace] = []
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, role: str, run: int) -> int:
        child = subprocess.Popen(argv, env=dict(env), cwd=cwd, start_new_session=True)
        self._children[child.pid] = child
        threading.Thread(target=self._reap, args=(child,), daemon=True).start()
        return child.pid

    def _reap(self, child: subprocess.Popen[bytes]) -> None:
        code = child.wait()
        ended = SimpleNamespace(
            pid=child.pid, exit_code=code if code >= 0 else None, signal=-code if code < 0 else None
        )
        self._ended.append(ended)
        os.write(self._write, b".")

    def signal(self, pid: int, sig: int, group: bool = True) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, sig)

    def event(self, kind: str, **fields: Any) -> None:
        self.events.append((kind, fields))

    def line(self, text: bytes, *, stream: str, role: str) -> None:
        self.lines.append(text)

    def poll(self) -> list[SimpleNamespace]:
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        ended, self._ended = self._ended, []
        return ended

    def fileno(self) -> int:
        return self._read

    def close(self) -> None:
        for child in self._children.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The fields of the events of one kind."""
        return [fields for name, fields in self.events if name == kind]


class StandInLoop(Loop):
    """A Loop whose `open` needs nothing native; it keeps what it told."""

    def __init__(self, config: Config, session_dir: Path, target: Target) -> None:
        super().__init__(
            config, session_dir, target=target, tap=False, place=Place(config.directory / ".shimbench")
        )
        self.told: list[LoopEvent] = []
        self._heard = asyncio.Event()
        self.subscribe(self._keep_event)

    def _keep_event(self, event: LoopEvent) -> None:
        self.told.append(event)
        self._heard.set()

    def open(self) -> None:
        self.session_dir.mkdir(parents=True)
        self.collector = StandInCollector()  # type: ignore[assignment]
        empty = SimpleNamespace(refresh=lambda: False, processes=[], calls=[], log=[], lost_to_disk=(0, 0))
        self.session = empty  # type: ignore[assignment]
        self.spawner = CollectorSpawner(self.collector)
        self.host = HostForwarder(
            self.spawner, self.config.directory, self.session_dir, self.on_host_status, self.on_host_state
        )
        tell = driver_event(self.record_event, self.emit)
        self.driver = Driver(self.config, self.target, self.session, self.session_dir, self.spawner, tell)

    @property
    def stand_in(self) -> StandInCollector:
        assert isinstance(self.collector, StandInCollector)
        return self.collector

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the loop has told enough to make `condition` true."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._heard.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._heard.wait(), 0.02)
