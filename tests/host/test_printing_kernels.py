"""What a kernel prints: to its program's stdout, in order, when that has waited; and to the host's log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from soft_client import run_client

from workbench.native import NativePaths

FORMAT = b"block %u of %s\n\0"
NAME = b"the grid\0"

# Prints `block N of the grid` for each block, one after another.
PRINTS = f"""\
.version 7.8
.target sm_80
.address_size 64
.extern .func (.param .b32 result) vprintf (.param .b64 format, .param .b64 arguments);
.global .align 1 .b8 text[{len(FORMAT)}] = {{{", ".join(map(str, FORMAT))}}};
.global .align 1 .b8 name[{len(NAME)}] = {{{", ".join(map(str, NAME))}}};
.visible .entry prints()
{{
.local .align 8 .b8 arguments[16];
.reg .b32 %r<3>; .reg .b64 %rd<6>;
mov.u32 %r1, %ctaid.x;
mov.u64 %rd1, arguments;
cvta.local.u64 %rd2, %rd1;
st.local.u32 [%rd1], %r1;
mov.u64 %rd3, name;
cvta.global.u64 %rd3, %rd3;
st.local.u64 [%rd1+8], %rd3;
mov.u64 %rd4, text;
cvta.global.u64 %rd5, %rd4;
{{
.param .b64 param0;
st.param.b64 [param0], %rd5;
.param .b64 param1;
st.param.b64 [param1], %rd2;
.param .b32 retval0;
call (retval0), vprintf, (param0, param1);
ld.param.b32 %r2, [retval0];
}}
ret;
}}
"""

StartHost = Callable[..., dict[str, str]]

SCRIPT = """
libc = ctypes.CDLL(None)
kernel = function(load(TEXT), "prints")
where = allocate(4)
for turn in range(2):
    libc.puts(b"before")
    launch(kernel, (1, 1, 1), (1, 1, 1))
    libc.puts(b"launched")
    WAIT
    libc.puts(b"waited")
"""


@pytest.mark.parametrize(
    "wait",
    ["synchronize()", "call('cuStreamSynchronize', None)", "read(where, 4)"],
    ids=["context", "stream", "copy"],
)
def test_it_comes_between_the_programs_own_lines(
    native_paths: NativePaths, start_shim_host: StartHost, wait: str
) -> None:
    host = start_shim_host("--device", "soft")
    out = run_client(SCRIPT.replace("WAIT", wait), PRINTS, native_paths, host)
    assert out.splitlines() == ["before", "launched", "block 0 of the grid", "waited"] * 2


def test_nobody_waits_and_nothing_comes(native_paths: NativePaths, start_shim_host: StartHost) -> None:
    host = start_shim_host("--device", "soft")
    out = run_client(SCRIPT.replace("WAIT", ""), PRINTS, native_paths, host)
    assert out.splitlines() == ["before", "launched", "waited"] * 2


def test_of_more_than_the_limit_the_newest_is_kept(
    native_paths: NativePaths, start_shim_host: StartHost
) -> None:
    script = """
size = ctypes.c_size_t()
call("cuCtxSetLimit", 1, ctypes.c_size_t(8192))
call("cuCtxGetLimit", ctypes.byref(size), 1)
assert size.value == 8192
call("cuCtxSetLimit", 0, ctypes.c_size_t(4096), result=215)
launch(function(load(TEXT), "prints"), (2000, 1, 1), (1, 1, 1))
synchronize()
"""
    lines = run_client(script, PRINTS, native_paths, start_shim_host("--device", "soft")).splitlines()
    whole = {f"block {number} of the grid" for number in range(2000)}
    assert set(lines) <= whole and len(set(lines)) == len(lines)
    assert 8192 - 64 < sum(len(line) + 1 for line in lines) <= 8192


def test_the_hosts_log_has_it_too(native_paths: NativePaths, start_shim_host: StartHost) -> None:
    host = start_shim_host("--device", "soft")
    run_client(SCRIPT.replace("WAIT", "synchronize()"), PRINTS, native_paths, host)
    log = Path(host["SHIMBENCH_HOST"].removeprefix("unix:")).with_suffix(".log")
    assert log.read_text().count("block 0 of the grid\n") == 2
