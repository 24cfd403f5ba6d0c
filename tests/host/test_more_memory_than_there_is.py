"""A device that reports more memory than the machine has: only what is written takes any."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workbench.native import NativePaths

# Takes 60 of 64 GiB, writes 256 MiB at both ends, and clears all; a word a step, and waits for one back.
CLIENT = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
def call(name, *arguments):
    result = getattr(cuda, name)(*arguments)
    assert result == 0, (name, result)
def step(word):
    call("cuCtxSynchronize")
    print(word, flush=True)
    input()
device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
total, size, part = ctypes.c_size_t(), 60 << 30, 256 << 20
call("cuInit", 0)
call("cuDeviceGet", ctypes.byref(device), 0)
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
call("cuCtxSetCurrent", context)
call("cuDeviceTotalMem_v2", ctypes.byref(total), device)
assert total.value == 64 << 30
call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(size))
for start in (memory.value + 1, memory.value + size - part):
    call("cuMemsetD8_v2", ctypes.c_uint64(start), ctypes.c_ubyte(7), ctypes.c_size_t(part))
step("written")
call("cuMemsetD8_v2", ctypes.c_uint64(memory.value + 1), ctypes.c_ubyte(0), ctypes.c_size_t(size - 2))
call("cuCtxSynchronize")
for offset, wanted in ((1, 0), (part // 2, 0), (size // 2, 0), (size - 2, 0), (size - 1, 7)):
    byte = ctypes.c_ubyte(99)
    call("cuMemcpyDtoH_v2", ctypes.byref(byte), ctypes.c_uint64(memory.value + offset), ctypes.c_size_t(1))
    assert byte.value == wanted, (offset, byte.value)
step("cleared")
"""
GIB = 1 << 30


def descendants(pid: int) -> Iterator[int]:
    """The process and those it started."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from descendants(int(child))


def listens(pid: int, host: dict[str, str]) -> bool:
    """Whether that process, or the one it was forked off, is the host whose environment this is."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return host["SHIMBENCH_HOST"].removeprefix("unix:") in words


def resident(pid: int) -> int:
    """Bytes that a process and those it started have in memory, shared ones too."""
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in descendants(pid))
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def client(native_paths: NativePaths, host: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **host, "LD_LIBRARY_PATH": str(native_paths.lib)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("device", ["soft", "count-only"])
def test_all_of_a_memory_larger_than_the_machines_can_be_cleared(
    native_paths: NativePaths, start_shim_host: Callable[..., dict[str, str]], device: str
) -> None:
    host = start_shim_host("--device", device, "--memory", "64GiB")
    supervisor = next(child for child in descendants(os.getpid()) if listens(child, host))
    with client(native_paths, host) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "written\n"
        assert GIB // 2 <= resident(supervisor) < GIB
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "cleared\n"
        assert resident(supervisor) < GIB // 4
