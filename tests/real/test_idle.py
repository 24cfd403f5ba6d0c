"""Hangs in which no call of the driver is under way, with real processes: who holds the lock, who polls."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder, looked_at

MakeShim = Callable[..., Path]
TIME_TO_SLEEP = 6.0
HELPER = """
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void wait_for_the_host(void)
{
    if (write(atoi(getenv("VGPU_LOADING")), "", 1) == 1)
        pause();
}
"""


@pytest.fixture
def looking(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of a shimbench that finds gdb on PATH, or finds none."""
    if request.param == "with gdb":
        return {}
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin")}


# Each under a runtime of each generation, with the debugger and without.
MET = pytest.mark.meets("hangs-outside-calls")
BOTH = pytest.mark.parametrize(
    ("looking", "version"), [("with gdb", "12.9"), ("without gdb", "13.0")], indirect=["looking"]
)


def library(path: Path, source: str) -> Path:
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(path)], input=source.encode(), check=True
    )
    return path


def idler(programs: Path, runtimes: Callable[[str], Path], version: str, *mode: object) -> list[str]:
    runtime = runtimes(version) / f"libcudart.so.{version.partition('.')[0]}"
    return [str(programs / "idler"), str(runtime), *map(str, mode)]


def only(report: dict[str, Any]) -> dict[str, Any]:
    [found] = [each for each in report["diagnosis"] if each["consequence_of"] is None]
    assert isinstance(found, dict)
    return found


@MET
@BOTH
def test_a_dlopen_that_waits_for_the_loaders_lock_is_told_with_the_thread_that_holds_it(
    looking: dict[str, str],
    version: str,
    foreign_shim: MakeShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
    tmp_path: Path,
) -> None:
    # A thread of the shim's own loads a library whose constructor never ends; the program loads another.
    environment = {**looking, "VGPU_HELPER": str(library(tmp_path / "libhelper.so", HELPER))}
    other = library(tmp_path / "libother.so", "int other;\n")
    command = idler(target_programs, cudart, version, "open", other)
    done = recorder.run(command, foreign_shim(FAULT="LOADER_LOCK"), environment=environment, until=looked_at)
    found = only(done.report)
    assert (found["rule"], found["certainty"]) == ("hangs-outside-calls", "proved"), found
    assert "loader's lock" in found["cause"]
    assert "wait_for_the_host in libhelper.so" in found["cause"]
    assert "after its last call" in found["cause"]


@MET
@BOTH
def test_two_threads_of_a_shim_that_wait_for_each_other_are_a_deadlock(
    looking: dict[str, str],
    version: str,
    proxy_shim: MakeShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
) -> None:
    command = idler(target_programs, cudart, version, "sleep")
    done = recorder.run(command, proxy_shim("DEADLOCK"), environment=looking, until=looked_at)
    found = only(done.report)
    assert (found["rule"], found["certainty"]) == ("hangs-outside-calls", "proved"), found
    assert "deadlock" in found["cause"]
    assert any("take_both" in piece["text"] for piece in found["evidence"])


@pytest.mark.meets("call-hangs")
@BOTH
def test_a_call_that_waits_for_a_lock_is_told_with_the_thread_that_keeps_it(
    looking: dict[str, str],
    version: str,
    proxy_shim: MakeShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
) -> None:
    command = idler(target_programs, cudart, version, "sleep")
    done = recorder.run(command, proxy_shim("KEPT_LOCK"), environment=looking, until=looked_at)
    found = only(done.report)
    assert (found["rule"], found["certainty"]) == ("call-hangs", "proved"), found
    assert "cuDeviceGetCount" in found["what"]
    assert "holds the lock and stands in" in found["cause"]
    assert "keep_the_device_lock" in found["cause"]


@MET
@pytest.mark.parametrize(
    ("mode", "looking", "version"),
    [
        ("flag", "with gdb", "12.9"),
        ("flag", "without gdb", "13.0"),
        ("spin", "with gdb", "13.0"),
        ("spin", "without gdb", "12.9"),
    ],
    indirect=["looking"],
)
def test_a_program_that_looks_for_the_end_of_a_copy_that_never_comes_is_told_to_poll(
    mode: str,
    version: str,
    looking: dict[str, str],
    proxy_shim: MakeShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
) -> None:
    command = idler(target_programs, cudart, version, mode)
    done = recorder.run(command, proxy_shim("LOST_COPY"), environment=looking, until=looked_at)
    assert "cudaMemcpyAsync: 0" in done.log
    found = only(done.report)
    assert (found["rule"], found["certainty"]) == ("hangs-outside-calls", "possible"), found
    assert "polls without a call" in found["cause"]
    assert any("cuMemcpyDtoHAsync" in piece["text"] for piece in found["evidence"])


def test_no_rule_speaks_about_a_copy_that_comes_nor_about_a_program_that_sleeps(
    proxy_shim: MakeShim, cudart: Callable[[str], Path], target_programs: Path, recorder: Recorder
) -> None:
    shim = proxy_shim("NONE")
    came = recorder.run(idler(target_programs, cudart, "13.0", "flag"), shim)
    assert "the copy came" in came.log
    assert came.report["diagnosis"] == []
    slept = recorder.run(idler(target_programs, cudart, "13.0", "sleep"), shim, timeout=TIME_TO_SLEEP)
    assert slept.report["diagnosis"] == []
