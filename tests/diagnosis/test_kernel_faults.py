"""Kernels that went wrong, or can't be executed."""

from __future__ import annotations

import pytest
from steps import bootstrap, call, only, rest_of_bootstrap

from sessions.testing import SessionBuilder
from workbench.diagnosis import diagnose


@pytest.fixture
def launching(builder: SessionBuilder) -> SessionBuilder:
    """A process that has its device, and has launched a kernel."""
    bootstrap(builder)
    rest_of_bootstrap(builder)
    call(builder, "cuLaunchKernel", args=(1, 1, 1, 1, 32, 1, 1, 0, 0, 0, 0))
    return builder


def tell(builder: SessionBuilder, event: str, **fields: object) -> None:
    pid = builder.open().processes[0].pid
    builder.event("host", event=event, pid=pid, kernel="_Z5scalePf", **fields)


def test_a_fault_is_told_with_kernel_block_thread_and_line(launching: SessionBuilder) -> None:
    place = {"line": 812, "block": [3, 0, 0], "thread": [40, 1, 0]}
    tell(launching, "kernel-fault", error=700, text="access to 0x10, which is not mapped", **place)
    call(launching, "cuStreamSynchronize", args=(0,), result=700)
    found = only(launching)
    assert found.rule == "kernel-fault" and found.certainty == "proved"
    assert found.what == "the kernel scale reads or writes memory that is not its own"
    assert "block (3,0,0), thread (40,1,0), PTX line 812" in found.cause
    assert found.row == len(launching.open().calls) - 1
    assert any("0x10, which is not mapped" in piece.text for piece in found.evidence)


@pytest.mark.parametrize(
    ("held", "fix"),
    [
        ("no PTX and SASS for 86", "build the consumer with PTX"),
        ("PTX for 90 and no SASS", "another capability"),
    ],
)
def test_a_kernel_without_code_is_told_with_what_its_module_holds(
    launching: SessionBuilder, held: str, fix: str
) -> None:
    text = f"no PTX for compute capability 8.0: its module holds {held}"
    tell(launching, "kernel-refused", error=209, line=0, text=text)
    call(launching, "cuLibraryGetKernel", args=(1, 2, 3), result=209)
    first = diagnose(launching.open())[0]
    assert first.rule == "kernel-refused" and "scale" in first.what and first.cause == text
    assert fix in first.fix


@pytest.mark.parametrize("run", [1, 2])
def test_a_module_that_is_not_taken_is_told_with_the_line_that_the_forwarder_could_not_read(
    launching: SessionBuilder, run: int
) -> None:
    text, process = "ptxas application ptx input, line 32; error : expected ';', found '[', in mov.u64", 0
    if run == 2:
        launching.event(
            "run", run=2, reason="start", command=["target"], shim="/shim/libcuda.so.1", ours=False
        )
        process = launching.process(["/opt/bin/target"], pid=5000, run=2)
    pid = launching.open().processes[process].pid
    launching.event("host", event="module-refused", pid=pid, error=218, text=text)
    call(launching, "cuModuleLoadData", process=process, result=218)
    (found,) = [each for each in diagnose(launching.open()) if each.rule == "no-code-for-architecture"]
    assert found.cause == text and found.certainty == "proved" and "host/soft/ptx" in found.fix


def test_the_error_alone_says_that_a_kernel_went_wrong(launching: SessionBuilder) -> None:
    call(launching, "cuCtxSynchronize", result=716)
    found = only(launching)
    assert found.rule == "kernel-failed" and "its size does not divide" in found.what


def test_the_last_run_s_fault_is_not_the_next_one_s(launching: SessionBuilder) -> None:
    tell(launching, "kernel-fault", error=700, text="access")
    launching.event("run", run=2, reason="start", command=["target"], shim="/shim/libcuda.so.1", ours=False)
    launching.process(["/opt/bin/target"], pid=5000, run=2)
    assert [found for found in diagnose(launching.open()) if found.rule == "kernel-fault"] == []
