"""A folder of libraries is changed by renames, and comes back exactly as it was, whatever happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from workbench import cli
from workbench.deploy.folder import OWN, DeployError, apply, look, make_plan, undo
from workbench.deploy.proof import prove, who_maps

Tree = dict[str, tuple[object, ...]]


def tree(folder: Path) -> Tree:
    """Everything in a folder: contents, modes, times and inodes of files, targets of links."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        name, status = str(path.relative_to(folder)), path.lstat()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("folder",)
        else:
            found[name] = (path.read_bytes(), status.st_mode, status.st_mtime_ns, status.st_ino)
    return found


@pytest.fixture
def libraries(make_library: Callable[..., Path]) -> Mapping[str, Path]:
    return {
        "libcuda.so.1": make_library("libvgpu-cuda.so", "libcuda.so.1", 7),
        "libnvidia-ml.so.1": make_library("libnvidia-ml.so.1", "libnvidia-ml.so.1"),
    }


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A folder as others left it: a driver behind a link, a file of the name we need, and something else."""
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "libcuda.so.550.1").write_text("theirs\n")
    (folder / "libcuda.so.1").symlink_to("libcuda.so.550.1")
    (folder / "libnvidia-ml.so.1").write_text("theirs as well\n")
    (folder / "libnvidia-ml.so.1").chmod(0o600)
    (folder / "other.txt").write_text("not ours\n")
    os.utime(folder / "libnvidia-ml.so.1", ns=(1_000_000_007, 1_000_000_007))
    return folder


def test_libraries_stand_under_their_sonames_and_the_loader_maps_them(
    tmp_path: Path, libraries: Mapping[str, Path]
) -> None:
    folder = tmp_path / "a" / "b"
    apply(make_plan(folder, libraries))
    assert look(folder / "libcuda.so.1").target == "libvgpu-cuda.so"
    assert look(folder / "libcuda.so").target == "libcuda.so.1"
    assert (folder / "libvgpu-cuda.so").read_bytes() == libraries["libcuda.so.1"].read_bytes()
    proofs = prove(folder, libraries, os.environ)
    assert [(proof.soname, proof.mapped) for proof in proofs] == [
        ("libcuda.so.1", folder / "libvgpu-cuda.so"),
        ("libnvidia-ml.so.1", folder / "libnvidia-ml.so.1"),
    ]
    assert all(proof.ok for proof in proofs)
    assert set(undo(folder).restored) == {
        "libvgpu-cuda.so", "libcuda.so.1", "libcuda.so", "libnvidia-ml.so.1", "libnvidia-ml.so"
    }  # fmt: skip
    assert not (tmp_path / "a").exists()  # it made these folders


def test_what_was_there_comes_back_as_the_very_file(used: Path, libraries: Mapping[str, Path]) -> None:
    before = tree(used)
    apply(make_plan(used, libraries))
    assert look(used / "libcuda.so.1").target == "libvgpu-cuda.so"
    assert (used / "libcuda.so.550.1").read_text() == "theirs\n"
    undone = undo(used)
    assert not undone.foreign and tree(used) == before


def test_a_second_deployment_still_knows_the_first_state(
    used: Path, libraries: Mapping[str, Path], make_library: Callable[..., Path]
) -> None:
    before = tree(used)
    apply(make_plan(used, libraries))
    newer = {"libcuda.so.1": make_library("libvgpu-cuda.so", "libcuda.so.1", 8)}
    plan = make_plan(used, newer)
    assert [(what, entry.name) for what, entry in plan.changes()] == [
        ("add", "libvgpu-cuda.so"),
        ("restore", "libnvidia-ml.so.1"),
        ("remove", "libnvidia-ml.so"),
    ]
    apply(plan)
    assert (used / "libnvidia-ml.so.1").read_text() == "theirs as well\n"
    assert (used / "libvgpu-cuda.so").read_bytes() == newer["libcuda.so.1"].read_bytes()
    assert not list(make_plan(used, newer).changes())
    undo(used)
    assert tree(used) == before


def killed_at(event: int, work: Callable[[], object]) -> bool:
    """Do `work` in a forked process that is killed as it begins its Nth operation on files."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(name: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if name.startswith(("os.", "shutil.", "open", "fcntl.")):
                seen += 1
                if seen == event:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_killed_at_any_moment_it_can_be_undone_and_finished(
    used: Path, libraries: Mapping[str, Path]
) -> None:
    before, moments = tree(used), 0
    while True:
        moments += 1
        if not killed_at(moments, lambda: apply(make_plan(used, libraries))):
            break
        if moments % 2:  # half of them are finished first
            apply(make_plan(used, libraries))
            assert not list(make_plan(used, libraries).changes())
            assert look(used / "libcuda.so.1").target == "libvgpu-cuda.so"
        if (used / OWN).exists():
            assert not undo(used).foreign
        assert tree(used) == before, f"killed at {moments}"
    assert moments > 30
    assert not list(make_plan(used, libraries).changes())


def test_an_undo_killed_at_any_moment_is_done_by_the_next(used: Path, libraries: Mapping[str, Path]) -> None:
    before, moments = tree(used), 0
    while True:
        moments += 1
        apply(make_plan(used, libraries))
        killed = killed_at(moments, lambda: undo(used))
        if (used / OWN).exists():
            assert not undo(used).foreign
        assert tree(used) == before, f"killed at {moments}"
        if not killed:
            break
    assert moments > 15


def test_what_somebody_else_changed_since_is_left_alone(used: Path, libraries: Mapping[str, Path]) -> None:
    apply(make_plan(used, libraries))
    (used / "libnvidia-ml.so.1").unlink()
    (used / "libnvidia-ml.so.1").write_text("an update\n")
    with pytest.raises(DeployError, match="changed by somebody else"):
        make_plan(used, libraries)
    undone = undo(used)
    assert undone.foreign == ("libnvidia-ml.so.1",)
    assert (used / "libnvidia-ml.so.1").read_text() == "an update\n"
    assert look(used / "libcuda.so.1").target == "libcuda.so.550.1"
    assert (used / OWN / "backup" / "libnvidia-ml.so.1").read_text() == "theirs as well\n"
    (used / "libnvidia-ml.so.1").unlink()
    (used / "libnvidia-ml.so.1").write_text("theirs as well\n")
    assert not undo(used).foreign and not (used / OWN).exists()


def test_a_process_that_has_the_old_file_mapped_goes_on_with_it(
    tmp_path: Path, libraries: Mapping[str, Path], make_library: Callable[..., Path]
) -> None:
    folder = tmp_path / "lib"
    apply(make_plan(folder, libraries))
    code = (
        "import ctypes, sys; lib = ctypes.CDLL(sys.argv[1]); print(lib.cuInit(0), flush=True)\n"
        "sys.stdin.readline(); print(lib.cuInit(0), flush=True)"
    )
    words = [sys.executable, "-c", code, str(folder / "libcuda.so.1")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "7\n"
        assert who_maps([folder / "libcuda.so.1"]) == {folder / "libcuda.so.1": [process.pid]}
        apply(make_plan(folder, {"libcuda.so.1": make_library("libvgpu-cuda.so", "libcuda.so.1", 9)}))
        print("go", file=process.stdin, flush=True)
        assert process.stdout.readline() == "7\n"
    assert process.returncode == 0
    done = subprocess.run(words, input="\n", capture_output=True, text=True, check=True)
    assert done.stdout == "9\n9\n"


def test_the_proof_names_what_is_mapped_instead_and_why_nothing_is(
    tmp_path: Path, make_library: Callable[..., Path]
) -> None:
    crash = "#include <stdlib.h>\n__attribute__((constructor)) static void begin(void) { abort(); }"
    needs = make_library("libvgpu-common.so", "libvgpu-common.so")
    libraries = {
        "libcuda.so.1": make_library("libcuda.so.1", "libcuda.so.1", 0, "", "-Wl,--no-as-needed", str(needs)),
        "libnvidia-ml.so.1": make_library("libnvidia-ml.so.1", "libnvidia-ml.so.1", 0, crash),
    }
    folder = tmp_path / "lib"
    apply(make_plan(folder, libraries))
    needed, crashed = prove(folder, libraries, os.environ)
    assert needed.problem.startswith("libvgpu-common.so: cannot open shared object file")
    assert crashed.problem == "the process was killed by SIGABRT while libnvidia-ml.so.1 was loaded"


def test_ollamas_own_folder_that_comes_first_is_found_by_loading_its_backend(
    tmp_path: Path, make_library: Callable[..., Path]
) -> None:
    root = tmp_path / "lib" / "ollama"
    folder = root / "cuda_v13"
    folder.mkdir(parents=True)
    shim = make_library("libcuda.so.1", "libcuda.so.1", 7)
    user = "int cuInit(unsigned); int use(void) { return cuInit(0); }\n#define cuInit own"
    backend = make_library("libggml-cuda.so", "libggml-cuda.so", 0, user, "-Wl,--no-as-needed", str(shim))
    backend.rename(folder / backend.name)
    apply(make_plan(folder, {"libcuda.so.1": shim}))
    assert [proof.ok for proof in prove(folder, ["libcuda.so.1"], os.environ)] == [True, True]
    other = make_library("libcuda-other.so", "libcuda.so.1", 8)
    other.rename(root / "libcuda.so.1")
    plain, as_ollama = prove(folder, ["libcuda.so.1"], os.environ)
    assert plain.ok
    assert as_ollama.mapped == root / "libcuda.so.1" and "as Ollama loads it" in as_ollama.how
    assert as_ollama.problem == f"the loader maps {root / 'libcuda.so.1'} instead"


def test_the_library_of_another_major_version_is_not_taken_for_the_one_that_is_meant(
    tmp_path: Path, make_library: Callable[..., Path]
) -> None:
    twelve = make_library("libcublas.so.12", "libcublas.so.12")
    thirteen = make_library("libcublas.so.13", "libcublas.so.13")
    folder = tmp_path / "cuda_v13"
    folder.mkdir()
    options = ("-Wl,--no-as-needed", str(thirteen))
    backend = make_library("libggml-cuda.so", "libggml-cuda.so", 0, "", *options)
    backend.rename(folder / backend.name)
    libraries = {"libcublas.so.12": twelve, "libcublas.so.13": thirteen}
    apply(make_plan(folder, libraries))
    proofs = prove(folder, libraries, os.environ)
    assert [(proof.soname, proof.problem) for proof in proofs] == [
        ("libcublas.so.12", ""),
        ("libcublas.so.13", ""),
        ("libcublas.so.13", ""),  # what the backend needs
    ]


def test_the_command_shows_first_and_changes_nothing_unasked(
    tmp_path: Path, libraries: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f'"{soname}" = "{path}"\n' for soname, path in libraries.items())
    (tmp_path / "shimbench.toml").write_text(f"[shim.libraries]\n{rows}")
    folder = tmp_path / "lib"
    assert cli.main(["deploy", str(tmp_path), "--to", str(folder), "--dry-run"]) == 0
    assert "add      libcuda.so.1 -> libvgpu-cuda.so" in capsys.readouterr().err and not folder.exists()
    assert cli.main(["deploy", str(tmp_path), "--to", str(folder)]) == 2  # nobody to ask
    assert "say --yes" in capsys.readouterr().err and not folder.exists()
    assert cli.main(["deploy", str(tmp_path), "--to", str(folder), "--yes"]) == 0
    assert "ok   libcuda.so.1" in capsys.readouterr().out
    assert cli.main(["deploy", "--to", str(folder), "--undo", "--yes"]) == 0
    assert not folder.exists()
    assert cli.main(["deploy", "--to", str(folder), "--undo", "--yes"]) == 2
    assert "deployed nothing" in capsys.readouterr().err


def test_what_a_library_needs_from_beside_itself_comes_along(
    tmp_path: Path, make_library: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    helper = make_library("libvgpu-common.so", "libvgpu-common.so")
    words = ("-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN", f"-L{helper.parent}", "-lvgpu-common")
    shim = make_library("libvgpu-cuda.so", "libcuda.so.1", 7, "", *words)
    (tmp_path / "shimbench.toml").write_text(f'[shim.libraries]\n"libcuda.so.1" = "{shim}"\n')
    folder = tmp_path / "lib"
    assert cli.main(["deploy", str(tmp_path), "--to", str(folder), "--yes"]) == 0
    said = capsys.readouterr()
    assert "add      libvgpu-common.so" in said.err
    assert f"ok   libvgpu-common.so -> {folder}/libvgpu-common.so" in said.out
    assert cli.main(["deploy", "--to", str(folder), "--undo", "--yes"]) == 0 and not folder.exists()
