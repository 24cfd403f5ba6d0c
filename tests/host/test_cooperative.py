"""Cooperative launches: blocks that wait for one another get on, and a grid that has no room is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from soft_client import kernel, run_client

from workbench.native import NativePaths

# As cooperative groups' grid.sync() does it: the blocks count in at the grid's workspace, the first one
# adding what turns the topmost bit over when all have come, and one thread of each waits for that.
_SYNC = """\
barrier.sync 0;
@%p1 bra MET{0};
atom.add.release.gpu.u32 %r7, [%rd3+4], %r6;
WAIT{0}:
ld.acquire.gpu.u32 %r8, [%rd3+4];
xor.b32 %r8, %r8, %r7;
setp.gt.s32 %p2, %r8, -1;
@%p2 bra WAIT{0};
MET{0}:
barrier.sync 0;
"""
# Three times over, each thread takes the word of its neighbour, who may be of another block, plus one.
_MEET = kernel(
    """\
mov.u32 %r3, %envreg2; cvt.u64.u32 %rd2, %r3;
mov.u32 %r3, %envreg1; cvt.u64.u32 %rd3, %r3;
bfi.b64 %rd3, %rd3, %rd2, 32, 32;
mov.u32 %r3, %nctaid.x; mov.u32 %r4, %ntid.x;
sub.u32 %r6, -2147483647, %r3;
setp.eq.u32 %p1, %r2, 0;
selp.b32 %r6, %r6, 1, %p1;
setp.ne.u32 %p1, %r1, 0;
mad.lo.u32 %r9, %r2, %r4, %r1;
mul.lo.u32 %r10, %r3, %r4;
add.u32 %r11, %r9, 1;
rem.u32 %r11, %r11, %r10;
mad.wide.u32 %rd4, %r9, 4, %rd1;
mad.wide.u32 %rd5, %r11, 4, %rd1;
st.global.u32 [%rd4], %r9;
mov.u32 %r12, 0;
AGAIN:
"""
    + _SYNC.format(1)
    + "ld.global.u32 %r13, [%rd5];\nadd.u32 %r13, %r13, 1;\n"
    + _SYNC.format(2)
    + """\
st.global.u32 [%rd4], %r13;
add.u32 %r12, %r12, 1;
setp.lt.u32 %p3, %r12, 3;
@%p3 bra AGAIN;""",
    "meet",
)
_LAUNCH = """
import ctypes
class Attribute(ctypes.Structure): # CUlaunchAttribute
    _fields_ = [("id", ctypes.c_int), ("pad", ctypes.c_char * 4), ("value", ctypes.c_int * 16)]
class Config(ctypes.Structure): # CUlaunchConfig
    _fields_ = [("sizes", ctypes.c_uint * 7), ("stream", ctypes.c_void_p),
                ("attributes", ctypes.POINTER(Attribute)), ("count", ctypes.c_uint)]
meet, where = function(load(TEXT), "meet"), allocate(1 << 16)
held = u64(where)
pointers = (ctypes.c_void_p * 1)(ctypes.addressof(held))
def together(blocks, threads):
    return cuda.cuLaunchCooperativeKernel(meet, blocks, 1, 1, threads, 1, 1, 0, None, pointers)
def extended(blocks, threads):
    attribute = Attribute(id=2) # CU_LAUNCH_ATTRIBUTE_COOPERATIVE
    attribute.value[0] = 1
    config = Config((blocks, 1, 1, threads, 1, 1, 0), None, ctypes.pointer(attribute), 1)
    return cuda.cuLaunchKernelEx(ctypes.byref(config), meet, pointers, None)
def attribute(number):
    value = ctypes.c_int()
    call("cuDeviceGetAttribute", ctypes.byref(value), number, device)
    return value.value
def right(count):
    return words(where, count) == [(i + 3) % count + 3 for i in range(count)]
"""


@pytest.fixture(params=["never", "always"])
def run(
    request: pytest.FixtureRequest,
    native_paths: NativePaths,
    start_shim_host: Callable[..., dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], list[str]]:
    """Runs a script on a software GPU that compiles never or always; the lines it prints."""
    monkeypatch.setenv("SHIMBENCH_SOFT_COMPILE", request.param)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    host = start_shim_host("--device", "soft")
    return lambda script: run_client(_LAUNCH + script, _MEET, native_paths, host).splitlines()


def test_blocks_wait_for_one_another_at_the_grids_barrier(run: Callable[[str], list[str]]) -> None:
    script = """
for launch_it in together, extended:
    call("cuMemsetD8_v2", u64(where), 0, ctypes.c_size_t(1 << 16))
    print(launch_it(40, 96), cuda.cuCtxSynchronize(), right(40 * 96))
"""
    assert run(script) == ["0 0 True"] * 2


def test_a_grid_fills_what_the_occupancy_says_and_no_more(run: Callable[[str], list[str]]) -> None:
    script = """
fits = ctypes.c_int()
call("cuOccupancyMaxActiveBlocksPerMultiprocessor", ctypes.byref(fits), meet, 32, ctypes.c_size_t(0))
most = fits.value * attribute(16) # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
print(attribute(95)) # CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH
for launch_it in together, extended:
    print(launch_it(most + 1, 32), cuda.cuCtxSynchronize())
where = held.value = allocate(4 * most * 32)
print(together(most, 32), cuda.cuCtxSynchronize(), right(most * 32))
"""
    assert run(script) == ["1", "720 0", "720 0", "0 0 True"]
