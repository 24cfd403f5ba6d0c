"""Launching puts our libraries first; stopping leaves nothing of the target behind."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.patience import reached
from workbench.loop.launch import listening_ports, marked_processes, stop_target, target_environment
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


def test_what_the_user_and_the_configuration_gave_stays_behind_ours() -> None:
    seen: dict[str, str] = {}

    def add_libraries(inherited: Mapping[str, str]) -> Mapping[str, str]:
        seen.update(inherited)
        return {"LD_LIBRARY_PATH": f"/run/lib:{inherited['LD_LIBRARY_PATH']}"}

    environment = target_environment(
        {"LD_LIBRARY_PATH": "/users", "HOME": "/root"},
        {"LD_LIBRARY_PATH": "/configured", "A": "1"},
        "session#1",
        add_libraries,
    )
    assert seen["LD_LIBRARY_PATH"] == "/configured"
    assert environment == {
        "LD_LIBRARY_PATH": "/run/lib:/configured",
        "HOME": "/root",
        "A": "1",
        "SHIMBENCH_RUN": "session#1",
    }


async def test_stopping_ends_strays_of_other_sessions_and_frees_the_port(tmp_path: Path) -> None:
    spawner, mark, ready = LocalSpawner(), f"{tmp_path}#1", tmp_path / "ready"
    environment = target_environment(os.environ, {}, mark, dict)
    argv = [sys.executable, "-c", SERVER_WITH_STRAY, str(ready)]
    pid = spawner.spawn(argv, environment, tmp_path, "target", 1)
    await reached(lambda: ready.exists() and ready.read_text().count("\n") == 2, "both of them listen")
    rows = [tuple(map(int, line.split())) for line in ready.read_text().splitlines()]
    stray = next(number for number, _ in rows if number != pid)
    port = rows[0][1]
    assert os.getpgid(stray) != os.getpgid(pid)
    assert {pid, stray} <= set(marked_processes(mark))
    assert listening_ports([stray]) == {port}
    ended = await stop_target(spawner, pid, mark, patience=0.1)
    assert ended.signal == 9
    assert stray not in marked_processes(mark)
    socket.create_server(("127.0.0.1", port)).close()
