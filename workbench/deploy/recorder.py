"""Records a unit until it is told to end: the collector its processes register with, its journal, and the
forwarder its shim talks to. Runs in a process of its own, `shimbench systemd record`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.deploy.journal import JournalLine, JournalReader
from workbench.deploy.unit import Scope, is_known
from workbench.loop.host import HostForwarder
from workbench.loop.processes import CollectorSpawner
from workbench.loop.status import HostStatus
from workbench.tap.collector import Collector, CollectorError

RUN = 1
LARGEST_ENTRY = 64 << 20


async def record(plan: Mapping[str, Any], on_ready: Callable[[], None]) -> None:
    """`plan` is the manifest that `install` wrote. Returns after SIGTERM or SIGINT, the session sealed."""
    from workbench import native

    scope, session = Scope(plan["user_manager"]), Path(plan["session"])
    collector = Collector.start(
        session,
        native.paths().model,
        idle_exit=False,
        sockets=Path(plan["sockets"]),
        user=plan["uid"],
        run=RUN,
    )
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    spawner = CollectorSpawner(collector, lambda text: ending.set())
    spawner.start()

    def tell_status(status: HostStatus) -> None:
        if status.state == "failed":
            collector.event("host", state="failed", detail=status.detail)

    def tell_state(state: Mapping[str, Any]) -> None:
        collector.event("host", **{key: value for key, value in state.items() if key != "kind"})

    host = HostForwarder(
        spawner,
        Path(plan["directory"]),
        Path(plan["host_runtime"]),
        tell_status,
        tell_state,
        keep=collector.blob,
    )
    began = time.time()
    try:
        if plan["host_command"]:
            await host.ensure(_as_user(plan["host_command"], plan["uid"], plan["gid"]), RUN)
        collector.event("run", **plan["run"])
        reader = JournalReader()
        following = asyncio.create_task(_follow(scope, plan["unit"], began, reader, collector))
        on_ready()
        await ending.wait()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await asyncio.to_thread(_rest, scope, plan["unit"], began, reader, collector)
        with contextlib.suppress(CollectorError):
            collector.event("run-end", run=RUN, exit_code=None, signal=None, reason="removed")
    finally:
        await host.stop()
        spawner.stop()
        with contextlib.suppress(CollectorError):
            await asyncio.to_thread(collector.close)


def _as_user(words: list[str], uid: int, gid: int) -> list[str]:
    """The forwarder serves its own user's processes alone, so it runs as the unit's."""
    if uid == os.geteuid():
        return words
    setpriv = shutil.which("setpriv") or "setpriv"
    groups = "--init-groups" if is_known(uid) else "--clear-groups"  # a dynamic user stands in no list
    return [setpriv, f"--reuid={uid}", f"--regid={gid}", groups, "--", *words]


async def _follow(scope: Scope, unit: str, began: float, reader: JournalReader, collector: Collector) -> None:
    words = [*scope.journalctl(unit), "--follow", "--no-tail", f"--since=@{began:.6f}"]
    journal = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL, limit=LARGEST_ENTRY
    )
    assert journal.stdout is not None
    try:
        async for row in journal.stdout:
            for line in reader.feed(row):
                _tell(collector, line)
    finally:
        with contextlib.suppress(ProcessLookupError):
            journal.kill()
        await journal.wait()


def _rest(scope: Scope, unit: str, began: float, reader: JournalReader, collector: Collector) -> None:
    """What was written since the last entry that was followed, up to now."""
    subprocess.run(["journalctl", "--sync"], capture_output=True, check=False)
    since = f"--after-cursor={reader.cursor}" if reader.cursor else f"--since=@{began:.6f}"
    done = subprocess.run([*scope.journalctl(unit), since], capture_output=True, check=False)
    with contextlib.suppress(CollectorError):
        for row in done.stdout.splitlines():
            for line in reader.feed(row):
                _tell(collector, line)
        for line in reader.finish():
            _tell(collector, line)


def _tell(collector: Collector, line: JournalLine) -> None:
    stream = "stderr" if line.error else "stdout"
    collector.line(line.text + b"\n", stream=stream, role="target", pid=line.pid)


def read_plan(path: Path) -> dict[str, Any]:
    """The manifest; raises OSError, ValueError."""
    document: dict[str, Any] = json.loads(path.read_text())
    return document
