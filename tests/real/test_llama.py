"""llama.cpp's real CUDA backend on our own shim: from discovery to decoded tokens."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from calls import driver_calls, errors
from conftest import Consumer, Recorder

from workbench.native import NativePaths

DEVICE_LINE = "compute capability 8.0, VMM: "

# facts/model-run.md: what cudart 13.0 and ggml 0.25.1 call until the device line is printed.
DISCOVERY_13_0 = {
    "cuGetProcAddress_v2": 440,
    "cuDeviceGetAttribute": 113,
    "cuGetExportTable": 7,
    "cuDeviceGet": 2,
    "cuInit": 1,
    "cuDriverGetVersion": 1,
    "cuDeviceGetCount": 1,
    "cuDeviceGetName": 1,
    "cuDeviceTotalMem_v2": 1,
    "cuModuleGetLoadingMode": 1,
    "cuDeviceGetPCIBusId": 1,
    "cuMemGetAllocationGranularity": 1,
    "cuDeviceGetUuid": 1,
}
# The memory question that follows it (device line of our own), and what the runtime does at exit.
MEMORY_QUESTION = {
    "cuCtxGetCurrent": 2,
    "cuCtxGetDevice_v2": 2,
    "cuDevicePrimaryCtxRetain": 1,
    "cuCtxSetCurrent": 1,
    "cuMemGetInfo_v2": 1,
}
AT_EXIT = {"cuDevicePrimaryCtxRelease": 1}

# Names and tables that no driver of this version has, and the runtime's question which device is current
# before any context is.
NOT_FOUND, INVALID_CONTEXT = 500, 201
EXPECTED_ERRORS = {
    ("cuGetProcAddress_v2", NOT_FOUND),
    ("cuGetExportTable", NOT_FOUND),
    ("cuCtxGetDevice", INVALID_CONTEXT),
    ("cuCtxGetDevice_v2", INVALID_CONTEXT),
}


def test_discovery_on_our_shim_finds_the_device(
    llama: Consumer, native_paths: NativePaths, recorder: Recorder
) -> None:
    done = recorder.run(llama.command(native_paths, "--list-devices"), environment=llama.environment)
    assert done.status == 0, done.stderr
    assert any(line.startswith("ggml_cuda_init: found 1 CUDA devices") for line in done.log)
    assert any(line.startswith("  Device 0: ") and DEVICE_LINE in line for line in done.log)
    assert any(line.startswith("device CUDA0: ") for line in done.log)
    assert done.report["lost"] == 0


def test_discovery_with_cudart_13_0_takes_the_571_calls_that_were_recorded_elsewhere(
    llama_13: Consumer, native_paths: NativePaths, recorder: Recorder
) -> None:
    done = recorder.run(llama_13.command(native_paths, "--list-devices"), environment=llama_13.environment)
    calls = driver_calls(done.session, of_the_shim=False)
    assert sum(DISCOVERY_13_0.values()) == 571
    assert calls == {**DISCOVERY_13_0, **MEMORY_QUESTION, **AT_EXIT}


def test_a_tiny_model_runs_on_the_device_without_an_error(
    llama: Consumer, native_paths: NativePaths, tiny_model: Path, recorder: Recorder
) -> None:
    command = llama.command(native_paths, "--model", tiny_model, "--tokens", 8)
    done = recorder.run(command, environment=llama.environment)
    assert done.status == 0, done.stderr
    assert any("offloaded 5/5 layers to GPU" in line for line in done.log)
    assert any("CUDA0 model buffer size" in line for line in done.log)
    assert "decoded 8 tokens" in done.log
    assert not {call for call in errors(done.session) if call not in EXPECTED_ERRORS}
    assert done.report["lost"] == 0
    assert done.report["gpu_mode"] in ("gpu", "not-executed")


def test_decoding_settles_into_one_graph_launch_a_token(
    llama_13: Consumer, native_paths: NativePaths, tiny_model: Path, recorder: Recorder
) -> None:
    command = llama_13.command(native_paths, "--model", tiny_model, "--tokens", 8)
    calls = driver_calls(recorder.run(command, environment=llama_13.environment).session)
    # Captured once, at the second token; facts/model-run.md section 6.
    assert calls["cuStreamBeginCapture_v2"] == calls["cuGraphInstantiateWithFlags"] == 1
    assert calls["cuGraphLaunch"] == 7
    assert calls["cuMemcpyDtoHAsync_v2"] == 9


def test_both_builds_of_llama_cpp_say_the_same_on_the_cpu(
    llama_13: Consumer, llama_12: Consumer, native_paths: NativePaths, tiny_model: Path, tmp_path: Path
) -> None:
    """Our driver knows no header of theirs: what it sets and passes must still mean the same to both."""
    logits = []
    for llama in (llama_13, llama_12):
        dump = tmp_path / llama.name
        words = ["--model", tiny_model, "--gpu-layers", 0, "--tokens", 3, "--logits", dump]
        subprocess.run(llama.command(native_paths, *words), check=True, capture_output=True)
        logits.append(np.fromfile(dump, dtype=np.float32).reshape(4, 256))
    # On processors with AMX one of them rounds activations in other blocks than the other.
    np.testing.assert_allclose(logits[0], logits[1], atol=0.15)
    assert np.ptp(logits[0]) > 1


@pytest.mark.parametrize("version", ["12.4", "12.8", "12.9", "13.0", "13.5"])
def test_every_runtime_passes_its_self_test_on_our_shim(
    version: str, cudart: object, target_programs: Path, recorder: Recorder
) -> None:
    runtime = cudart(version) / f"libcudart.so.{version.split('.')[0]}"  # type: ignore[operator]
    done = recorder.run([str(target_programs / "probe"), str(runtime)])
    assert done.log == [
        "cudaGetDeviceCount: 0, no error, 1 devices",
        "cudaMemGetInfo: 0, no error, 8192 MiB",
        "cudaMalloc: 0, no error",
    ]
