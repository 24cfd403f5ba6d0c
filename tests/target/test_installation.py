"""What is known of an Ollama before it runs, without asking any server: version, folders, backends."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from workbench.config import Config, ShimConfig
from workbench.errors import ShimbenchError
from workbench.target.command import find_target
from workbench.target.cuda_library import read_cuda_library
from workbench.target.installation import (
    ask_version,
    beyond_rules,
    era_of_version,
    inspect,
    library_folder,
    numbers,
    placed_libraries,
)

FATBIN = """
__attribute__((section(".nv_fatbin"), aligned(8))) const unsigned char image[] = {%s};
extern int cuInit(unsigned), cudaMalloc(void), cublasCreate(void);
int used(void) { return cuInit(0) + cudaMalloc() + cublasCreate() + image[0]; }
"""


def entry(kind: int, arch: int, stored: int) -> bytes:
    """An entry of a fat binary: 1 PTX, 2 cubin."""
    head = struct.pack("<HHIQIIHHI", kind, 0x101, 64, stored, 0, 0, 0, 0, arch)
    return head.ljust(64, b"\0") + bytes(stored)


def container(*entries: bytes) -> bytes:
    payload = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(payload)) + payload


def build(path: Path, image: bytes, *flags: str) -> Path:
    """A library with kernels of these architectures, as far as its file tells."""
    source = path.with_suffix(".c")
    source.write_text(FATBIN % ",".join(map(str, image)))
    words = ["cc", "-shared", "-fPIC", "-w", "-o", str(path), str(source), *flags]
    subprocess.run(words, check=True)
    return path


IMAGE = (
    container(entry(2, 86, 24), entry(1, 75, 8)) + bytes(8) + container(entry(2, 120, 16), entry(1, 80, 16))
)


def test_a_backend_tells_its_needs_its_architectures_and_its_ptx(tmp_path: Path) -> None:
    found = read_cuda_library(build(tmp_path / "libggml-cuda.so", IMAGE, "-Wl,-rpath,$ORIGIN"))
    assert found.architectures == (86, 120) and found.ptx == (75, 80)
    assert found.driver_names == ("cuInit",)
    assert "$ORIGIN" in (found.runpath, found.rpath)
    assert found.runtime is None
    assert any("machine code for 86 120; PTX 75 80" in line for line in found.lines())


def test_a_library_without_ptx_says_what_that_means(tmp_path: Path) -> None:
    found = read_cuda_library(build(tmp_path / "libggml-cuda.so", container(entry(2, 86, 8))))
    assert found.ptx == () and "none aboard" in found.lines()[2]


@pytest.mark.parametrize("image", [b"", b"\0" * 8, b"\x50\xed\x55\xba" * 9, container(entry(2, 86, 8))[:40]])
def test_a_damaged_section_holds_no_code(tmp_path: Path, image: bytes) -> None:
    assert read_cuda_library(build(tmp_path / "libggml-cuda.so", image or b"\0")).architectures == ()


def test_what_is_no_library_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "libggml-cuda.so"
    for content in (b"", b"hello", b"\x7fELF" + b"\xff" * 60, b"\x7fELF\2\1\1" + bytes(40)):
        path.write_bytes(content)
        with pytest.raises(ShimbenchError, match=str(path)):
            read_cuda_library(path)


def install(root: Path, version: str = "0.33.0", script: str = "") -> Path:
    """A program that tells its version as Ollama does, with a folder for libraries."""
    program = root / "bin" / "ollama"
    program.parent.mkdir(parents=True)
    (root / "lib" / "ollama" / "cuda_v13").mkdir(parents=True)
    told = f"echo Warning: client version is {version}"
    program.write_text(f"#!/bin/sh\n{script or told}\n")
    program.chmod(0o755)
    return program


def test_the_version_is_the_programs_own_answer(tmp_path: Path) -> None:
    assert ask_version(install(tmp_path, "0.33.0-rc2"), {"PATH": "/usr/bin:/bin"}) == "0.33.0-rc2"


def test_no_running_server_and_no_home_of_the_users_is_touched(tmp_path: Path) -> None:
    program = install(tmp_path, script='echo "client version is $OLLAMA_HOST,$HOME,$SECRET"')
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/home/me", "OLLAMA_HOST": "myserver:11434", "SECRET": "x"}
    told = ask_version(program, environ)
    assert told is not None
    host, home, secret = told.split(",")
    assert host == "127.0.0.1:1" and home != "/home/me" and secret == ""
    assert not Path(home).exists()


@pytest.mark.parametrize("script", ["exit 1", "sleep 100", "echo hello"])
def test_a_program_that_tells_nothing_has_no_version(tmp_path: Path, script: str) -> None:
    assert ask_version(install(tmp_path, script=script), {"PATH": "/usr/bin:/bin"}, patience=0.5) is None


@pytest.mark.parametrize(
    ("version", "era"),
    [
        ("0.1.14", "<=0.12.3"),
        ("0.12.3", "<=0.12.3"),
        ("0.12.4", "0.12.4-0.24"),
        ("0.24.0", "0.12.4-0.24"),
        ("v0.30.0", ">=0.30"),
        ("0.33.0-rc2", ">=0.30"),
        ("1.2.0", ">=0.30"),
        ("0.0.0", None),
        ("main", None),
        (None, None),
    ],
)
def test_the_version_tells_the_generation(version: str | None, era: str | None) -> None:
    assert era_of_version(version) == era


def test_a_build_without_a_version_is_told_by_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "llama-server").touch()
    assert era_of_version("0.0.0", tmp_path) == ">=0.30"
    assert numbers("0.0.0") is None


def test_the_library_folder_is_found_through_links_and_in_builds(tmp_path: Path) -> None:
    program = install(tmp_path / "real")
    link = tmp_path / "ollama"
    link.symlink_to(program)
    assert library_folder(link, tmp_path) == tmp_path / "real/lib/ollama"
    built = tmp_path / "tree" / "ollama"
    (built.parent / "build" / "lib" / "ollama").mkdir(parents=True)
    built.touch()
    assert library_folder(built, tmp_path) == tmp_path / "tree/build/lib/ollama"
    assert library_folder(tmp_path / "nowhere" / "x" / "ollama", tmp_path) is None


def test_what_is_newer_than_the_rules_is_said() -> None:
    assert beyond_rules("0.33.9", [(13, 5), (12, 4)]) == []
    assert beyond_rules("0.34.0", [(13, 6)]) == [
        "Ollama 0.34.0 not known, rules checked to 0.33",
        "cudart 13.6 not known, rules checked to 13.5",
    ]


def test_a_driver_in_ollamas_own_folder_is_seen_and_ours_preloaded(tmp_path: Path) -> None:
    program = install(tmp_path)
    folder = tmp_path / "lib" / "ollama"
    build(folder / "cuda_v13" / "libggml-cuda.so", IMAGE)
    (folder / "cuda_v13" / "libcuda.so.1").touch()
    assert placed_libraries(folder) == [folder / "cuda_v13" / "libcuda.so.1"]
    environ = {"PATH": f"{program.parent}:/usr/bin:/bin"}
    shim = ShimConfig(libraries={"libcuda.so.1": tmp_path / "a.so", "libnvidia-ml.so.1": tmp_path / "b.so"})
    config = Config(tmp_path, shim=shim)
    target = find_target(config, [], tmp_path / "home", environ)
    assert target.preload == {"libcuda.so.1"}
    found = inspect(program, tmp_path, environ)
    assert found.version == "0.33.0" and found.era == ">=0.30"
    assert [backend.architectures for backend in found.backends] == [(86, 120)]
    assert any("searches before LD_LIBRARY_PATH" in warning for warning in found.warnings)
    assert target.describe is not None and target.describe() == found
    assert found.as_json()["backends"][0]["ptx"] == [75, 80]
    assert any("Ollama 0.33.0, generation >=0.30" in line for line in found.lines())


def test_an_ollama_without_libraries_is_said_to_have_none(tmp_path: Path) -> None:
    program = tmp_path / "alone" / "bin" / "ollama"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    found = inspect(program, tmp_path / "alone", {"PATH": "/usr/bin:/bin"})
    assert any("never looks for a GPU" in warning for warning in found.warnings)
