"""What LD_PRELOAD holds for a target: ours first, and what the user preloaded replaced one for one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from workbench.native import NativePaths
from workbench.tap.rundir import make_bare_directory, make_run_directory


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A driver under a name of its own, whose soname is the driver's."""
    path = tmp_path / "libvgpu.so"
    source = tmp_path / "vgpu.c"
    source.write_text("int cuInit(unsigned flags) { return (int)flags; }\n")
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(path), str(source)], check=True
    )
    return path


def preloads(
    tmp_path: Path, native_paths: NativePaths, library: Path, inherited: Mapping[str, str], **more: object
) -> list[str]:
    environment = make_run_directory(
        tmp_path / "run", native_paths, {"libcuda.so.1": library}, tmp_path / "socket",
        inherited=inherited, **more,  # type: ignore[arg-type]
    )  # fmt: skip
    return environment["LD_PRELOAD"].split(":")


def test_a_preloaded_driver_is_replaced_by_the_tap_in_its_place(
    tmp_path: Path, native_paths: NativePaths, library: Path
) -> None:
    other = tmp_path / "other.so"
    inherited = {"LD_PRELOAD": f"{other}:{library} /lib/none.so"}
    tap = tmp_path / "run" / "tap"
    assert preloads(tmp_path, native_paths, library, inherited) == [
        str(tap / "libshimbench-preload.so"),
        str(other),
        str(tap / "libcuda.so.1"),
        "/lib/none.so",
    ]


def test_a_shim_under_another_soname_is_known_by_its_file(
    tmp_path: Path, native_paths: NativePaths, library: Path
) -> None:
    mine = tmp_path / "libmine.so"
    mine.write_bytes(b"not even a library")
    inherited = {"LD_PRELOAD": str(mine)}
    originals = {mine.resolve(): "libcuda.so.1"}
    found = preloads(tmp_path, native_paths, library, inherited, originals=originals)
    assert found[1:] == [str(tmp_path / "run" / "tap" / "libcuda.so.1")]


def test_a_library_that_no_path_reaches_is_preloaded_too(
    tmp_path: Path, native_paths: NativePaths, library: Path
) -> None:
    found = preloads(tmp_path, native_paths, library, {}, preload_too={"libcuda.so.1"})
    assert found[1:] == [str(tmp_path / "run" / "tap" / "libcuda.so.1")]
    bare = make_bare_directory(tmp_path / "bare", {"libcuda.so.1": library}, {}, {"libcuda.so.1"})
    assert bare["LD_PRELOAD"] == str(tmp_path / "bare" / "lib" / "libcuda.so.1")


def test_a_bare_run_keeps_what_the_user_preloads(tmp_path: Path, library: Path) -> None:
    bare = make_bare_directory(
        tmp_path / "bare", {"libcuda.so.1": library}, {"LD_PRELOAD": f"/x.so:{library}"}
    )
    assert bare["LD_PRELOAD"].split(":") == ["/x.so", str(tmp_path / "bare" / "lib" / "libcuda.so.1")]
    assert "LD_PRELOAD" not in make_bare_directory(tmp_path / "again", {"libcuda.so.1": library})


@pytest.mark.parametrize("tapped", [True, False])
def test_a_driver_is_found_under_the_name_without_a_version_too(
    tmp_path: Path, native_paths: NativePaths, library: Path, tapped: bool
) -> None:
    libraries = {"libcuda.so.1": library}
    environment = (
        make_run_directory(tmp_path / "run", native_paths, libraries, tmp_path / "socket")
        if tapped
        else make_bare_directory(tmp_path / "run", libraries)
    )
    program = (
        "import ctypes\n"
        "print([ctypes.CDLL(name).cuInit(7) for name in ('libcuda.so', 'libcuda.so.1')])\n"
        "print(len({line.split()[-1] for line in open('/proc/self/maps') if 'libcuda.so' in line}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["[7, 7]", "1" if tapped else "0"]
