"""Launching puts our libraries first; stopping leaves nothing of the target behind."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

from workbench.loop.launch import compose_environment, listening_ports, marked_processes, stop_target
from workbench.loop.processes import LocalSpawner

SERVER_WITH_STRAY = """
import os, signal, socket, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
with open(sys.argv[1], "a") as ready:
    print(os.getpid(), listener.getsockname()[1], file=ready, flush=True)
while True:
    time.sleep(1)
"""


def test_what_the_user_gave_stays_behind_ours() -> None:
    environment = compose_environment(
        {"LD_LIBRARY_PATH": "/users", "HOME": "/root"},
        {"LD_PRELOAD": "/configured.so", "A": "1"},
        [Path("/run/tap"), Path("/run/lib")],
        [Path("/run/tap/preload.so")],
        "session#1",
    )
    assert environment["LD_LIBRARY_PATH"] == "/run/tap:/run/lib:/users"
    assert environment["LD_PRELOAD"] == "/run/tap/preload.so:/configured.so"
    assert environment["SHIMBENCH_RUN"] == "session#1" and environment["A"] == "1"


def test_nothing_to_preload_sets_nothing() -> None:
    assert "LD_PRELOAD" not in compose_environment({}, {}, [Path("/lib")], [], "m")


async def test_stopping_ends_strays_of_other_sessions_and_frees_the_port(tmp_path: Path) -> None:
    spawner, mark, ready = LocalSpawner(), f"{tmp_path}#1", tmp_path / "ready"
    environment = compose_environment(dict(os.environ), {}, [], [], mark)
    argv = [sys.executable, "-c", SERVER_WITH_STRAY, str(ready)]
    pid = spawner.spawn(argv, environment, tmp_path, "target", 1)
    async with asyncio.timeout(10):
        while not ready.exists() or len(ready.read_text().splitlines()) < 2:
            await asyncio.sleep(0.01)
    rows = [tuple(map(int, line.split())) for line in ready.read_text().splitlines()]
    stray = next(number for number, _ in rows if number != pid)
    port = rows[0][1]
    assert os.getpgid(stray) != os.getpgid(pid)
    assert {pid, stray} <= set(marked_processes(mark))
    assert ("127.0.0.1", port) in listening_ports([stray])
    ended = await stop_target(spawner, pid, mark, patience=0.1)
    assert ended.signal == 9
    assert stray not in marked_processes(mark)
    socket.create_server(("127.0.0.1", port)).close()
