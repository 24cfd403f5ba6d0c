"""Walls on the way to a device, and NVML beside the driver, under runtimes 12.x and 13.x."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Consumer, Recorder
from test_walls_at_work import BOTH, WITH_LIBRARIES, MakeShim, Runtimes, first, runtime, source

from workbench.native import NativePaths

#: How NVML is broken -> the rule, how sure, and a word of its cause.
NVML_BROKEN = {
    "NVML_INIT": ("nvml-init-fails", "proved", "NVML_ERROR_DRIVER_NOT_LOADED"),
    "NVML_OLD": ("nvml-inconsistent", "likely", "driver 470.82.01, but CUDA 13.0 came with driver 580"),
    "NVML_OTHER": ("nvml-inconsistent", "proved", "NVML says CUDA 12.4, cuDriverGetVersion 13.0"),
    "NVML_NO_DEVICE": ("nvml-inconsistent", "proved", "CUDA counts 1 devices, NVML 0"),
}
#: A program that asks the runtime for its devices and NVML for the driver, by nvidia-ml-py.
BOTH_LIBRARIES = """
import ctypes, sys, pynvml
count = ctypes.c_int()
print("devices", ctypes.CDLL(sys.argv[1]).cudaGetDeviceCount(ctypes.byref(count)), count.value)
try:
    pynvml.nvmlInit()
    versions = pynvml.nvmlSystemGetDriverVersion(), pynvml.nvmlSystemGetCudaDriverVersion_v2()
    print(*versions, pynvml.nvmlDeviceGetCount())
except pynvml.NVMLError as error:
    print("NVML:", error)
"""


def both_libraries(runtimes: Runtimes, version: str) -> list[str]:
    return [sys.executable, "-c", BOTH_LIBRARIES, runtime(runtimes, version)]


@pytest.mark.parametrize(
    ("fault", "version"),
    [
        pytest.param(fault, version, marks=pytest.mark.meets(NVML_BROKEN[fault][0]))
        for fault in NVML_BROKEN
        for version in ("12.4", "13.0")
    ],
)
def test_nvml_that_does_not_go_with_the_driver_is_told(
    fault: str, version: str, foreign_shim: MakeShim, cudart: Runtimes, recorder: Recorder
) -> None:
    done = recorder.run(both_libraries(cudart, version), foreign_shim(FAULT=fault))
    assert "devices 0 1" in done.log
    found = first(done.report)
    rule, certainty, word = NVML_BROKEN[fault]
    assert (found["rule"], found["certainty"]) == (rule, certainty)
    assert word in found["cause"]


@BOTH
def test_no_rule_speaks_about_nvml_that_goes_with_the_driver(
    version: str, foreign_shim: MakeShim, cudart: Runtimes, recorder: Recorder
) -> None:
    done = recorder.run(both_libraries(cudart, version), foreign_shim())
    assert "580.95.05 13000 1" in done.log
    assert done.report["diagnosis"] == []


@pytest.mark.meets("nvml-absent")
@BOTH
def test_nvml_that_nobody_built_is_absent(
    version: str, proxy_shim: MakeShim, cudart: Runtimes, recorder: Recorder
) -> None:
    done = recorder.run(both_libraries(cudart, version), proxy_shim("NONE"))
    found = first(done.report)
    assert (found["rule"], found["certainty"]) == ("nvml-absent", "proved")


@pytest.mark.meets("pci-id-missing")
@pytest.mark.parametrize(("fault", "certainty"), [("PCI_EMPTY", "likely"), ("PCI_FAILS", "proved")])
def test_a_device_without_a_pci_address_is_told_when_a_real_backend_asks(
    fault: str,
    certainty: str,
    foreign_shim: MakeShim,
    llama: Consumer,
    native_paths: NativePaths,
    recorder: Recorder,
) -> None:
    command = llama.command(native_paths, "--list-devices")
    done = recorder.run(command, foreign_shim(FAULT=fault), environment=llama.environment)
    found = first(done.report)
    assert (found["rule"], found["certainty"]) == ("pci-id-missing", certainty)


@pytest.mark.meets("capability-not-in-archs")
def test_a_device_that_is_older_than_all_that_a_real_backend_was_compiled_for(
    foreign_shim: MakeShim, llama: Consumer, native_paths: NativePaths, recorder: Recorder
) -> None:
    command = llama.command(native_paths, "--list-devices")
    done = recorder.run(command, foreign_shim(FAULT="CAPABILITY_LOW"), environment=llama.environment)
    assert any("CUDA : ARCHS = 750" in line for line in done.log)
    found = first(done.report)
    assert (found["rule"], found["certainty"]) == ("capability-not-in-archs", "proved")
    assert "compute capability 3.5; the library is compiled for 7.5" in found["cause"]


@pytest.mark.meets("hook-buffers-too-small")
@pytest.mark.parametrize("version", ["12.8", "13.5"])
def test_buffers_of_hooks_that_are_too_small_are_no_empty_slots(
    version: str, foreign_shim: MakeShim, cudart: Runtimes, target_programs: Path, recorder: Recorder
) -> None:
    # The runtime tells error 35, and dies by itself in a later call all the same.
    words = [str(target_programs / "probe"), runtime(cudart, version)]
    found = first(recorder.run(words, foreign_shim(FAULT="HOOKS_SMALL")).report)
    assert (found["rule"], "slots [2]" in found["cause"]) == ("hook-buffers-too-small", True)


@pytest.mark.meets("name-missing")
@pytest.mark.meets("version-without-its-symbols")
@WITH_LIBRARIES
def test_a_function_that_is_missed_at_work_is_told_with_the_version_that_promised_it(
    version: str,
    foreign_shim: MakeShim,
    cudart: Runtimes,
    target_programs: Path,
    recorder: Recorder,
    tmp_path: Path,
) -> None:
    words = [str(target_programs / "kernel"), runtime(cudart, version), source(tmp_path)]
    done = recorder.run(words, foreign_shim(EXCEPT="cuLibraryLoadData"))
    assert "API call is not supported in the installed CUDA driver" in done.log[0]
    missing, claimed = done.report["diagnosis"]
    assert (missing["rule"], claimed["rule"]) == ("name-missing", "version-without-its-symbols")
    assert all("cuLibraryLoadData" in found["cause"] for found in (missing, claimed))


@pytest.mark.meets("name-missing")
@BOTH
def test_a_way_to_resolve_that_does_not_know_itself(
    version: str,
    proxy_shim: Callable[[str], Path],
    cudart: Runtimes,
    target_programs: Path,
    recorder: Recorder,
) -> None:
    words = [str(target_programs / "probe"), runtime(cudart, version)]
    found = first(recorder.run(words, proxy_shim("NO_WAY_TO_RESOLVE")).report)
    assert found["rule"] == "name-missing"
    assert "asked it for itself, and was not answered" in found["cause"]
