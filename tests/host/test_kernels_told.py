"""What the software GPU tells of its kernels: times, shapes, instructions, text, counts per line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from soft_client import kernel, run_client

from tests.patience import wait_until
from workbench.native import NativePaths

# Threads below 8 of each warp add; 3 operations a lane on the guarded way.
BODY = """\
setp.lt.u32 %p1, %r1, 8;
@!%p1 bra DONE;
mul.wide.u32 %rd2, %r1, 4;
add.s64 %rd3, %rd1, %rd2;
st.global.u32 [%rd3], %r1;
DONE:"""
SCRIPT = """
k = function(load(TEXT), "k")
where = allocate(4096)
for grid, block in (((2, 1, 1), (64, 1, 1)), ((1, 1, 1), (32, 1, 1)), ((1, 1, 1), (32, 1, 1))):
    launch(k, grid, block, where, shared=256)
synchronize()
"""


@pytest.fixture
def tell(
    native_paths: NativePaths,
    start_shim_host: Callable[..., dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., list[dict[str, Any]]]:
    """Runs a script on a new host with these variables; the events it told."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(script: str, text: str, **variables: str) -> list[dict[str, Any]]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        state = tmp_path / "state"
        host = start_shim_host("--device", "soft", "--state", str(state))
        run_client(script, text, native_paths, host)

        def events() -> list[dict[str, Any]]:
            lines = [json.loads(line) for line in state.read_text().splitlines()]
            return lines if any(line.get("event") == "left" for line in lines) else []

        return list(wait_until(events, "the client has left"))

    return run


def last(events: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return [event for event in events if event.get("event") == name][-1]


def test_launches_are_told_by_shape(tell: Callable[..., list[dict[str, Any]]]) -> None:
    events = tell(SCRIPT, kernel(BODY))
    (told,) = last(events, "kernels")["kernels"]
    assert (told["name"], told["launches"], told["other_shapes"]) == ("k", 3, 0)
    shapes = {tuple(shape["grid"]): shape for shape in told["shapes"]}
    assert set(shapes) == {(2, 1, 1), (1, 1, 1)}
    assert shapes[2, 1, 1]["block"] == [64, 1, 1] and shapes[1, 1, 1]["launches"] == 2
    for shape in told["shapes"]:
        assert shape["shared"] == 256
        assert 0 < shape["shortest"] <= shape["longest"] <= shape["seconds"]
    assert told["instructions"] == sum(shape["instructions"] for shape in told["shapes"])


def test_a_kernels_text_is_told_with_its_place_in_the_module(
    tell: Callable[..., list[dict[str, Any]]],
) -> None:
    text = kernel(BODY)
    told = last(tell(SCRIPT, text), "ptx")
    assert told["kernel"] == "k" and told["bytes"] == len(told["text"])
    lines = text.splitlines()[told["line"] - 1 :]
    assert told["text"].splitlines() == lines and "\tld" not in told["text"]


def test_lines_are_counted_by_warps_and_by_threads(tell: Callable[..., list[dict[str, Any]]]) -> None:
    text = kernel(BODY)
    told = last(tell(SCRIPT, text), "lines")
    of = {text.splitlines()[line - 1]: (warps, threads) for line, warps, threads in told["lines"]}
    # The first launch of each shape: 2 blocks of 2 warps, and 1 of 1.
    assert told["counted"] == 2
    assert of["setp.lt.u32 %p1, %r1, 8;"] == (5, 160)
    assert of["st.global.u32 [%rd3], %r1;"] == (3, 24)


@pytest.mark.parametrize("compiled", ["never", "always"])
def test_all_launches_count_when_asked_to(tell: Callable[..., list[dict[str, Any]]], compiled: str) -> None:
    text = kernel(BODY)
    events = tell(SCRIPT, text, SHIMBENCH_SOFT_COUNT="all", SHIMBENCH_SOFT_COMPILE=compiled)
    told = last(events, "lines")
    assert told["counted"] == 3 and [row[1:] for row in told["lines"] if row[0] == 15] == [[4, 32]]


LONG = """\
mov.u32 %r3, 0;
LOOP: add.u32 %r3, %r3, 1;
setp.lt.u32 %p1, %r3, 20000;
@%p1 bra LOOP;
setp.ne.u32 %p2, %r1, 0;
@%p2 bra DONE;
add.u32 %r3, %r3, %r2;
mul.wide.u32 %rd2, %r2, 4;
add.s64 %rd3, %rd1, %rd2;
st.global.u32 [%rd3], %r3;
DONE:"""


def test_a_long_first_launch_goes_on_in_compiled_code_and_says_which_part_was_counted(
    tell: Callable[..., list[dict[str, Any]]], native_paths: NativePaths
) -> None:
    if b"libLLVM" not in native_paths.host.read_bytes():
        pytest.skip("the host was built without LLVM: everything is interpreted")
    script = """
k = function(load(TEXT), "k")
where = allocate(4 * 20000)
launch(k, (20000, 1, 1), (32, 1, 1), where)
assert words(where, 20000) == list(range(20000, 40000))
"""
    text = kernel(LONG)
    events = tell(script, text)
    (kernels,) = last(events, "kernels")["kernels"]
    assert kernels["launches"] == 1 and kernels["compiled"]
    assert kernels["instructions"] > 20000 * 3 * 20000
    told = last(events, "lines")
    assert told["counted"] == 1 and told["of_blocks"] == 20000 and 0 < told["blocks"] < 20000
    of = {text.splitlines()[line - 1]: warps for line, warps, _ in told["lines"]}
    assert of["setp.ne.u32 %p2, %r1, 0;"] == told["blocks"]


def test_an_instruction_that_is_not_implemented_names_itself_its_kernel_and_its_line(
    tell: Callable[..., list[dict[str, Any]]],
) -> None:
    script = "k = function(load(TEXT), 'k')\nlaunch(k, (1, 1, 1), (32, 1, 1), 0)\nsynchronize(result=801)\n"
    text = kernel("tex.1d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [t, {%f1}];", level=".global .u32 t;")
    told = last(tell(script, text), "kernel-refused")
    assert (told["kernel"], told["error"]) == ("k", 801)
    assert "tex.1d" in told["text"] and text.splitlines()[told["line"] - 1].startswith("tex.1d")


def test_a_module_that_cannot_be_read_names_the_line(tell: Callable[..., list[dict[str, Any]]]) -> None:
    script = 'call("cuModuleLoadData", ctypes.byref(ctypes.c_void_p()), TEXT.encode() + b"\\0", result=218)\n'
    text = kernel("mov.u32 %r3, [;")
    told = last(tell(script, text), "module-refused")
    line = text.splitlines().index("mov.u32 %r3, [;") + 1
    assert told["error"] == 218 and f"line {line};" in told["text"] and "mov.u32" in told["text"]
