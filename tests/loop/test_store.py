"""Good builds are kept by content, and what runs is never what the compiler writes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from workbench.loop.store import BuildStore


@pytest.fixture
def built(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    (directory / "src").mkdir(parents=True)
    (directory / "libvgpu.so").write_bytes(b"first")
    (directory / "shimhost").write_bytes(b"host")
    (directory / "shimhost").chmod(0o755)
    (directory / "src" / "a.c").write_text("int a;\n")
    return directory


def test_a_build_is_kept_under_its_sonames_with_its_sources(tmp_path: Path, built: Path) -> None:
    store = BuildStore(tmp_path / "store")
    build = store.keep({"libcuda.so.1": built / "libvgpu.so"}, built / "shimhost", [built / "src/a.c"], built)
    assert build.libraries["libcuda.so.1"].read_bytes() == b"first"
    assert build.libraries["libcuda.so.1"] == build.lib / "libcuda.so.1"
    assert build.host is not None and os.access(build.host, os.X_OK)
    (built / "src" / "a.c").write_text("int b;\n")
    assert store.source(build, "src/a.c") == "int a;\n"


def linked(path: Path, *words: str) -> Path:
    """A shared library with nothing in it, linked with these further words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["cc", "-shared", "-o", str(path), "-x", "c", "/dev/null", "-x", "none", "-Wl,--no-as-needed"]
    subprocess.run([*command, f"-Wl,-soname,{path.name}", *words], check=True)
    return path


def test_what_a_shim_finds_beside_itself_is_kept_with_it(tmp_path: Path) -> None:
    deep = linked(tmp_path / "common" / "libdeep.so")
    helper = linked(tmp_path / "common" / "libhelper.so", str(deep), "-Wl,-rpath,${ORIGIN}")
    nvml = linked(tmp_path / "build" / "libnvidia-ml.so.1")
    other = linked(tmp_path / "absolute" / "libother.so")
    shim = linked(
        tmp_path / "build" / "libvgpu.so",
        *(str(helper), str(nvml), str(other)),
        f"-Wl,-rpath,$ORIGIN/../common:$ORIGIN:{other.parent}",
    )
    build = BuildStore(tmp_path / "store").keep({"libcuda.so.1": shim})
    assert set(build.libraries) == {"libcuda.so.1", "libhelper.so", "libdeep.so"}
    assert build.libraries["libdeep.so"].read_bytes() == deep.read_bytes()


def test_rewriting_the_built_file_in_place_leaves_the_kept_one_alone(tmp_path: Path, built: Path) -> None:
    store = BuildStore(tmp_path / "store")
    first = store.keep({"libcuda.so.1": built / "libvgpu.so"})
    (built / "libvgpu.so").write_bytes(b"second, written over the first")
    second = store.keep({"libcuda.so.1": built / "libvgpu.so"})
    assert first.id != second.id
    assert first.libraries["libcuda.so.1"].read_bytes() == b"first"
    assert store.load(first.id).libraries == first.libraries


def test_the_same_build_is_kept_once(tmp_path: Path, built: Path) -> None:
    libraries = {"libcuda.so.1": built / "libvgpu.so"}
    first = BuildStore(tmp_path / "store").keep(libraries)
    assert BuildStore(tmp_path / "store").keep(libraries) == first
    assert len(list((tmp_path / "store" / "builds").iterdir())) == 1


def test_a_changed_source_is_another_build(tmp_path: Path, built: Path) -> None:
    store = BuildStore(tmp_path / "store")
    libraries = {"libcuda.so.1": built / "libvgpu.so"}
    first = store.keep(libraries, None, [built / "src/a.c"], built)
    (built / "src" / "a.c").write_text("int a; /* said more */\n")
    assert store.keep(libraries, None, [built / "src/a.c"], built).id != first.id


def test_a_library_that_was_not_built_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.so"):
        BuildStore(tmp_path / "store").keep({"libcuda.so.1": tmp_path / "gone.so"})


def test_only_old_builds_are_pruned_and_their_objects_with_them(tmp_path: Path, built: Path) -> None:
    store = BuildStore(tmp_path / "store")
    kept = []
    for number in range(4):
        (built / "libvgpu.so").write_bytes(b"x" * (number + 1))
        kept.append(store.keep({"libcuda.so.1": built / "libvgpu.so"}))
        os.utime(kept[-1].path, (number, number))
    assert store.prune(keep=2, older_than=1e12) == []
    assert sorted(store.prune(keep=2)) == sorted(build.id for build in kept[:2])
    assert len(list((tmp_path / "store" / "objects").glob("*/*"))) == 2
    assert store.load(kept[3].id).libraries["libcuda.so.1"].read_bytes() == b"xxxx"
