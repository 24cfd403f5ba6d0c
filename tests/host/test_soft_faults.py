"""A kernel that goes wrong on the software GPU: what its program gets, what the state tells, who goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.native import NativePaths

KERNEL = """.version 7.0
.target sm_80
.address_size 64
.visible .entry bad(.param .u64 where)
{
.reg .pred %p<2>; .reg .b32 %r<4>; .reg .b64 %rd<4>;
ld.param.u64 %rd1, [where];
mov.u32 %r1, %tid.x;
mov.u32 %r2, %ctaid.x;
BODY
ret;
}
"""
# Loads the kernel, launches 2 blocks of 64 threads with the address given, and prints the launch's result.
CLIENT = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
def call(name, *arguments):
    result = getattr(cuda, name)(*arguments)
    assert result == 0, (name, result)
device, context = ctypes.c_int(), ctypes.c_void_p()
module, kernel = ctypes.c_void_p(), ctypes.c_void_p()
call("cuInit", 0)
call("cuDeviceGet", ctypes.byref(device), 0)
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
call("cuCtxSetCurrent", context)
call("cuModuleLoadData", ctypes.byref(module), sys.stdin.buffer.read() + b"\\0")
call("cuModuleGetFunction", ctypes.byref(kernel), module, b"bad")
where = ctypes.c_uint64()
call("cuMemAlloc_v2", ctypes.byref(where), 4096)
where.value += int(sys.argv[1])
arguments = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.byref(where), ctypes.c_void_p))
call("cuLaunchKernel", kernel, 2, 1, 1, 64, 1, 1, 0, None, arguments, None)
print(cuda.cuCtxSynchronize())
"""
STORE = "mul.wide.u32 %rd2, %r1, 4;\nadd.s64 %rd2, %rd2, %rd1;\nst.global.u32 [%rd2], %r1;"


@pytest.mark.parametrize(
    ("body", "offset", "error", "line", "thread"),
    [
        ("@%p1 bra DONE;\n" + STORE + "\nDONE:", 1 << 44, 700, 13, [0, 0, 0]),
        (STORE, 2, 716, 12, [0, 0, 0]),
        ("setp.eq.u32 %p1, %r1, 40;\n@%p1 trap;", 0, 719, 11, [40, 0, 0]),
    ],
)
@pytest.mark.parametrize("compiled", ["never", "always"])
def test_a_fault_names_its_place_and_leaves_the_host_running(
    native_paths: NativePaths,
    start_shim_host: Callable[..., dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    offset: int,
    error: int,
    line: int,
    thread: list[int],
    compiled: str,
) -> None:
    monkeypatch.setenv("SHIMBENCH_SOFT_COMPILE", compiled)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    state = tmp_path / "state"
    host = start_shim_host("--device", "soft", "--state", str(state))

    def run(text: str, address_offset: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, str(address_offset)],
            input=KERNEL.replace("BODY", text).encode(),
            capture_output=True,
            env={**os.environ, **host, "LD_LIBRARY_PATH": str(native_paths.lib)},
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return int(done.stdout)

    assert run(body, offset) == error
    events = [json.loads(text) for text in state.read_text().splitlines()]
    (fault,) = [event for event in events if event.get("event") == "kernel-fault"]
    assert (fault["error"], fault["kernel"], fault["line"]) == (error, "bad", line)
    assert fault["thread"] == thread and fault["block"] in ([0, 0, 0], [1, 0, 0])
    kernels = [event["kernels"] for event in events if event.get("event") == "kernels"]
    assert kernels and kernels[-1][0]["name"] == "bad" and kernels[-1][0]["launches"] == 1
    assert run(STORE, 0) == 0
