"""Shims that are not ours, whole and broken: seen as they are, and never helped or harmed by the tap."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from calls import driver_calls
from conftest import Consumer, Recorder, Recording

from tests.patience import PATIENCE_SECONDS
from workbench.native import NativePaths
from workbench.tap.rundir import make_bare_directory, make_run_directory
from workbench.views.coverage import Coverage

LINE_OF_98_BYTES = (
    "ggml_cuda_init: failed to initialize CUDA: API call is not supported in the installed CUDA driver"
)
WITHOUT_TABLES = {"EXCEPT": "cuGetExportTable"}

# Calls the shim makes of itself: cuInit in its constructor, cuDevicePrimaryCtxRetain for the runtime's
# table. It counts them; the runtime made neither.
OWN_CALLS = 2

# make's variables -> what the runtime says of it, in facts/cudart-bootstrap.md section 4 or found bare.
BROKEN = {
    "no cuGetExportTable": WITHOUT_TABLES,
    "no cuGetProcAddress": {"EXCEPT": "cuGetProcAddress cuGetProcAddress_v2"},
    "neither of them": {"EXCEPT": "cuGetProcAddress cuGetProcAddress_v2 cuGetExportTable"},
    "only the old cuGetProcAddress": {"EXCEPT": "cuGetProcAddress_v2"},
    "no cuInit but its own": {"EXCEPT": "cuInit"},
    "no UUID": {"EXCEPT": "cuDeviceGetUuid"},
    "no 64-bit memory size": {"EXCEPT": "cuDeviceTotalMem_v2"},
    "no cuMemAlloc_v2": {"EXCEPT": "cuMemAlloc_v2"},
    "only 120 names": {"NAMES": 120},
    "a function that nobody has": {"NEEDS": "vgpu_nobody_has_this"},
    **{
        fault.lower().replace("_", " "): {"FAULT": fault}
        for fault in (
            "PROC_ADDRESS_801",
            "PROC_ADDRESS_NAIVE",
            "PROC_ADDRESS_NULL",
            "TABLES_NOT_FOUND",
            "TABLES_801",
            "TABLE_NULL",
            "TABLE_SHORT",
            "TABLE_EMPTY",
            "SELF_TEST",
            "INIT_100",
            "INIT_999",
            "INIT_ABORT",
            "NO_DEVICES",
            "DRIVER_OLD",
            "DEVICE_GET_CRASH",
            "ATTRIBUTE_FAILS",
            "NAME_FAILS",
            "MEMORY_ZERO",
            "MEMORY_INFO_FAILS",
            "CONSTRUCTOR_CRASH",
            "CONSTRUCTOR_EXIT",
        )
    },
}

ForeignShim = Callable[..., Path]


def without_paths(text: str) -> str:
    """The same file may lie in a run's directory or in the build's; its name stays."""
    return re.sub(r"/[^\s:]*/", "", text)


def said_by_the_target(recording: Recording) -> tuple[int, str, str]:
    """Exit status, stdout and stderr as the target left them."""
    talk = [line for line in recording.stderr.splitlines() if not line.startswith(("shimbench", "make"))]
    return recording.status, recording.stdout, without_paths("\n".join(talk))


def alone(command: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """The same of a target that runs without a collector around it."""
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    status = 128 - done.returncode if done.returncode < 0 else done.returncode
    return status, done.stdout, without_paths(done.stderr.rstrip("\n"))


def probe(programs: Path, runtimes: Callable[[str], Path], version: str) -> list[str]:
    """The command that asks this runtime for its devices."""
    return [str(programs / "probe"), str(runtimes(version) / f"libcudart.so.{version.split('.')[0]}")]


def libraries(directory: Path) -> dict[str, Path]:
    build = directory / "build"
    return {
        "libcuda.so.1": build / "libvgpu-cuda.so",
        "libnvidia-ml.so.1": build / "libvgpu-nvml.so",
        "libvgpu-common.so": build / "libvgpu-common.so",
    }


@pytest.mark.parametrize("version", ["12.4", "13.0"])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_shim_fails_alike_bare_untapped_and_tapped(
    broken: str,
    version: str,
    foreign_shim: ForeignShim,
    cudart: Callable[[str], Path],
    target_programs: Path,
    recorder: Recorder,
    tmp_path: Path,
) -> None:
    directory = foreign_shim(**BROKEN[broken])
    command = probe(target_programs, cudart, version)
    bare = alone(command, make_bare_directory(tmp_path / "bare", libraries(directory)))
    for tap in (False, True):
        done = recorder.run(command, directory, tap=tap, json_report=False)
        assert said_by_the_target(done) == bare, f"tap={tap}"


@pytest.mark.parametrize("version", ["12.4", "13.0"])
@pytest.mark.parametrize("broken", ["nothing", *BROKEN])
def test_without_a_collector_the_tap_lets_everything_through(
    broken: str,
    version: str,
    foreign_shim: ForeignShim,
    cudart: Callable[[str], Path],
    native_paths: NativePaths,
    target_programs: Path,
    tmp_path: Path,
) -> None:
    shim = libraries(foreign_shim(**BROKEN.get(broken, {})))
    command = probe(target_programs, cudart, version)
    bare = alone(command, make_bare_directory(tmp_path / "bare", shim))
    nobody = tmp_path / "nobody.sock"
    assert alone(command, make_run_directory(tmp_path / "run", native_paths, shim, nobody)) == bare


def test_a_whole_foreign_shim_is_counted_as_it_counts_itself(
    foreign_shim: ForeignShim,
    llama: Consumer,
    native_paths: NativePaths,
    tiny_model: Path,
    recorder: Recorder,
    tmp_path: Path,
) -> None:
    counts = tmp_path / "counts"
    counts.mkdir()
    command = llama.command(native_paths, "--model", tiny_model, "--repeat", 1)
    environment = {**llama.environment, "VGPU_COUNTS": str(counts)}
    done = recorder.run(command, foreign_shim(), environment=environment)
    assert done.status == 0, done.stderr
    [counted] = [int.from_bytes(path.read_bytes(), "little") for path in counts.iterdir()]
    assert counted > 1000
    assert sum(driver_calls(done.session, of_the_shim=False).values()) + OWN_CALLS == counted
    assert done.report["lost"] == 0


def test_without_export_tables_the_log_has_the_98_byte_line_and_coverage_its_cause(
    foreign_shim: ForeignShim, llama_13: Consumer, native_paths: NativePaths, recorder: Recorder
) -> None:
    directory = foreign_shim(**WITHOUT_TABLES)
    command = llama_13.command(native_paths, "--list-devices")
    for tap in (False, True):
        done = recorder.run(command, directory, tap=tap, environment=llama_13.environment)
        log = done.session.log
        [line] = [line for line in log.lines(0, len(log)) if b"failed to initialize CUDA" in line.text]
        assert line.text.decode() == LINE_OF_98_BYTES
        assert line.length == 98
        assert line.stream == "stderr"
    coverage = Coverage()
    coverage.update(done.session)
    first = coverage.rows()[0]
    assert first.name == "cuGetExportTable"
    assert not first.answered
    assert first.effect == "fatal-at-init"
    assert [asked.by for asked in first.asked] == ["libcudart.so.13"]


def test_with_only_120_names_the_fatal_ones_come_first_and_300_harmless_ones_last(
    foreign_shim: ForeignShim, llama_13: Consumer, native_paths: NativePaths, recorder: Recorder
) -> None:
    command = llama_13.command(native_paths, "--list-devices")
    done = recorder.run(command, foreign_shim(NAMES=120), environment=llama_13.environment)
    coverage = Coverage()
    coverage.update(done.session)
    missing = [row for row in coverage.rows() if not row.answered]
    effects = [row.effect for row in missing]
    fatal = [row.name for row in missing if row.effect == "fatal-at-init"]
    # cuDeviceTotalMem_v2 is answered: the shim has an older form of it.
    assert set(fatal) == {"cuGetExportTable", "cuDeviceGetUuid"}
    assert effects[: len(fatal)] == ["fatal-at-init"] * len(fatal)
    assert effects.count("harmless") > 250


def test_a_shim_given_by_preload_is_the_one_that_is_seen(
    foreign_shim: ForeignShim, llama_13: Consumer, native_paths: NativePaths, recorder: Recorder
) -> None:
    directory = foreign_shim()
    environment = {
        **llama_13.environment,
        "LD_PRELOAD": str(directory / "build" / "libvgpu-cuda.so"),
    }
    done = recorder.run(llama_13.command(native_paths, "--list-devices"), directory, environment=environment)
    assert done.status == 0
    assert any(line.startswith("device CUDA0: Foreign vGPU") for line in done.log)
