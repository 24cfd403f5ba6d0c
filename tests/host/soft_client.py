"""Programs of a few lines that call the driver API, each in a process of its own under our shim."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from workbench.native import NativePaths

_PRELUDE = """
import ctypes, struct, sys, time
cuda = ctypes.CDLL("libcuda.so.1")
def call(name, *arguments, result=0):
    got = getattr(cuda, name)(*arguments)
    assert result is None or got == result, (name, got)
    return got
def u64(value=0):
    return ctypes.c_uint64(value)
def load(text):
    module = ctypes.c_void_p()
    call("cuModuleLoadData", ctypes.byref(module), text.encode() + b"\\0")
    return module
def function(module, name):
    found = ctypes.c_void_p()
    call("cuModuleGetFunction", ctypes.byref(found), module, name.encode())
    return found
def allocate(size):
    where = u64()
    call("cuMemAlloc_v2", ctypes.byref(where), ctypes.c_size_t(size))
    return where.value
def launch(kernel, grid, block, *words, shared=0, stream=None, result=0):
    held = [u64(word) for word in words]
    pointers = (ctypes.c_void_p * max(len(held), 1))(*(ctypes.addressof(word) for word in held))
    return call("cuLaunchKernel", kernel, *grid, *block, shared, stream, pointers, None, result=result)
def read(address, size):
    data = ctypes.create_string_buffer(size)
    call("cuMemcpyDtoH_v2", data, u64(address), ctypes.c_size_t(size))
    return data.raw
def words(address, count):
    return list(struct.unpack(f"<{count}I", read(address, 4 * count)))
def synchronize(result=0):
    return call("cuCtxSynchronize", result=result)
def event():
    made = ctypes.c_void_p()
    call("cuEventCreate", ctypes.byref(made), 0)
    return made
def stream():
    made = ctypes.c_void_p()
    call("cuStreamCreate", ctypes.byref(made), 1)
    return made
device, context = ctypes.c_int(), ctypes.c_void_p()
call("cuInit", 0)
call("cuDeviceGet", ctypes.byref(device), 0)
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
call("cuCtxSetCurrent", context)
TEXT = sys.stdin.read()
"""


def kernel(body: str, name: str = "k", level: str = "", target: str = "sm_80") -> str:
    """PTX of a kernel with one 64-bit parameter, in %rd1; %r1 is %tid.x, %r2 %ctaid.x."""
    return f"""\
.version 7.8
.target {target}
.address_size 64
{level}
.visible .entry {name}(.param .u64 where)
{{
.reg .pred %p<8>; .reg .b32 %r<16>; .reg .f32 %f<8>; .reg .b64 %rd<16>;
ld.param.u64 %rd1, [where];
mov.u32 %r1, %tid.x;
mov.u32 %r2, %ctaid.x;
{body}
ret;
}}
"""


def run_client(script: str, text: str, native_paths: NativePaths, host: Mapping[str, str]) -> str:
    """What the script prints; it finds `text` in TEXT. AssertionError when it fails."""
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + script],
        input=text,
        capture_output=True,
        text=True,
        env={**os.environ, **host, "LD_LIBRARY_PATH": str(native_paths.lib)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
