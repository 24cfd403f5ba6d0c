"""NVIDIA's own runtimes, and llama.cpp on top of them, start under our shim."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.patience import PATIENCE_SECONDS
from workbench import native

if TYPE_CHECKING:
    from conftest import Consumer

RUNTIMES = ["12.4", "12.8", "12.9", "13.0", "13.5"]

LINE_98 = (
    "ggml_cuda_init: failed to initialize CUDA: API call is not supported in the installed CUDA driver\n"
)

USE_RUNTIME = """
import ctypes, sys
from ctypes import byref, c_int, c_size_t, c_void_p, create_string_buffer
runtime = ctypes.CDLL(sys.argv[1])
runtime.cudaGetErrorString.restype = ctypes.c_char_p
def check(name, *arguments):
    result = getattr(runtime, name)(*arguments)
    if result:
        print(name, result, runtime.cudaGetErrorString(result).decode())
        sys.exit(0)
count, free, total, pointer = c_int(), c_size_t(), c_size_t(), c_void_p()
properties = create_string_buffer(4096)
check("cudaGetDeviceCount", byref(count))
check("cudaGetDeviceProperties_v2" if hasattr(runtime, "cudaGetDeviceProperties_v2") else
      "cudaGetDeviceProperties", properties, 0)
check("cudaMemGetInfo", byref(free), byref(total))
check("cudaMalloc", byref(pointer), c_size_t(1 << 20))
there, back = create_string_buffer(b"there and back"), create_string_buffer(32)
check("cudaMemcpy", pointer, there, c_size_t(15), 1)
check("cudaMemcpy", back, pointer, c_size_t(15), 2)
check("cudaFree", pointer)
check("cudaDeviceSynchronize")
check("cudaDeviceReset")
print(count.value, properties.value.decode(), total.value, back.value.decode())
"""


def library_in(folder: Path) -> Path:
    return next(iter(folder.glob("libcudart.so.*")))


def use_runtime(library: Path, shim: Path, environment: dict[str, str]) -> str:
    """What a program that links to this libcudart sees under the libcuda.so.1 in `shim`."""
    done = subprocess.run(
        [sys.executable, "-c", USE_RUNTIME, str(library)],
        env={**os.environ, "LD_LIBRARY_PATH": str(shim), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    return done.stdout.strip()


@pytest.fixture
def shim_without_export_tables(native_paths: native.NativePaths, tmp_path: Path) -> Path:
    """A folder with our libcuda.so.1, in which cuGetExportTable has another name everywhere."""
    library = (native_paths.lib / "libcuda.so.1").read_bytes()
    assert library.count(b"cuGetExportTable\0") >= 2  # as a symbol, and for cuGetProcAddress
    (tmp_path / "libcuda.so.1").write_bytes(library.replace(b"cuGetExportTable\0", b"cuGetExportTablX\0"))
    return tmp_path


@pytest.mark.parametrize("version", RUNTIMES)
def test_each_runtime_finds_the_device_and_uses_its_memory(
    version: str, cudart: Callable[[str], Path], native_paths: native.NativePaths, shim_host: dict[str, str]
) -> None:
    seen = use_runtime(library_in(cudart(version)), native_paths.lib, shim_host)
    assert seen == f"1 shimbench software GPU {8 << 30} there and back"


@pytest.mark.parametrize("version", RUNTIMES)
def test_without_cugetexporttable_each_runtime_wants_a_newer_driver(
    version: str,
    cudart: Callable[[str], Path],
    shim_without_export_tables: Path,
    shim_host: dict[str, str],
) -> None:
    seen = use_runtime(library_in(cudart(version)), shim_without_export_tables, shim_host)
    assert seen == "cudaGetDeviceCount 36 API call is not supported in the installed CUDA driver"


@pytest.mark.parametrize("version", RUNTIMES)
def test_without_a_host_each_runtime_says_that_the_system_is_not_ready(
    version: str, cudart: Callable[[str], Path], native_paths: native.NativePaths, tmp_path: Path
) -> None:
    environment = {"SHIMBENCH_HOST": f"unix:{tmp_path}/nobody.sock"}
    seen = use_runtime(library_in(cudart(version)), native_paths.lib, environment)
    assert seen == "cudaGetDeviceCount 802 system not yet initialized"


def list_devices(llama: Consumer, paths: native.NativePaths, shim: Path, host: dict[str, str]) -> str:
    """What llama.cpp writes to stderr while it looks for devices."""
    major = llama.cudart_version.split(".")[0]
    cublas = [paths.lib / f"{name}.so.{major}" for name in ("libcublas", "libcublasLt")]
    environment = {
        **os.environ,
        **llama.environment,
        **host,
        "LD_LIBRARY_PATH": f"{shim}:{llama.environment['LD_LIBRARY_PATH']}",
        "LD_PRELOAD": ":".join(map(str, cublas)),
    }
    command = llama.command(paths, "--list-devices")
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    ).stderr


def test_llama_cpp_finds_the_device(
    llama: Consumer, native_paths: native.NativePaths, shim_host: dict[str, str]
) -> None:
    log = list_devices(llama, native_paths, native_paths.lib, shim_host)
    assert "ggml_cuda_init: found 1 CUDA devices (Total VRAM: 8192 MiB):\n" in log
    device = "  Device 0: shimbench software GPU, compute capability 8.0, VMM: yes, VRAM: 8192 MiB\n"
    assert device in log


def test_llama_cpp_prints_98_bytes_without_cugetexporttable(
    llama: Consumer,
    native_paths: native.NativePaths,
    shim_without_export_tables: Path,
    shim_host: dict[str, str],
) -> None:
    assert len(LINE_98) == 98
    assert LINE_98 in list_devices(llama, native_paths, shim_without_export_tables, shim_host)
