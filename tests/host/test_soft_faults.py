"""A kernel that goes wrong on the software GPU: what its program gets, what the state tells, who goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from soft_client import kernel, run_client

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


# Each thread stores its number at the parameter's address, 4 bytes apart.
_NUMBERS = kernel("mad.wide.u32 %rd2, %r1, 4, %rd1;\nst.global.u32 [%rd2], %r1;", "numbers")
_TWO_ALLOCATIONS = """
numbers, first, second = function(load(TEXT), "numbers"), allocate(256), allocate(256)
launch(numbers, (1, 1, 1), (64, 1, 1), first)
print(cuda.cuCtxSynchronize(), words(first, 64) == list(range(64)))
launch(numbers, (1, 1, 1), (96, 1, 1), first)
print(first)
print(cuda.cuCtxSynchronize())
"""


def _faults(state: Path) -> list[dict[str, object]]:
    events = [json.loads(text) for text in state.read_text().splitlines()]
    return [event for event in events if event.get("event") == "kernel-fault"]


@pytest.mark.parametrize("checks", [True, False])
def test_memcheck_finds_a_store_past_its_allocation_on_a_page_that_is_mapped(
    native_paths: NativePaths, start_shim_host: Callable[..., dict[str, str]], tmp_path: Path, checks: bool
) -> None:
    state = tmp_path / "state"
    host = start_shim_host("--device", "soft", "--state", str(state), *["--memcheck"] * checks)
    well, address, error = run_client(_TWO_ALLOCATIONS, _NUMBERS, native_paths, host).splitlines()
    assert well == "0 True"
    if not checks:
        assert error == "0" and not _faults(state)
        return
    assert error == "700"
    (fault,) = _faults(state)
    first = int(address)
    assert str(fault["text"]).startswith(
        f"store of 4 bytes at {first + 256:#x}, "
        f"which is 0 bytes after an allocation of 256 bytes at {first:#x}"
    )
    assert (fault["kernel"], fault["block"], fault["thread"]) == ("numbers", [0, 0, 0], [64, 0, 0])
    assert _NUMBERS.splitlines()[int(str(fault["line"])) - 1].startswith("st.global")


# Each thread stores 4 bytes into shared memory, of which a launch asks for 8.
_A_LITTLE_TOO_FAR = kernel(
    "mov.u32 %r3, row; shl.b32 %r4, %r1, 2; add.u32 %r3, %r3, %r4; st.shared.u32 [%r3], %r1;",
    level=".extern .shared .align 4 .b8 row[];",
)


@pytest.mark.parametrize(("checks", "error"), [(True, "700"), (False, "0")])
def test_shared_memory_is_made_up_to_its_unit_but_under_memcheck(
    native_paths: NativePaths, start_shim_host: Callable[..., dict[str, str]], checks: bool, error: str
) -> None:
    host = start_shim_host("--device", "soft", *["--memcheck"] * checks)
    script = """
launch(function(load(TEXT), "k"), (1, 1, 1), (4, 1, 1), 0, shared=8)
print(cuda.cuCtxSynchronize())
"""
    assert run_client(script, _A_LITTLE_TOO_FAR, native_paths, host).split() == [error]


# Each thread has 16 bytes copied into shared memory from the parameter's address on.
_COPIES = kernel(
    """\
.shared .align 16 .b8 tile[2048];
mov.u32 %r3, tile; shl.b32 %r4, %r1, 4; add.u32 %r3, %r3, %r4;
mad.wide.u32 %rd2, %r1, 16, %rd1;
cp.async.cg.shared.global [%r3], [%rd2], 16;
cp.async.wait_all;""",
    "copies",
)
_COPY_BEYOND = """
copies, place = function(load(TEXT), "copies"), allocate(1024)
launch(copies, (1, 1, 1), (64, 1, 1), place)
print(cuda.cuCtxSynchronize())
launch(copies, (1, 1, 1), (65, 1, 1), place)
print(place)
print(cuda.cuCtxSynchronize())
"""


def test_memcheck_finds_an_asynchronous_copy_from_beyond_an_allocation(
    native_paths: NativePaths, start_shim_host: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    host = start_shim_host("--device", "soft", "--state", str(state), "--memcheck")
    well, address, error = run_client(_COPY_BEYOND, _COPIES, native_paths, host).splitlines()
    assert (well, error) == ("0", "700")
    (fault,) = _faults(state)
    place = int(address)
    assert str(fault["text"]).startswith(
        f"cp.async of 16 bytes at {place + 1024:#x}, "
        f"which is 0 bytes after an allocation of 1024 bytes at {place:#x}"
    )
    assert (fault["kernel"], fault["thread"]) == ("copies", [64, 0, 0])


# Two granules of addresses, of which only the first is mapped: CUmemAllocationProp is type 1 on device 0,
# CUmemAccessDesc device 0 with flags 3.
_MAPPED = """
numbers = function(load(TEXT), "numbers")
prop = struct.pack("<iiii24x", 1, 0, 1, 0)
granule, place, handle = ctypes.c_size_t(), u64(), u64()
call("cuMemGetAllocationGranularity", ctypes.byref(granule), prop, 0)
size = granule.value
call("cuMemAddressReserve", ctypes.byref(place), ctypes.c_size_t(2 * size), ctypes.c_size_t(0), u64(), u64())
call("cuMemCreate", ctypes.byref(handle), ctypes.c_size_t(size), prop, u64())
call("cuMemMap", place, ctypes.c_size_t(size), ctypes.c_size_t(0), handle, u64())
call("cuMemSetAccess", place, ctypes.c_size_t(size), struct.pack("<iii", 1, 0, 3), ctypes.c_size_t(1))
launch(numbers, (1, 1, 1), (64, 1, 1), place.value + size - 256)
print(cuda.cuCtxSynchronize(), words(place.value + size - 256, 64) == list(range(64)))
launch(numbers, (1, 1, 1), (65, 1, 1), place.value + size - 256)
print(cuda.cuCtxSynchronize())
print(place.value + size)
"""


def test_memcheck_knows_memory_that_was_mapped_and_what_is_only_reserved_behind_it(
    native_paths: NativePaths, start_shim_host: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    host = start_shim_host("--device", "soft", "--state", str(state), "--memcheck")
    well, error, end = run_client(_MAPPED, _NUMBERS, native_paths, host).splitlines()
    assert (well, error) == ("0 True", "700")
    (fault,) = _faults(state)
    assert str(fault["text"]).startswith(f"store of 4 bytes at {int(end):#x}, ")
    assert (fault["kernel"], fault["thread"]) == ("numbers", [64, 0, 0])


_EVERYWHERE = kernel(
    """\
.local .align 8 .b8 own[256];
.shared .align 8 .b8 all[512];
cvta.shared.u64 %rd2, all; cvta.local.u64 %rd3, own;
mad.wide.u32 %rd2, %r1, 4, %rd2;
st.u32 [%rd2], %r1; st.u32 [%rd3], %r1;
ld.u32 %r3, [%rd2]; ld.u32 %r4, [%rd3];
add.u32 %r3, %r3, %r4;
ld.const.u32 %r4, [seven]; add.u32 %r3, %r3, %r4;
atom.global.add.u32 %r5, [tally], 1;
mad.wide.u32 %rd4, %r1, 4, %rd1;
st.global.u32 [%rd4], %r3;""",
    "everywhere",
    ".const .align 4 .u32 seven = 7;\n.global .align 4 .u32 tally;",
)


def test_memcheck_lets_all_that_is_a_programs_own_pass(
    native_paths: NativePaths, start_shim_host: Callable[..., dict[str, str]]
) -> None:
    script = """
everywhere, device_memory = function(load(TEXT), "everywhere"), allocate(512)
place = ctypes.c_void_p()
call("cuMemHostAlloc", ctypes.byref(place), ctypes.c_size_t(512), 0)
for where in device_memory, place.value:
    launch(everywhere, (1, 1, 1), (128, 1, 1), where)
    synchronize()
    print(words(where, 128) == [2 * i + 7 for i in range(128)])
"""
    host = start_shim_host("--device", "soft", "--memcheck")
    assert run_client(script, _EVERYWHERE, native_paths, host).split() == ["True", "True"]


def test_an_endless_kernel_ends_at_the_limit_that_was_given(
    native_paths: NativePaths, start_shim_host: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    host = start_shim_host("--device", "soft", "--state", str(state), "--launch-limit", "0.2")
    script = """
launch(function(load(TEXT), "endless"), (2, 1, 1), (32, 1, 1), 0)
print(cuda.cuCtxSynchronize())
"""
    endless = kernel("LOOP:\nadd.u32 %r3, %r3, 1;\nbra LOOP;", "endless")
    assert run_client(script, endless, native_paths, host).split() == ["702"]
    (fault,) = _faults(state)
    assert (fault["error"], fault["kernel"]) == (702, "endless")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--launch-limit", "0"], "expected seconds, more than 0"),
        (["--launch-limit", "soon"], "expected seconds, more than 0"),
        (["--launch-limit", "nan"], "expected seconds, more than 0"),
        (["--device", "count-only", "--memcheck"], "executes no kernels to check"),
    ],
)
def test_what_kernels_cannot_be_held_to_is_a_usage_error(
    native_paths: NativePaths, tmp_path: Path, options: list[str], why: str
) -> None:
    done = subprocess.run(
        [native_paths.host, "--socket", str(tmp_path / "socket"), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and why in done.stderr


def test_the_workbenchs_command_passes_the_rules_for_kernels_on(tmp_path: Path) -> None:
    words = ["host", "--socket", str(tmp_path / "socket"), "--memcheck", "--launch-limit", "soon"]
    done = subprocess.run(
        [sys.executable, "-m", "workbench.cli", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "--launch-limit soon: expected seconds" in done.stderr


# A container as nvcc writes it with code for two processors, and no PTX.
_SASS_ONLY = """
def entry(arch):
    cubin = b"\\x7fELF" + bytes(124)
    head = struct.pack("<HHIQIIHHIIIQQQ", 2, 0x101, 64, len(cubin), 0, 0, 0, 0, arch, 0, 0, 0x11, 0, 0)
    return head + cubin
entries = entry(80) + entry(86)
image, module, found = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries, u64(), u64()
print(cuda.cuModuleLoadData(ctypes.byref(module), image))
print(cuda.cuModuleGetFunction(ctypes.byref(found), module, b"_Z3addPf"))
"""


def test_a_kernel_without_ptx_is_refused_by_name_with_what_its_module_holds(
    native_paths: NativePaths, start_shim_host: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    host = start_shim_host("--device", "soft", "--state", str(state))
    assert run_client(_SASS_ONLY, "", native_paths, host).split() == ["0", "209"]
    events = [json.loads(text) for text in state.read_text().splitlines()]
    (refused,) = [event for event in events if event.get("event") == "kernel-refused"]
    assert (refused["error"], refused["kernel"]) == (209, "_Z3addPf")
    assert refused["text"].startswith(
        "no PTX for compute capability 8.0: its module holds no PTX and SASS for 80, 86"
    )


# As nvcc writes it: one of the variables holds a function's address.
_POINTERS = """.version 7.0
.target sm_80
.address_size 64
TWICE
.global .align 8 .u64 table[1] = {twice};
.global .align 4 .u32 plain[1] = {7};
.visible .entry good(.param .u64 where)
{
.reg .b32 %r<2>; .reg .b64 %rd<2>;
ld.param.u64 %rd1, [where]; ld.global.u32 %r1, [plain]; st.global.u32 [%rd1], %r1; ret;
}
.visible .entry pointed(.param .u64 where)
{
.reg .b32 %r<2>; .reg .b64 %rd<3>;
ld.param.u64 %rd1, [where]; ld.global.u64 %rd2, [table];
{ .param .b32 a; .param .b32 b; st.param.b32 [a], 21;
call (b), %rd2, (a), form; ld.param.b32 %r1, [b]; }
st.global.u32 [%rd1], %r1; ret;
form: .callprototype (.param .b32 _) _ (.param .b32 _);
}
"""
_TWICE = ".func (.param .b32 out) twice(.param .b32 in)"
_BODY = "{ .reg .b32 %r<2>; ld.param.b32 %r1, [in]; add.s32 %r1, %r1, %r1; st.param.b32 [out], %r1; ret; }"
_UNUSABLE = """.version 7.0
.target sm_80
.address_size 64
DECLARED
.global .align 4 .u32 plain[1] = {7};
.visible .entry good(.param .u64 where)
{
.reg .b32 %r<2>; .reg .b64 %rd<2>;
ld.param.u64 %rd1, [where]; ld.global.u32 %r1, [plain]; st.global.u32 [%rd1], %r1; ret;
}
.visible .entry pointed(.param .u64 where)
{
.reg .b32 %r<2>; .reg .b64 %rd<2>;
ld.param.u64 %rd1, [where]; ld.global.u32 %r1, [unusable]; st.global.u32 [%rd1], %r1; ret;
}
"""
_LAUNCH_BOTH = """
module, where = load(TEXT), allocate(8)
launch(function(module, "good"), (1, 1, 1), (1, 1, 1), where)
synchronize()
launch(function(module, "pointed"), (1, 1, 1), (1, 1, 1), where, result=None)
print(synchronize(result=None), words(where, 1))
"""


def test_a_call_by_a_function_s_address_in_a_variable_leads_there(
    native_paths: NativePaths, shim_host: dict[str, str]
) -> None:
    text = _POINTERS.replace("TWICE", _TWICE + _BODY)
    assert run_client(_LAUNCH_BOTH, text, native_paths, shim_host) == "0 [42]\n"


def test_the_address_of_what_nothing_defines_stops_only_the_kernels_that_use_it(
    native_paths: NativePaths, start_shim_host: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    host = start_shim_host("--device", "soft", "--state", str(state))
    text = _POINTERS.replace("TWICE", ".extern " + _TWICE + ";")
    assert run_client(_LAUNCH_BOTH, text, native_paths, host) == "801 [7]\n"
    assert "table holds the address of twice" in state.read_text()


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        (
            ".extern .global .align 4 .u32 unusable;",
            "unusable is declared in its module, and nothing defines it",
        ),
        (".global .attribute(.managed) .align 4 .u32 unusable;", "unusable lies in managed memory"),
    ],
    ids=["extern", "managed"],
)
def test_a_variable_that_cannot_be_used_stops_only_the_kernels_that_use_it(
    native_paths: NativePaths,
    start_shim_host: Callable[..., dict[str, str]],
    tmp_path: Path,
    declared: str,
    why: str,
) -> None:
    state = tmp_path / "state"
    host = start_shim_host("--device", "soft", "--state", str(state))
    text = _UNUSABLE.replace("DECLARED", declared)
    assert run_client(_LAUNCH_BOTH, text, native_paths, host) == "801 [7]\n"
    assert why in state.read_text()
