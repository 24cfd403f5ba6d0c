"""The forwarder: started before the target from the kept build, watched, and told as events.

What a forwarder must do to be one of a workbench, ours or not: listen on the socket that
SHIMBENCH_HOST names (if it wants to be waited for), and append its state, one JSON object a
line, to the file that SHIMBENCH_HOST_STATE names (if it has any to tell). What it prints is log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import ShimbenchError
from workbench.loop.kernel_texts import KernelTexts
from workbench.loop.processes import Exit, Spawner, stop_group
from workbench.loop.status import HostStatus
from workbench.tap.collector import CollectorError

STATE_NAME = "host-state.jsonl"
SOCKET_VARIABLE = "SHIMBENCH_HOST"
STATE_VARIABLE = "SHIMBENCH_HOST_STATE"

SOCKET_PATH_LIMIT = 108
START_PATIENCE_SECONDS = 5.0
STATE_INTERVAL_SECONDS = 0.1
LISTENING_FLAG = 0x10000  # __SO_ACCEPTCON


class HostForwarder:
    """One forwarder at a time. `on_status` hears of every change, `on_state` of every state line."""

    def __init__(
        self,
        spawner: Spawner,
        directory: Path,
        runtime: Path,
        on_status: Callable[[HostStatus], None],
        on_state: Callable[[Mapping[str, Any]], None],
        socket_path: Path | None = None,
        keep: Callable[[bytes], int] | None = None,
    ) -> None:
        """`keep` stores bytes in the session and gives their number: texts of kernels go there."""
        self._spawner = spawner
        self._directory = directory
        self.socket_path = socket_path or _socket_path(runtime)
        self.state_path = runtime / STATE_NAME
        self._on_status = on_status
        self._on_state = on_state
        self._texts = None if keep is None else KernelTexts(keep)
        self._argv: tuple[str, ...] = ()
        self._pid: int | None = None
        self._watching: asyncio.Task[None] | None = None
        self._told = 0  #: bytes of its state
        self.status = HostStatus()

    @property
    def environment(self) -> dict[str, str]:
        """What the forwarder and the target are both given."""
        return {SOCKET_VARIABLE: str(self.socket_path)}

    @property
    def pid(self) -> int | None:
        """Of its process, while it runs."""
        return self._pid

    @property
    def running(self) -> bool:
        return self._pid is not None

    async def ensure(self, argv: Sequence[str], run: int) -> None:
        """Have a forwarder of just this command line running: keep it, or end the old and start it.

        A forwarder that ends before it listens is said in the status; no exception. One that can't be
        executed is said there as well, and raises what the spawner raises.
        """
        if self._pid is not None and self._argv == tuple(argv):
            return
        await self.stop()
        self.socket_path.unlink(missing_ok=True)
        self.state_path.write_bytes(b"")
        self._told = 0
        self._argv = tuple(argv)
        self._say(HostStatus("starting"))
        environment = {**os.environ, **self.environment, STATE_VARIABLE: str(self.state_path)}
        try:
            self._pid = self._spawner.spawn(argv, environment, self._directory, "host", run)
        except (ShimbenchError, CollectorError) as error:
            self._say(HostStatus("failed", str(error)))
            raise
        ending = asyncio.ensure_future(self._spawner.wait(self._pid))
        listening = await self._listening(ending)
        if ending.done():
            self._ended(ending.result())
            return
        self._say(HostStatus("ok", "" if listening else "it listens on no socket of ours"))
        self._watching = asyncio.create_task(self._watch(ending))

    def adopt(self, pid: int, argv: Sequence[str]) -> None:
        """Go on with one that an earlier workbench has started; what it told already is not told again."""
        self._pid, self._argv = pid, tuple(argv)
        ending = asyncio.ensure_future(self._spawner.wait(pid))
        self._say(HostStatus("ok"))
        end = self.state_path.stat().st_size if self.state_path.exists() else 0
        self._watching = asyncio.create_task(self._watch(ending, end))

    async def stop(self) -> None:
        """End it, if it runs."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        if self._pid is not None:
            await stop_group(self._spawner, self._pid, patience=2.0)
            self._tell()  # a kernel's fault is told as the target dies of it, which ends the run
            self._pid = None
            self.socket_path.unlink(missing_ok=True)
            self._say(HostStatus())

    async def _listening(self, ending: asyncio.Future[Exit]) -> bool:
        deadline = asyncio.get_running_loop().time() + START_PATIENCE_SECONDS
        while asyncio.get_running_loop().time() < deadline and not ending.done():
            if _listens(self.socket_path):
                return True
            await asyncio.wait([ending], timeout=0.005)
        return False

    async def _watch(self, ending: asyncio.Future[Exit], start: int = 0) -> None:
        """Tell its state lines from byte `start` on as they come, and its end."""
        self._told = start
        done = False
        while not done:
            done = ending.done()
            self._tell()
            if not done:
                await asyncio.wait([ending], timeout=STATE_INTERVAL_SECONDS)
        self._ended(ending.result())

    def _tell(self) -> None:
        """Tell the state lines that came since and are whole."""
        with contextlib.suppress(FileNotFoundError), self.state_path.open("rb") as stream:
            stream.seek(self._told)
            lines = stream.read()
            whole = lines[: lines.rfind(b"\n") + 1]
            self._told += len(whole)
            for line in whole.splitlines():
                with contextlib.suppress(ValueError):
                    state = json.loads(line)
                    if isinstance(state, dict):
                        self._on_state(self._texts.kept(state) if self._texts else state)

    def _ended(self, exit_: Exit) -> None:
        self._pid = None
        if exit_.unseen:
            self._say(HostStatus("unknown", "the collector that started it is gone"))
        else:
            self._say(HostStatus("failed", f"the forwarder ended: {exit_}"))

    def _say(self, status: HostStatus) -> None:
        self.status = status
        self._on_status(status)


def _socket_path(runtime: Path) -> Path:
    """In `runtime`, or where that is too deep for a socket's address, in a folder of its own."""
    path = runtime / "host.sock"
    if len(os.fsencode(path)) < SOCKET_PATH_LIMIT:
        return path
    return Path(tempfile.mkdtemp(prefix="shimbench-")) / "host.sock"


def _listens(path: Path) -> bool:
    """Does somebody listen on this Unix socket? Asked of the kernel: a probe would be a client."""
    wanted = str(path)
    for row in Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]:
        fields = row.split(maxsplit=7)  # number, references, protocol, flags, type, state, inode, path
        if len(fields) == 8 and fields[7] == wanted and int(fields[3], 16) & LISTENING_FLAG:
            return True
    return False
