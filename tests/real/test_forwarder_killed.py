"""SIGKILL to the forwarder, or to a client's worker, in the middle of a run: what the session then holds."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder

from sessions import Session, SessionError, open_session

#: Asks the device until that fails, then three times more; prints how often it asked, and the last answer.
ASKING = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
assert cuda.cuInit(0) == 0 and cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
asked = 1
while (result := cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))) == 0:
    asked += 1
for _ in range(3):
    assert cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == result
print(asked + 3, result)
"""


def asking(path: Path) -> Session | None:
    """The session, once its target asks."""
    try:
        session = open_session(path)
    except SessionError:
        return None
    return session if len(session.calls) > 1000 else None


@pytest.mark.parametrize("killed", ["forwarder", "worker"])
def test_no_call_is_lost_when_the_forwarder_is_killed(
    killed: str, recorder: Recorder, until: Callable[..., Any]
) -> None:
    shimbench, path = recorder.start([sys.executable, "-c", ASKING])
    session = until(lambda: asking(path), "a target that asks")
    [host] = [process.pid for process in session.processes if process.role == "host"]
    workers = Path(f"/proc/{host}/task/{host}/children").read_text().split()
    for pid in [host] if killed == "forwarder" else map(int, workers):
        os.kill(pid, signal.SIGKILL)
    assert until(lambda: shimbench.poll() is not None, "the end of the run") and shimbench.returncode == 0
    session = open_session(path)
    lines = session.log.lines(0, len(session.log))
    [said] = [line.text.decode().split() for line in lines if line.stream == "stdout"]
    name = session.schema.function_name
    calls = map(session.calls.row, range(len(session.calls)))
    asked = [row.result for row in calls if name(row.function) == "cuMemGetInfo_v2"]
    assert len(asked) == int(said[0])
    assert asked[-4:] == [int(said[1])] * 4 and not any(asked[:-4])
    assert session.lost == 0
