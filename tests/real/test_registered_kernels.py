"""Kernels that a program registers with its CUDA runtime, as nvcc's code does, from CUDA 11 on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CUDART, get_package

from tests.patience import PATIENCE_SECONDS
from workbench import native
from workbench.demo.consumer import Wheel

# Runtimes before 12.0 load modules through a table of cuGetExportTable, not by cuLibraryLoadData.
OLDER: dict[str, Wheel] = {
    version: Wheel(name, release, digest, "nvidia/cuda_runtime/lib")
    for version, name, release, digest in (
        (
            "11.7", "nvidia-cuda-runtime-cu11", "11.7.99",
            "cc768314ae58d2641f07eac350f40f99dcb35719c4faff4bc458a7cd2b119e31",
        ),
        (
            "11.8", "nvidia-cuda-runtime-cu11", "11.8.89",
            "92d04069a987e1fbc9213f8376d265df0f7bb42617d44f5eda1f496acea7f2d1",
        ),
        (
            "12.1", "nvidia-cuda-runtime-cu12", "12.1.105",
            "6e258468ddf5796e25f1dc591a31029fa317d97a0a94ed93468fc86301d61e40",
        ),
    )
}  # fmt: skip

PROGRAM = r"""
import ctypes, struct, sys
from ctypes import Structure, byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p

runtime = ctypes.CDLL(sys.argv[1])
register = {name: getattr(runtime, "__cudaRegister" + name) for name in
            ("FatBinary", "Function", "Var", "FatBinaryEnd")}
register["FatBinary"].restype = c_void_p
runtime.cudaGetErrorString.restype = c_char_p

def check(name, *arguments):
    result = getattr(runtime, name)(*arguments)
    if result:
        sys.exit(f"{name}: {result} {runtime.cudaGetErrorString(result).decode()}")

class Dim3(Structure):
    _fields_ = [("x", c_uint), ("y", c_uint), ("z", c_uint)]

def ptx_of(target):
    return f'''.version 6.0
.target {target}
.address_size 64
.visible .global .align 4 .u32 bias = 7;
.visible .entry add(.param .u64 numbers)
{{
    .reg .b32 %r<4>; .reg .b64 %d<3>;
    ld.param.u64 %d1, [numbers]; mov.u32 %r1, %tid.x;
    mad.wide.u32 %d2, %r1, 4, %d1;
    ld.global.u32 %r2, [bias]; add.u32 %r3, %r1, %r2; st.global.u32 [%d2], %r3;
    ret;
}}
'''.encode()

def fatbin_of(target):
    text = ptx_of(target) + b"\0"
    text += b"\0" * (-len(text) % 8)
    arch = int(target.removeprefix("sm_"))
    entry = struct.pack("<HHIQIIHHIIIQQQ", 1, 0x101, 64, len(text), 0, 0, 0, 6, arch, 64, 0, 0x11, 0, 0)
    container = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entry) + len(text)) + entry + text
    words = (c_uint64 * (len(container) // 8)).from_buffer_copy(container)
    return (c_uint64 * 3)(0x466243B1 | 1 << 32, ctypes.addressof(words), 0), words

fatbin, kept = fatbin_of(sys.argv[2])
module = c_void_p(register["FatBinary"](fatbin))
function, variable = ctypes.create_string_buffer(1), ctypes.create_string_buffer(4)
register["Function"](module, function, b"add", b"add", c_int(-1), None, None, None, None, None)
register["Var"](module, variable, b"bias", b"bias", 0, c_size_t(4), 0, 0)
register["FatBinaryEnd"](module)

numbers = c_void_p()
check("cudaMalloc", byref(numbers), c_size_t(400))
arguments = (c_void_p * 1)(ctypes.addressof(numbers))
runtime.cudaLaunchKernel.argtypes = [c_void_p, Dim3, Dim3, c_void_p, c_size_t, c_void_p]
read = (c_uint * 100)()
for bias in (7, 9):
    if bias != 7:  # which it has from its PTX
        check("cudaMemcpyToSymbol", variable, byref(c_uint(bias)), c_size_t(4), c_size_t(0), 1)
    check("cudaLaunchKernel", function, Dim3(1, 1, 1), Dim3(100, 1, 1), arguments, 0, None)
    check("cudaMemcpy", read, numbers, c_size_t(400), 2)
    assert list(read) == [number + bias for number in range(100)], list(read)
print("right")
"""


def run_kernel(library: Path, target: str, shim: Path, host: dict[str, str]) -> str:
    """What a program says that registers a kernel for `target` with this runtime, and launches it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(library), target],
        env={**os.environ, **host, "LD_LIBRARY_PATH": str(shim)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    said = done.stdout.strip() or done.stderr.strip()
    return f"{said} and exit status {done.returncode}" if said == "right" and done.returncode else said


def runtime_of(version: str) -> Path:
    return next(get_package(OLDER.get(version) or CUDART[version]).glob("libcudart.so.*"))


@pytest.mark.parametrize("version", [*OLDER, *CUDART])
def test_a_registered_kernel_runs_under_each_runtime(
    version: str, native_paths: native.NativePaths, shim_host: dict[str, str]
) -> None:
    assert run_kernel(runtime_of(version), "sm_50", native_paths.lib, shim_host) == "right"


@pytest.mark.parametrize("version", ["11.8", "12.9"])
def test_a_registered_kernel_for_a_later_device_is_refused(
    version: str, native_paths: native.NativePaths, shim_host: dict[str, str]
) -> None:
    said = run_kernel(runtime_of(version), "sm_90", native_paths.lib, shim_host)
    assert said.startswith("cudaLaunchKernel: 209 no kernel image is available"), said
