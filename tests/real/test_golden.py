"""Runs held against one that was recorded on a driver: what is newly asked for, and what no longer works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_SECONDS
from workbench import native

OLD, NEW = "12.4", "13.5"


def shimbench(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workbench.cli", *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def diff(a: Path, b: Path) -> tuple[int, dict[str, Any]]:
    done = shimbench("diff", a, b, "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def driver(native_paths: native.NativePaths, shim_host: dict[str, str]) -> dict[str, str]:
    """The environment of a machine that has a driver: ours, where its loader looks."""
    return {**shim_host, "LD_LIBRARY_PATH": str(native_paths.lib)}


@pytest.fixture
def record(tmp_path: Path, target_programs: Path, cudart: Callable[[str], Path]) -> Callable[..., Path]:
    """Record a program that asks a runtime of `version`, on the machine's driver or a shim in a directory."""

    def made(name: str, version: str, *options: object, **environment: str) -> Path:
        library = cudart(version) / f"libcudart.so.{version.split('.')[0]}"
        words = ["run", *options, "--session", tmp_path / name, "--", target_programs / "probe", library]
        done = shimbench(*words, **environment)
        assert done.returncode == 0, done.stderr
        return tmp_path / name

    return made


def test_a_newer_runtime_asks_a_driver_for_names_versions_and_slots_that_the_golden_run_did_not(
    record: Callable[..., Path], driver: dict[str, str]
) -> None:
    golden = record("golden", OLD, "--driver", **driver)
    again = record("again", OLD, "--driver", **driver)
    status, said = diff(golden, again)
    assert (status, said["same"]) == (0, True), said["divergences"][:3]
    status, said = diff(golden, record("newer", NEW, "--driver", **driver))
    assert status == 1 and "table f8cff951" in said["missing_only"]["b"]
    new = said["asked_only"]["b"]
    assert {"cuMemGetDefaultMemPool", "cuCtxGetDevice as of CUDA 13.0"} <= set(new)
    assert {"table f8cff951", "slot 6bd5fb6c[12]"} <= set(new)
    assert "cuInit" not in new and "cuLaunchCooperativeKernelMultiDevice" in said["asked_only"]["a"]


def test_what_a_foreign_shim_no_longer_answers_is_told_against_the_golden_run(
    record: Callable[..., Path], driver: dict[str, str], foreign_shim: Callable[..., Path]
) -> None:
    golden = record("golden", OLD, "--driver", **driver)
    whole = record("whole", OLD, foreign_shim())
    status, said = diff(golden, whole)
    assert status == 1 and said["diagnoses_only"] == {"a": [], "b": []}
    assert "cuVDPAUGetDevice" in said["missing_only"]["b"] and said["missing_only"]["a"] == []
    kinds = {one["kind"] for one in said["divergences"]}
    assert "other output" in kinds and "missing process" not in kinds


def test_the_run_that_was_marked_good_stands_for_the_golden_one(
    record: Callable[..., Path], foreign_shim: Callable[..., Path], tmp_path: Path
) -> None:
    good = record("good", NEW, foreign_shim())
    assert shimbench("sessions", "good", good).returncode == 0
    broken = record("broken", NEW, foreign_shim(FAULT="INIT_999"))
    status, said = diff(good, broken)
    assert status == 1 and said["diagnoses_only"]["a"] == [] and len(said["diagnoses_only"]["b"]) == 1
    first = said["divergences"][0]
    assert (first["kind"], first["detail"]) == ("other result", "CUDA_SUCCESS, now CUDA_ERROR_UNKNOWN")
    assert first["call"].startswith("cuInit(")
