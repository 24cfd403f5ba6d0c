"""Walls behind a device that was found: copies, code, kernels and captures, under runtimes 12.x and 13.x."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder

MakeShim = Callable[..., Path]
Runtimes = Callable[[str], Path]

BOTH = pytest.mark.parametrize("version", ["12.4", "13.0"])
#: The runtimes' own functions for code that a program brings came with 12.8.
WITH_LIBRARIES = pytest.mark.parametrize("version", ["12.8", "13.0"])

PTX = """\
.version {version}
.target {target}
.address_size 64
.visible .entry scale(.param .u64 numbers)
{{
    .reg .b64 %rd<4>;
    .reg .b32 %r<6>;
    .reg .f32 %f<3>;
    ld.param.u64 %rd1, [numbers];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    {body}
    ret;
}}
"""
DOUBLES = "ld.global.f32 %f1, [%rd3]; add.f32 %f2, %f1, %f1; st.global.f32 [%rd3], %f2;"
#: What goes wrong on our own device -> the kernel's body and target, the rule and a word of its cause.
KERNELS = {
    "an address that nobody gave out": (
        "mov.u64 %rd3, 16; ld.global.f32 %f1, [%rd3]; st.global.f32 [%rd1], %f1;",
        "sm_70",
        "kernel-fault",
        "thread (0,0,0), PTX line 13",
    ),
    "an instruction that the software GPU has not": (
        "tex.1d.v4.u32.s32 {%r2, %r3, %r4, %r5}, [%rd1, {%r1}];",
        "sm_70",
        "kernel-refused",
        "tex.1d",
    ),
    "code for another device": (DOUBLES, "sm_90", "kernel-refused", "8.0"),
}
#: How a shim is broken -> the rule that speaks first, and a word of its cause.
BROKEN = {
    "UPLOAD_801": ("needed-not-supported", "cuMemcpyHtoD_v2 -> CUDA_ERROR_NOT_SUPPORTED"),
    "UPLOAD_INVALID": ("call-fails", "cuMemcpyHtoD_v2 -> CUDA_ERROR_INVALID_VALUE"),
    "NO_CODE": ("no-code-for-architecture", "it says 8.6"),
    "KERNEL_FAILS": ("kernel-failed", "its context is of no more use"),
}


def runtime(runtimes: Runtimes, version: str) -> str:
    return str(runtimes(version) / f"libcudart.so.{version.partition('.')[0]}")


def source(folder: Path, body: str = DOUBLES, target: str = "sm_70") -> str:
    path = folder / "kernel.ptx"
    path.write_text(PTX.format(body=body, target=target, version="8.0" if target == "sm_90" else "7.0"))
    return str(path)


def first(report: dict[str, Any]) -> dict[str, Any]:
    """The wall that stands first: certain, shown, and with nothing beside it but what follows from it."""
    found, *others = report["diagnosis"]
    assert found["consequence_of"] is None and found["evidence"]
    assert all(other["consequence_of"] == found["rule"] for other in others), others
    assert isinstance(found, dict)
    return found


@WITH_LIBRARIES
def test_no_rule_speaks_about_a_kernel_that_does_its_work(
    version: str, cudart: Runtimes, target_programs: Path, recorder: Recorder, tmp_path: Path
) -> None:
    words = [str(target_programs / "kernel"), runtime(cudart, version), source(tmp_path)]
    done = recorder.run(words)
    assert "scaled: 2 4 6" in done.log
    assert (done.report["diagnosis"], done.report["gpu_mode"]) == ([], "gpu")


@WITH_LIBRARIES
@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=pytest.mark.meets(row[2])) for what, row in KERNELS.items()]
)
def test_a_kernel_that_can_not_go_on_is_told_with_its_place(
    what: str, version: str, cudart: Runtimes, target_programs: Path, recorder: Recorder, tmp_path: Path
) -> None:
    body, target, rule, word = KERNELS[what]
    ptx = source(tmp_path, body, target)
    done = recorder.run([str(target_programs / "kernel"), runtime(cudart, version), ptx])
    assert "CUDA error" in done.log[0]
    found = first(done.report)
    assert (found["rule"], found["certainty"]) == (rule, "proved")
    assert word in found["cause"]


@WITH_LIBRARIES
@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.meets(row[0])) for fault, row in BROKEN.items()]
)
def test_a_shim_that_fails_at_work_is_told_by_the_call_that_failed(
    fault: str,
    version: str,
    foreign_shim: MakeShim,
    cudart: Runtimes,
    target_programs: Path,
    recorder: Recorder,
    tmp_path: Path,
) -> None:
    rule, word = BROKEN[fault]
    words = [str(target_programs / "kernel"), runtime(cudart, version), source(tmp_path)]
    done = recorder.run(words, foreign_shim(FAULT=fault))
    found = first(done.report)
    assert (found["rule"], found["certainty"]) == (rule, "proved")
    assert word in found["cause"]


@pytest.mark.meets("forbidden-during-capture")
@BOTH
@pytest.mark.parametrize("shim", ["ours", "foreign"])
def test_a_wait_for_a_stream_that_is_captured_is_named_with_who_waits(
    shim: str,
    version: str,
    foreign_shim: MakeShim,
    cudart: Runtimes,
    target_programs: Path,
    recorder: Recorder,
) -> None:
    library = runtime(cudart, version)
    done = recorder.run(
        [str(target_programs / "capture"), library], foreign_shim() if shim == "foreign" else None
    )
    assert "cudaStreamSynchronize: operation not permitted when stream is capturing" in done.log
    found = first(done.report)
    assert (found["rule"], found["certainty"]) == ("forbidden-during-capture", "proved")
    assert f"{Path(library).name} called cuStreamSynchronize" in found["cause"]


@pytest.mark.meets("forbidden-during-capture")
@BOTH
@pytest.mark.parametrize(
    ("fault", "certainty", "cause"),
    [
        ("WAITS_TO_CLEAR", "likely", "the shim lost it by itself; called in it: cuMemsetD8Async"),
        ("ASKS_TO_CLEAR", "proved", "the shim itself called cuStreamSynchronize"),  # by the driver's own name
    ],
)
def test_a_shim_that_loses_a_capture_by_itself_is_told_by_what_was_called_in_it(
    version: str,
    fault: str,
    certainty: str,
    cause: str,
    foreign_shim: MakeShim,
    cudart: Runtimes,
    target_programs: Path,
    recorder: Recorder,
) -> None:
    words = [str(target_programs / "capture"), runtime(cudart, version), "clear"]
    done = recorder.run(words, foreign_shim(FAULT=fault))
    assert "cudaStreamEndCapture: operation failed due to a previous error during capture" in done.log
    found = first(done.report)
    assert (found["rule"], found["certainty"]) == ("forbidden-during-capture", certainty)
    assert cause in found["cause"]


@BOTH
def test_no_rule_speaks_about_a_capture_that_comes_to_its_graph(
    version: str, foreign_shim: MakeShim, cudart: Runtimes, target_programs: Path, recorder: Recorder
) -> None:
    words = [str(target_programs / "capture"), runtime(cudart, version), "clear"]
    for shim in (None, foreign_shim()):
        done = recorder.run(words, shim)
        assert "cudaStreamEndCapture: no error" in done.log
        assert done.report["diagnosis"] == []
