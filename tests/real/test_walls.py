"""Walls that no call of the driver shows: libraries, addresses, devices that only count."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Consumer, Recorder

from workbench.native import NativePaths


def first(report: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = report["diagnosis"][0]
    assert found["consequence_of"] is None and found["evidence"]
    return found


@pytest.mark.meets("link-time-symbol-missing")
def test_a_backend_that_links_against_what_a_shim_does_not_export(
    proxy_shim: Callable[[str], Path], llama: Consumer, native_paths: NativePaths, recorder: Recorder
) -> None:
    directory = proxy_shim("NONE")  # it has nothing of the virtual memory functions
    major = llama.cudart_version.partition(".")[0]
    names = (f"libcublas.so.{major}", f"libcublasLt.so.{major}")
    lines = [f'"{name}" = "{native_paths.lib / name}"' for name in names]
    with (directory / "shimbench.toml").open("a") as configuration:
        configuration.write("\n".join(lines) + "\n")
    command = llama.command(native_paths, "--list-devices")
    done = recorder.run(command, directory, environment=llama.environment)
    found = first(done.report)
    assert (found["rule"], found["certainty"]) == ("link-time-symbol-missing", "proved")
    assert "cuMem" in found["what"]


@pytest.mark.meets("library-not-found")
def test_a_backend_whose_cublas_is_nowhere(
    proxy_shim: Callable[[str], Path], llama: Consumer, native_paths: NativePaths, recorder: Recorder
) -> None:
    command = llama.command(native_paths, "--list-devices")
    done = recorder.run(command, proxy_shim("NONE"), environment=llama.environment)
    found = first(done.report)
    assert (found["rule"], found["certainty"]) == ("library-not-found", "proved")
    assert f"libcublas.so.{llama.cudart_version.partition('.')[0]}" in found["what"]


@pytest.mark.meets("launches-not-executed")
def test_a_forwarder_that_only_counts_launches(
    llama: Consumer, native_paths: NativePaths, tiny_model: Path, recorder: Recorder, tmp_path: Path
) -> None:
    directory = tmp_path / "counting"
    directory.mkdir()
    run = json.dumps(f"{native_paths.host} --device count-only")
    (directory / "shimbench.toml").write_text(f"[host]\nrun = {run}\n")
    command = llama.command(native_paths, "--model", tiny_model, "--repeat", 1)
    done = recorder.run(command, directory, environment=llama.environment)
    assert done.report["gpu_mode"] == "not-executed"
    assert [found["rule"] for found in done.report["diagnosis"]] == ["launches-not-executed"]


@pytest.mark.meets("port-taken")
def test_a_server_whose_port_is_taken(recorder: Recorder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
        done = recorder.run(command)
    assert done.status != 0
    assert (first(done.report)["rule"], first(done.report)["certainty"]) == ("port-taken", "proved")


@pytest.mark.meets("other-driver-mapped")
@pytest.mark.parametrize("version", ["12.9", "13.0"])
def test_a_process_that_takes_another_driver_than_the_one_that_was_built(
    version: str,
    foreign_shim: Callable[..., Path],
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
    tmp_path: Path,
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    build = foreign_shim() / "build"
    shutil.copy(build / "libvgpu-cuda.so", other / "libcuda.so.1")
    shutil.copy(build / "libvgpu-common.so", other)
    probe = f"{target_programs}/probe {cudart(version)}/libcudart.so.{version.partition('.')[0]}"
    done = recorder.run(["sh", "-c", f"LD_LIBRARY_PATH={other}:{build}:$LD_LIBRARY_PATH {probe}; sleep 1"])
    assert "cudaMalloc: 0, no error" in done.log
    assert first(done.report)["rule"] == "other-driver-mapped"
