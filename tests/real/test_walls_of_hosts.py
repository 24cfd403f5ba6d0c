"""Forwarders that are not there, are of another build, or die, and a runtime that nobody shimmed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE_SECONDS, Recorder
from test_walls_at_work import BOTH, DOUBLES, WITH_LIBRARIES, Runtimes, first, runtime, source

from sessions import SessionError, open_session
from workbench.diagnosis import diagnose
from workbench.native import NativePaths

#: A cuBLAS as NVIDIA's are: with a CUDA runtime linked into it, here the real one of a package.
CUBLAS = """
int cudaFree(void *);
int cublasCreate_v2(void **handle) { *handle = handle; return cudaFree(0) == 0 ? 0 : 1; }
"""
#: A program that asks its runtime, then cuBLAS, as ggml does.
CUBLAS_USER = """
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **words)
{
    void *cublas = count > 1 ? dlopen(words[1], RTLD_NOW) : NULL, *handle;
    int (*create)(void **) = cublas ? (int (*)(void **))dlsym(cublas, "cublasCreate_v2") : NULL;
    puts(create && create(&handle) == 0 ? "cuBLAS is there" : "cuBLAS error: CUBLAS_STATUS_NOT_INITIALIZED");
    return 0;
}
"""


def with_forwarder(directory: Path, program: bytes, arguments: str = "") -> Path:
    """A folder whose shimbench.toml runs this program as our shim's forwarder."""
    directory.mkdir()
    path = directory / "forwarder"
    path.write_bytes(program)
    path.chmod(0o755)
    run = json.dumps(f"./forwarder {arguments}".strip())
    (directory / "shimbench.toml").write_text(f"[host]\nrun = {run}\n")
    return directory


def probe(programs: Path, runtimes: Runtimes, version: str) -> list[str]:
    return [str(programs / "probe"), runtime(runtimes, version)]


@pytest.mark.meets("host-not-started")
@pytest.mark.parametrize("program", ["can not be executed", "is not there"])
def test_a_forwarder_that_is_never_started_is_a_wall_by_itself(
    program: str, cudart: Runtimes, target_programs: Path, recorder: Recorder, tmp_path: Path
) -> None:
    directory = with_forwarder(tmp_path / "host", b"#!/no/such/interpreter\n")
    if program == "is not there":
        (directory / "forwarder").unlink()
    # No process of the target comes to be, so any runtime will do.
    found = first(recorder.run(probe(target_programs, cudart, "13.0"), directory).report)
    assert (found["rule"], found["certainty"]) == ("host-not-started", "proved")
    assert "forwarder" in found["cause"]


@pytest.mark.meets("host-died")
@BOTH
def test_a_forwarder_that_ends_at_once_died_and_the_shim_without_it_is_a_consequence(
    version: str, cudart: Runtimes, target_programs: Path, recorder: Recorder, tmp_path: Path
) -> None:
    directory = with_forwarder(tmp_path / "host", b"#!/bin/sh\necho no device node >&2\nexit 3\n")
    done = recorder.run(probe(target_programs, cudart, version), directory)
    found = first(done.report)
    assert (found["rule"], "exit status 3" in found["cause"]) == ("host-died", True)
    assert any("no device node" in piece["text"] for piece in found["evidence"])
    assert [each["rule"] for each in done.report["diagnosis"][1:]] == ["host-unreachable"]


@pytest.mark.meets("host-unreachable")
@BOTH
def test_a_forwarder_that_does_not_listen_is_not_reached(
    version: str,
    cudart: Runtimes,
    target_programs: Path,
    recorder: Recorder,
    tmp_path: Path,
    native_paths: NativePaths,
) -> None:
    elsewhere = f"--socket {tmp_path / 'elsewhere.sock'}"
    directory = with_forwarder(tmp_path / "host", native_paths.host.read_bytes(), elsewhere)
    found = first(recorder.run(probe(target_programs, cudart, version), directory).report)
    assert (found["rule"], found["certainty"]) == ("host-unreachable", "proved")


@pytest.mark.meets("host-stale")
@BOTH
def test_a_forwarder_of_another_build_is_stale(
    version: str,
    cudart: Runtimes,
    target_programs: Path,
    recorder: Recorder,
    tmp_path: Path,
    native_paths: NativePaths,
) -> None:
    header = (native_paths.host.parent.parent / "api" / "protocol_hash.h").read_text()
    [ours] = re.findall(r'PROTOCOL_HASH "(\w+)"', header)
    other = native_paths.host.read_bytes().replace(ours.encode(), ours[::-1].encode())
    directory = with_forwarder(tmp_path / "host", other, "--device soft")
    found = first(recorder.run(probe(target_programs, cudart, version), directory).report)
    assert (found["rule"], found["certainty"]) == ("host-stale", "proved")
    assert f"host speaks protocol {ours[::-1][:6]}, this shim {ours[:6]}" in found["cause"]


@pytest.mark.meets("host-died")
@WITH_LIBRARIES
def test_a_forwarder_that_is_killed_under_a_running_kernel_program_died(
    version: str,
    cudart: Runtimes,
    target_programs: Path,
    recorder: Recorder,
    tmp_path: Path,
    until: Callable[..., Any],
) -> None:
    rounds = 1_000_000
    words = [
        str(target_programs / "kernel"),
        runtime(cudart, version),
        source(tmp_path, DOUBLES),
        str(rounds),
    ]
    shimbench, path = recorder.start(words)

    def launching() -> int | None:
        try:
            session = open_session(path)
        except SessionError:
            return None
        hosts = [process.pid for process in session.processes if process.role == "host"]
        return hosts[0] if hosts and len(session.calls) > 1000 else None

    os.kill(until(launching, "launches"), signal.SIGKILL)
    assert shimbench.wait(PATIENCE_SECONDS) != 0
    found, *others = diagnose(open_session(path))
    assert (found.rule, found.certainty) == ("host-died", "proved")
    assert "signal 9" in found.cause
    assert all(other.consequence_of == "host-died" for other in others)


@pytest.mark.meets("cudart-shim-bypassed")
@pytest.mark.parametrize("version", ["12.9", "13.0"])
def test_cublas_with_a_runtime_of_its_own_passes_by_a_shim_of_the_runtime(
    version: str, proxy_shim: Callable[[str], Path], cudart: Runtimes, recorder: Recorder, tmp_path: Path
) -> None:
    major, folder = version.partition(".")[0], cudart(version)
    directory = proxy_shim("NO_TABLES")
    cublas = tmp_path / f"libcublas.so.{major}"
    static = [str(folder / "libcudart_static.a"), "-ldl", "-lrt", "-lpthread"]
    words = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{cublas.name}", "-x", "c", "-", "-x", "none", *static]
    subprocess.run([*words, "-o", str(cublas)], input=CUBLAS.encode(), check=True)
    words = ["cc", "-x", "c", "-", "-o", str(tmp_path / "user"), "-ldl"]
    subprocess.run(words, input=CUBLAS_USER.encode(), check=True)
    with (directory / "shimbench.toml").open("a") as configuration:
        configuration.write(f'"libcudart.so.{major}" = "{folder}/libcudart.so.{major}"\n')
    done = recorder.run([str(tmp_path / "user"), str(cublas)], directory)
    assert "cuBLAS error: CUBLAS_STATUS_NOT_INITIALIZED" in done.log
    rules = {each["rule"]: each for each in done.report["diagnosis"]}
    assert rules["cudart-shim-bypassed"]["certainty"] == "proved", rules
    assert cublas.name in rules["cudart-shim-bypassed"]["cause"]
