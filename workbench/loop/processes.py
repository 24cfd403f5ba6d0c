"""Starting programs: through the collector, which tees and records them, or, without one, directly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workbench.errors import ShimbenchError
from workbench.tap.collector import Collector, CollectorError


@dataclass(frozen=True)
class Exit:
    """How a program ended: by its own status or by a signal."""

    pid: int
    exit_code: int | None
    signal: int | None

    @property
    def unseen(self) -> bool:
        """Whether whoever started it is gone: it may be running still."""
        return self.exit_code is None and self.signal is None

    @property
    def status(self) -> int:
        """As a shell tells it: the exit status, or 128 + the signal's number."""
        if self.signal is not None:
            return 128 + self.signal
        return self.exit_code if self.exit_code is not None else 1

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {signal.Signals(self.signal).name}"
        return f"exit status {self.exit_code}" if self.exit_code is not None else "ended, nobody saw how"


class Spawner(Protocol):
    """Who starts programs, each in a session and process group of its own."""

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, role: str, run: int) -> int: ...

    def signal(self, pid: int, sig: int, group: bool = True) -> None: ...

    async def wait(self, pid: int) -> Exit: ...


class LocalSpawner:
    """Starts programs as our own children. For `shimbench build` and tests.

    `output` is the descriptor their stdout goes to; by default our own.
    """

    def __init__(self, output: int | None = None) -> None:
        self._output = output
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, role: str, run: int) -> int:
        """-> pid. Raises ShimbenchError when there is no such program."""
        try:
            child = subprocess.Popen(
                argv,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                start_new_session=True,
            )
        except OSError as error:
            raise ShimbenchError(f"{argv[0]}: {error.strerror}") from error
        self._children[child.pid] = child
        return child.pid

    def signal(self, pid: int, sig: int, group: bool = True) -> None:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(pid, sig)

    async def wait(self, pid: int) -> Exit:
        code = await asyncio.to_thread(self._children[pid].wait)
        return Exit(pid, code if code >= 0 else None, -code if code < 0 else None)


class CollectorSpawner:
    """Starts programs through the collector and hears from it how they ended."""

    def __init__(self, collector: Collector, on_gone: Callable[[str], None] = lambda text: None) -> None:
        self._collector = collector
        self._on_gone = on_gone
        self._ended: dict[int, Exit] = {}
        self._waiting: dict[int, asyncio.Future[Exit]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Listen to the collector on the running asyncio loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._collector.fileno(), self._poll)

    def stop(self) -> None:
        """Listen no more; who still waits is cancelled."""
        if self._loop is not None:
            self._loop.remove_reader(self._collector.fileno())
            self._loop = None
        for future in self._waiting.values():
            future.cancel()
        self._waiting.clear()

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, role: str, run: int) -> int:
        """-> pid. Raises CollectorError when it can't be executed."""
        return self._collector.spawn(argv, env, cwd, role, run)

    def signal(self, pid: int, sig: int, group: bool = True) -> None:
        """As Collector.signal; when the collector is gone, directly."""
        try:
            self._collector.signal(pid, sig, group)
        except CollectorError:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if group else os.kill)(pid, sig)

    async def wait(self, pid: int) -> Exit:
        if pid in self._ended:
            return self._ended[pid]
        future = self._waiting.setdefault(pid, asyncio.get_running_loop().create_future())
        return await asyncio.shield(future)

    def _poll(self) -> None:
        try:
            exits = self._collector.poll()
        except CollectorError as error:
            self._lose(str(error))
            return
        for ended in exits:
            self._tell(Exit(ended.pid, ended.exit_code, ended.signal))

    def _lose(self, text: str) -> None:
        """The collector died. What it started goes on, but nobody will tell us how it ends."""
        waiting = list(self._waiting)
        if self._loop is not None:
            self._loop.remove_reader(self._collector.fileno())
            self._loop = None
        for pid in waiting:
            self._tell(Exit(pid, None, None))
        self._on_gone(text)

    def _tell(self, exit_: Exit) -> None:
        self._ended[exit_.pid] = exit_
        future = self._waiting.pop(exit_.pid, None)
        if future is not None and not future.done():
            future.set_result(exit_)


async def stop_group(spawner: Spawner, pid: int, patience: float = 5.0) -> Exit:
    """End a program and its group: SIGTERM, then SIGKILL after `patience` seconds."""
    ending = asyncio.ensure_future(spawner.wait(pid))
    if not ending.done():
        spawner.signal(pid, signal.SIGTERM)
        await asyncio.wait([ending], timeout=patience)
    if not ending.done():
        spawner.signal(pid, signal.SIGKILL)
    exit_ = await ending
    spawner.signal(pid, signal.SIGKILL)  # children of the group that outlived their parent
    return exit_
