"""Diagnosis of shims that are really broken, under the real runtimes; and silence about a whole one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE_SECONDS, Consumer, Recorder, looked_at

from sessions import SessionError, open_session
from workbench.diagnosis import diagnose
from workbench.native import NativePaths

ForeignShim = Callable[..., Path]

# make's variables -> the rule that speaks first, and a word that its cause must hold.
BROKEN: dict[str, tuple[dict[str, object], str, str]] = {
    "no cuGetExportTable": ({"EXCEPT": "cuGetExportTable"}, "entry-not-resolvable", "cuGetExportTable"),
    # The shim's own constructor calls its cuInit all the same.
    "no cuInit but its own": ({"EXCEPT": "cuInit"}, "entry-not-resolvable", "cuInit"),
    "no way to resolve": (
        {"EXCEPT": "cuGetProcAddress cuGetProcAddress_v2 cuGetExportTable"},
        "entry-not-resolvable",
        "cuGetExportTable",
    ),
    "no UUID": ({"EXCEPT": "cuDeviceGetUuid"}, "name-missing", "cuDeviceGetUuid"),
    "no cuMemAlloc_v2": ({"EXCEPT": "cuMemAlloc_v2"}, "wrong-variant", "cuMemAlloc_v2"),
    "a function that nobody has": (
        {"NEEDS": "vgpu_nobody_has_this"},
        "shim-not-loadable",
        "vgpu_nobody_has_this",
    ),
    **{
        fault.lower().replace("_", " "): ({"FAULT": fault}, rule, word)
        for fault, rule, word in (
            ("PROC_ADDRESS_801", "proc-address-fails", "cuGetProcAddress"),
            ("PROC_ADDRESS_NAIVE", "wrong-variant", "cuMemGetInfo_v2"),
            ("PROC_ADDRESS_NULL", "name-missing", "cuDeviceGetName"),
            ("TABLES_NOT_FOUND", "export-table-refused", "CUDA_ERROR_NOT_FOUND"),
            ("TABLES_801", "export-table-refused", "CUDA_ERROR_NOT_SUPPORTED"),
            ("TABLE_NULL", "export-table-null", "NULL"),
            ("TABLE_SHORT", "export-table-short", "size word"),
            ("TABLE_EMPTY", "export-table-empty", "SIGSEGV"),
            ("SLOT_FAILS", "export-table-slot-fails", "CUDA_ERROR_NOT_SUPPORTED"),
            ("SELF_TEST", "self-test-wrong", "IntegrityCheck"),
            ("INIT_100", "init-fails", "CUDA_ERROR_NO_DEVICE"),
            ("INIT_999", "init-fails", "CUDA_ERROR_UNKNOWN"),
            ("INIT_ABORT", "call-crashes", "cuInit"),
            ("INIT_FREES", "call-crashes", "free(): invalid pointer"),
            ("PROC_ADDRESS_WILD", "call-crashes", "0xdead0000beef"),
            ("NO_DEVICES", "no-devices", "cuDeviceGetCount"),
            ("DRIVER_OLD", "driver-too-old", "11.8"),
            ("DEVICE_GET_CRASH", "call-crashes", "cuDeviceGet"),
            ("ATTRIBUTE_FAILS", "device-query-fails", "cuDeviceGetAttribute"),
            ("NAME_FAILS", "device-query-fails", "cuDeviceGetName"),
            ("MEMORY_ZERO", "no-memory", "cuDeviceTotalMem"),
            ("MEMORY_INFO_FAILS", "context-call-fails", "cuMemGetInfo_v2"),
            ("CONSTRUCTOR_CRASH", "constructor-crashes", "constructor"),
            ("CONSTRUCTOR_EXIT", "constructor-exits", "constructor"),
        )
    },
}
# So that each rule is met under a runtime of each generation: what no other fault of its rule is tried with
# there, or what a runtime meets in a way of its own.
BY_RUNTIME = (
    "no cuGetExportTable",
    "no cuInit but its own",
    "no UUID",
    "proc address naive",
    "tables 801",
    "table short",
    "self test",
    "attribute fails",
    "table null",
    "no devices",
    "driver old",
    "memory zero",
    "memory info fails",
    "proc address 801",
    "init 999",
    "table empty",
    "slot fails",
    "device get crash",
    "init frees",
    "proc address wild",
    "constructor crash",
    "constructor exit",
    "a function that nobody has",
)
OLD, NEW = "12.4", "13.0"
MET = [
    pytest.param(broken, version, marks=pytest.mark.meets(BROKEN[broken][1]))
    for place, broken in enumerate(BROKEN)
    for version in ((OLD, NEW) if broken in BY_RUNTIME else ((OLD, NEW)[place % 2],))
]
# These never end by themselves.
HANGING = {
    "INIT_HANG": ("call-hangs", "cuInit"),
    "CONSTRUCTOR_HANG": ("constructor-hangs", "constructor"),
}


# fault -> the runtime, the rule that speaks first, and a word of its cause.
PROXY_BROKEN = {
    "THROW": ("13.0", "call-crashes", "cuInit"),
    "CLAIM": ("13.0", "name-missing", "cuCtxGetDevice_v2"),
    "ALL_NULL": ("12.9", "proc-address-fails", "null pointer"),
    "ONE_TABLE": ("12.9", "export-table-refused", "d4082055"),
    "NULL_HOOK": ("13.5", "export-table-empty", "SIGSEGV"),
    "TWINS": ("13.0", "pci-id-doubled", "0, 1"),
    "ZEROED": ("12.8", "no-memory", "0 bytes"),
    "ONE_ATTRIBUTE": ("12.9", "device-query-fails", "97"),
    "CONTEXT": ("13.0", "context-call-fails", "cuDevicePrimaryCtxRetain"),
    "NULL_CONTEXT": ("12.8", "success-without-effect", "cuDevicePrimaryCtxRetain"),
    "NULL_MEMORY": ("13.5", "success-without-effect", "cuMemAlloc_v2"),
    "FULL": ("13.0", "out-of-memory", "nobody holds memory"),
    "SLOW": ("12.9", "slow-load", "constructors"),
    "SLOW_LOOKUPS": ("13.0", "slow-load", "cuGetProcAddress_v2 took"),
}
# Under a runtime of the other generation, where no other test meets that form of the rule.
PROXY_AGAIN = (
    ("TWINS", "12.9"),
    ("FULL", "12.4"),
    ("NULL_CONTEXT", "13.0"),
    ("NULL_MEMORY", "12.4"),
    ("SLOW", "13.5"),
    ("SLOW_LOOKUPS", "12.8"),
)


def probe(programs: Path, runtimes: Callable[[str], Path], version: str) -> list[str]:
    """The command that asks this runtime for its devices."""
    return [str(programs / "probe"), str(runtimes(version) / f"libcudart.so.{version.split('.')[0]}")]


def first(diagnosis: list[dict[str, Any]]) -> dict[str, Any]:
    """The one that stands first; it must not be a consequence and must show something."""
    assert diagnosis, "no rule spoke"
    assert diagnosis[0]["consequence_of"] is None
    assert diagnosis[0]["evidence"]
    return diagnosis[0]


@pytest.mark.parametrize(("broken", "version"), MET)
def test_the_rule_that_knows_the_fault_speaks_first(
    broken: str,
    version: str,
    foreign_shim: ForeignShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
) -> None:
    variables, rule, word = BROKEN[broken]
    done = recorder.run(probe(target_programs, cudart, version), foreign_shim(**variables))
    found = first(done.report["diagnosis"])
    assert found["rule"] == rule, found
    assert word in found["cause"]


@pytest.mark.parametrize(
    ("fault", "version"),
    [
        pytest.param(fault, version, marks=pytest.mark.meets(HANGING[fault][0]))
        for fault in HANGING
        for version in (OLD, NEW)
    ],
)
def test_a_hang_is_told_from_how_long_the_call_was_under_way(
    fault: str,
    version: str,
    foreign_shim: ForeignShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
) -> None:
    rule, word = HANGING[fault]
    command = probe(target_programs, cudart, version)
    done = recorder.run(command, foreign_shim(FAULT=fault), until=looked_at)
    found = first(done.report["diagnosis"])
    assert (found["rule"], word in found["cause"]) == (rule, True)


@pytest.mark.parametrize(
    ("fault", "version"),
    [
        pytest.param(fault, version, marks=pytest.mark.meets(PROXY_BROKEN[fault][1]))
        for fault, version in (*((fault, row[0]) for fault, row in PROXY_BROKEN.items()), *PROXY_AGAIN)
    ],
)
def test_a_shim_of_another_make_is_explained_from_the_same_facts(
    fault: str,
    version: str,
    proxy_shim: Callable[[str], Path],
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
) -> None:
    _, rule, word = PROXY_BROKEN[fault]
    done = recorder.run(probe(target_programs, cudart, version), proxy_shim(fault))
    found = first(done.report["diagnosis"])
    assert found["rule"] == rule, done.report["diagnosis"]
    assert word in found["cause"]


def test_a_lock_that_is_never_released_is_told_with_the_place_in_the_shim(
    proxy_shim: Callable[[str], Path],
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
    until: Callable[..., Any],
) -> None:
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not on PATH")
    # Somebody else ends the process, as Ollama does at its limits: the stacks were taken before.
    started, path = recorder.start(probe(target_programs, cudart, NEW), proxy_shim("MUTEX"))

    def hanging() -> int | None:
        with contextlib.suppress(SessionError, OSError):
            session = open_session(path)
            if looked_at(session):
                return next(process.pid for process in session.processes if process.role == "target")
        return None

    os.kill(until(hanging, "the stacks of the process that hangs"), signal.SIGKILL)
    started.wait(PATIENCE_SECONDS)
    found = diagnose(open_session(path))[0]
    assert (found.rule, found.certainty) == ("call-hangs", "proved")
    assert "in the guest (cuDeviceGetCount" in found.cause


@pytest.mark.parametrize(("fault", "version"), [("NONE", "13.5"), ("OUT_OF_SIGHT", "12.9")])
def test_no_rule_speaks_about_a_shim_that_passes_everything_on(
    fault: str,
    version: str,
    proxy_shim: Callable[[str], Path],
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
) -> None:
    done = recorder.run(probe(target_programs, cudart, version), proxy_shim(fault))
    assert "cudaMalloc: 0, no error" in done.log
    assert done.report["diagnosis"] == []


def test_a_shim_that_only_exports_lacks_the_variant_that_13_5_asks_for(
    foreign_shim: ForeignShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
) -> None:
    # Without cuGetProcAddress the runtime asks by dlsym for cuDeviceGetUuid_v2 itself: 13.0 goes on without
    # it, 13.5 does not. The shim has cuDeviceGetUuid alone.
    done = recorder.run(probe(target_programs, cudart, "13.5"), foreign_shim(EXCEPT=RESOLVING))
    assert done.log[0].startswith("cudaGetDeviceCount: 3, initialization error")
    found = first(done.report["diagnosis"])
    assert (found["rule"], "cuDeviceGetUuid_v2" in found["cause"]) == ("name-missing", True)


def test_no_rule_speaks_about_a_model_that_ran_on_our_own_shim(
    llama: Consumer, native_paths: NativePaths, tiny_model: Path, recorder: Recorder
) -> None:
    command = llama.command(native_paths, "--model", tiny_model, "--repeat", 1)
    done = recorder.run(command, environment=llama.environment)
    assert done.status == 0, done.stderr
    assert done.report["diagnosis"] == []


RESOLVING = "cuGetProcAddress cuGetProcAddress_v2"


@pytest.mark.parametrize(
    ("version", "variables"),
    [
        *((version, {}) for version in ("12.4", "12.9", "13.0", "13.5")),
        *((version, {"EXCEPT": RESOLVING}) for version in ("12.4", "12.9", "13.0")),
    ],
)
def test_no_rule_speaks_about_a_shim_that_works(
    variables: dict[str, object],
    version: str,
    foreign_shim: ForeignShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
) -> None:
    done = recorder.run(probe(target_programs, cudart, version), foreign_shim(**variables))
    assert "cudaMalloc: 0, no error" in done.log
    assert done.report["diagnosis"] == []


@pytest.mark.meets("crashes-outside-calls")
@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_crash_after_all_work_was_done_is_no_wall_before_it_and_told_as_what_it_is(
    version: str,
    foreign_shim: ForeignShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
) -> None:
    command = probe(target_programs, cudart, version)
    done = recorder.run(command, foreign_shim(FAULT="DESTRUCTOR_CRASH"))
    assert "cudaMemGetInfo: 0, no error, 6144 MiB" in done.log
    assert done.report["signal"] == signal.SIGSEGV
    [found] = done.report["diagnosis"]
    assert found["rule"] == "crashes-outside-calls"
    assert found["certainty"] in ("proved", "possible")  # the kernel's log may be read, or not


def test_no_rule_speaks_about_nvidia_ml_py(recorder: Recorder) -> None:
    script = "import pynvml as n; n.nvmlInit(); print(n.nvmlDeviceGetCount(), n.nvmlSystemGetDriverVersion())"
    done = recorder.run([sys.executable, "-c", f"{script}; n.nvmlShutdown()"])
    assert done.status == 0, done.stderr
    assert (done.report["diagnosis"], done.report["lost"]) == ([], 0)


def test_no_rule_speaks_about_a_c_program(target_programs: Path, recorder: Recorder, tmp_path: Path) -> None:
    done = recorder.run([str(target_programs / "caller"), str(tmp_path / "counts"), "3", "5000"])
    assert done.status == 0, done.stderr
    assert done.report["diagnosis"] == []


@pytest.mark.meets("environment-dropped")
@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_program_that_lost_the_environment_is_told(
    version: str,
    target_programs: Path,
    cudart: Callable[[str], Path],
    foreign_shim: ForeignShim,
    recorder: Recorder,
) -> None:
    words = " ".join(probe(target_programs, cudart, version))
    command = ["sh", "-c", f"env -u LD_LIBRARY_PATH -u LD_PRELOAD {words}; true"]
    done = recorder.run(command, foreign_shim())
    assert "insufficient" in "".join(done.log)
    assert first(done.report["diagnosis"])["rule"] == "environment-dropped"


@pytest.mark.meets("success-without-effect")
def test_a_shim_whose_kernels_do_nothing_and_that_says_nothing_of_it_is_told_from_its_waits(
    foreign_shim: ForeignShim,
    llama: Consumer,
    native_paths: NativePaths,
    tiny_model: Path,
    recorder: Recorder,
) -> None:
    command = llama.command(native_paths, "--model", tiny_model, "--repeat", 1)
    done = recorder.run(command, foreign_shim(), environment=llama.environment)
    assert done.status == 0, done.stderr
    [found] = done.report["diagnosis"]
    assert (found["rule"], found["certainty"]) == ("success-without-effect", "likely")
    assert "waits for kernels" in found["cause"]
    assert any("Synchronize" in piece["text"] and piece["call"] for piece in found["evidence"])


@pytest.mark.meets("entry-not-resolvable")
def test_the_98_byte_line_of_a_real_backend_is_explained_by_the_name_that_was_asked_for(
    foreign_shim: ForeignShim, llama: Consumer, native_paths: NativePaths, recorder: Recorder
) -> None:
    command = llama.command(native_paths, "--list-devices")
    done = recorder.run(command, foreign_shim(EXCEPT="cuGetExportTable"), environment=llama.environment)
    found = first(done.report["diagnosis"])
    assert (found["rule"], found["certainty"]) == ("entry-not-resolvable", "proved")
    assert "cuGetExportTable" in found["cause"]
    assert any("failed to initialize CUDA" in piece["text"] for piece in found["evidence"])
