"""`shimbench init`: what a directory holds, and a shimbench.toml that loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sessions import Session
from workbench import cli
from workbench.config import load_config
from workbench.init.service import find_service
from workbench.init.write import describe, look, render

SHIM = "int cuInit(unsigned f) { return (int)f; }\nint cuDeviceGet(int *d, int n) { *d = n; return 0; }\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A foreign shim: a Makefile below, two libraries, a forwarder."""
    root = tmp_path / "project"
    (root / "shim").mkdir(parents=True)
    (root / "build").mkdir()
    (root / "shim" / "Makefile").write_text("all:\n")
    (root / "shim" / "cuda.c").write_text(SHIM)
    (root / "shim" / "nvml.c").write_text("int nvmlInit_v2(void) { return 0; }\n")
    (root / "shim" / "host.c").write_text("int main(void) { return 0; }\n")
    for source, options, made in (
        ("cuda.c", ["-shared", "-Wl,-soname,libvgpu.so"], "libvgpu-cuda.so"),
        ("nvml.c", ["-shared", "-Wl,-soname,libnvidia-ml.so.1"], "libvgpu-nvml.so"),
        ("host.c", [], "shimhost"),
    ):
        command = ["gcc", "-fPIC", *options, "-o", str(root / "build" / made), str(root / "shim" / source)]
        subprocess.run(command, check=True)
    return root


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A root directory with an ollama.service and a drop-in."""
    root = tmp_path / "root"
    unit = root / "etc/systemd/system/ollama.service"
    (unit.parent / "ollama.service.d").mkdir(parents=True)
    unit.write_text(
        "# made by the installer\n[Unit]\nDescription=Ollama\n"
        "[Service]\nExecStart=/usr/bin/ollama \\\n  serve\n"
        'Environment="PATH=/usr/bin" OLLAMA_DEBUG=1\n[Install]\nWantedBy=default.target\n'
    )
    (unit.parent / "ollama.service.d" / "override.conf").write_text(
        '[Service]\nEnvironment="LD_LIBRARY_PATH=/opt/my shim"\nEnvironmentFile=-/etc/ollama.env\n'
    )
    (root / "etc" / "ollama.env").write_text("# extra\nOLLAMA_LLM_LIBRARY=cuda_v13\n")
    return root


def test_a_service_is_its_unit_and_its_drop_ins(system: Path) -> None:
    service = find_service(root=system)
    assert service is not None
    assert service.command == ["/usr/bin/ollama", "serve"]
    assert service.environment == {
        "PATH": "/usr/bin",
        "OLLAMA_DEBUG": "1",
        "LD_LIBRARY_PATH": "/opt/my shim",
        "OLLAMA_LLM_LIBRARY": "cuda_v13",
    }
    assert find_service(root=system / "etc") is None


def test_an_empty_environment_line_takes_back_what_was_said(system: Path) -> None:
    drop_in = system / "etc/systemd/system/ollama.service.d/zz.conf"
    drop_in.write_text("[Service]\nEnvironment=\nEnvironment=A=1\n")
    service = find_service(root=system)
    assert service is not None and service.environment == {"A": "1"}


def test_what_is_written_is_what_was_found_and_loads(project: Path, system: Path) -> None:
    found = look(project, system)
    (project / "shimbench.toml").write_text(render(found))
    config = load_config(project)
    assert config.shim.build == "make -C shim"
    assert config.shim.watch == ("shim/**/*.[ch]",)
    assert config.shim.libraries == {
        "libcuda.so.1": project / "build/libvgpu-cuda.so",
        "libnvidia-ml.so.1": project / "build/libvgpu-nvml.so",
    }
    assert config.target.command == ("/usr/bin/ollama", "serve")
    assert config.target.env["LD_LIBRARY_PATH"] == "/opt/my shim"
    assert "PATH" not in config.target.env
    assert '# run = "build/shimhost"' in (project / "shimbench.toml").read_text()
    told = "\n".join(describe(found))
    assert "soname libvgpu.so, stands for libcuda.so.1, 2 cu*" in told


def test_what_a_build_writes_is_not_watched(project: Path) -> None:
    (project / "build" / "stubs.c").write_text("int cuGenerated(void) { return 801; }\n")
    (project / "here").mkdir()
    (project / "here" / "CMakeCache.txt").touch()
    (project / "here" / "config.h").touch()
    assert look(project, project / "noroot").globs == ["shim/**/*.[ch]"]


def test_an_empty_directory_gives_a_file_of_comments_that_loads(tmp_path: Path) -> None:
    found = look(tmp_path, tmp_path / "noroot")
    (tmp_path / "shimbench.toml").write_text(render(found))
    assert load_config(tmp_path, dict).shim.build is None
    assert describe(found) == ["nothing to build and no library of CUDA's"]


def test_a_file_that_is_there_is_kept_without_force(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "shimbench.toml").write_text("# mine\n")
    assert cli.main(["init", str(project)]) == 2
    assert (project / "shimbench.toml").read_text() == "# mine\n"
    assert "--force overwrites it" in capsys.readouterr().err
    assert cli.main(["init", "--force", str(project)]) == 0
    assert capsys.readouterr().out.strip() == str(project / "shimbench.toml")
    assert "make -C shim" in (project / "shimbench.toml").read_text()


@pytest.fixture
def unbuilt(tmp_path: Path) -> Path:
    """A shim as it comes out of a clone: nothing is built yet."""
    (tmp_path / "driver.c").write_text("int cuInit(unsigned flags) { return 100; }\n")
    (tmp_path / "Makefile").write_text(
        "out/libvgpu.so: driver.c\n\tmkdir -p out\n\tcc -shared -fPIC -Wl,-soname,libcuda.so.1 -o $@ $<\n"
    )
    return tmp_path


def test_what_the_first_build_makes_is_the_shim_without_being_named(
    unbuilt: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["init", str(unbuilt)]) == 0
    assert "no library of CUDA's yet" in capfd.readouterr().err
    ask = "import ctypes; print('cuInit answers', ctypes.CDLL('libcuda.so.1').cuInit(0))"
    for state in ("unbuilt", "built"):
        session = unbuilt / state
        command = ["run", "--json", "--session", str(session), str(unbuilt), "--", sys.executable, "-c", ask]
        assert cli.main(command) == 0
        report = json.loads(capfd.readouterr().out)
        assert report["calls_by_function"] == {"cuInit": 1}
        assert list(Session(session).log.search("cuInit answers 100")), state
    assert "host" not in {process["role"] for process in report["processes"]}
