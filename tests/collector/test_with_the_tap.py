"""The collector and the real tap: one target that forks, execs and is killed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from sessions import Pseudo, open_session
from tests.collector.conftest import Bench
from workbench.native import NativePaths
from workbench.tap import rundir
from workbench.tap.collector import Collector

TARGET = """
import ctypes, os
driver = ctypes.CDLL("libcuda.so.1")
version = ctypes.c_int()
driver.cuDriverGetVersion(ctypes.byref(version))
print("parent", flush=True)
if os.fork() == 0:
    driver.cuDriverGetVersion(ctypes.byref(version))
    print("child", flush=True)
    os.execvp("sh", ["sh", "-c", "echo image; kill -9 $$"])
os.wait()
os.write(1, b"last words")
"""


def test_a_target_its_fork_and_what_that_becomes_are_three_processes(
    bench: Bench, native_paths: NativePaths, tmp_path: Path
) -> None:
    directory = tmp_path / "with-model"
    with Collector.start(directory, native_paths.model, program=native_paths.collector) as collector:
        run = tmp_path / "run"
        run.mkdir()
        shim = {"libcuda.so.1": native_paths.lib / "libcuda.so.1"}
        env = dict(os.environ) | rundir.make_run_directory(run, native_paths, shim, collector.socket_path)
        bench.collector, kept = collector, bench.collector
        pid = collector.spawn([sys.executable, "-c", TARGET], env, tmp_path, "target", 4)
        bench.wait(pid)
        bench.collector = kept
    session = open_session(directory)
    parent, child, image = session.processes
    assert (parent.pid, parent.exit_code, parent.run) == (pid, 0, 4)
    assert (child.pid, child.parent_index, image.parent_index) == (image.pid, 0, 1)
    assert (image.signal, image.run) == (signal.SIGKILL, 4)
    wanted = [(0, b"parent"), (1, b"child"), (2, b"image"), (0, b"last words")]
    lines = session.log.lines(0, len(session.log))
    assert [(line.process, line.text) for line in lines if line.stream == "stdout"] == wanted
    columns = session.calls.columns(0, len(session.calls), ["process", "function"])
    version = session.schema.function_id("cuDriverGetVersion")
    assert columns["process"][columns["function"] == version].tolist() == [0, 1]
    assert int(Pseudo.LOAD) in columns["function"].tolist()
    assert session.lost == 0 and session.damage == []
    assert "libcuda.so.1" in {mapping.soname for mapping in parent.maps}
