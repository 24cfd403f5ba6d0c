"""`shimbench doctor` names what is amiss, and what to do, on machines that really lack it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from workbench.doctor import State, kernel, places, programs


def doctor(directory: Path, before: str = "", **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run it by a shell that does `before` first; -> exit status, and the findings by what they are about."""
    command = f'{before} exec "$0" -m workbench.cli doctor "$1" --json'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, str(directory)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, {row["what"]: row for row in json.loads(done.stdout)}


def test_a_problem_always_says_what_to_do_and_gives_the_exit_status(tmp_path: Path) -> None:
    (tmp_path / "shimbench.toml").write_text('[target]\ncommand = "./nothing-here"\n')
    status, found = doctor(tmp_path)
    assert status == 1
    assert found["target"]["state"] == "problem" and "./nothing-here" in found["target"]["text"]
    assert all(row["advice"] for row in found.values() if row["state"] != "ok")


def test_the_kernel_cache_is_shown_with_its_size_and_limit(tmp_path: Path) -> None:
    kernels = tmp_path / "cache" / "shimbench" / "kernels"
    kernels.mkdir(parents=True)
    (kernels / "one").write_bytes(bytes(3 << 20))
    _, found = doctor(tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"), SHIMBENCH_KERNEL_CACHE="64")
    assert found["kernel cache"]["state"] == "ok"
    assert f"{kernels}: 1 compiled kernels, 3 of at most 64 MiB" in found["kernel cache"]["text"]


def test_a_limited_address_space_is_found_by_trying(tmp_path: Path) -> None:
    (tmp_path / "shimbench.toml").write_text("")
    _, free = doctor(tmp_path)
    status, limited = doctor(tmp_path, before="ulimit -v 16000000;")
    assert free["address space"]["state"] == "ok"
    assert status == 1 and limited["address space"]["state"] == "problem"
    assert "ulimit -v is 15.3 GiB" in limited["address space"]["text"]


def test_few_open_files_are_a_warning(tmp_path: Path) -> None:
    (tmp_path / "shimbench.toml").write_text("")
    _, found = doctor(tmp_path, before="ulimit -n 256;")
    assert found["open files"]["state"] == "warning" and "256" in found["open files"]["text"]


def test_without_a_path_there_is_no_compiler_and_no_debugger(tmp_path: Path) -> None:
    found = {finding.what: finding for finding in programs.findings({"PATH": str(tmp_path)})}
    assert found["C compiler"].state is State.PROBLEM and found["C compiler"].advice == "apt install gcc"
    assert found["C++ compiler"].state is State.PROBLEM
    assert found["gdb"].state is State.WARNING
    assert found["Ollama"].state is State.WARNING


def install_ollama(prefix: Path) -> None:
    (prefix / "bin").mkdir(parents=True)
    program = prefix / "bin" / "ollama"
    program.write_text("#!/bin/sh\necho 'Warning: could not connect' >&2\necho 'ollama version is 0.33.0'\n")
    program.chmod(0o755)


def test_an_ollama_without_its_libraries_is_a_problem(tmp_path: Path) -> None:
    install_ollama(tmp_path)
    environ = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    found = {finding.what: finding for finding in programs.findings(environ)}
    assert "0.33.0" in found["Ollama"].text
    assert found["Ollama's libraries"].state is State.PROBLEM


def test_a_libcuda_in_ollamas_folder_is_told_since_it_wins(tmp_path: Path) -> None:
    install_ollama(tmp_path)
    folder = tmp_path / "lib" / "ollama" / "cuda_v13"
    folder.mkdir(parents=True)
    words = ["cc", "-shared", "-x", "c", "/dev/null", "-o", str(folder / "libggml-cuda.so")]
    subprocess.run(words, check=True)
    environ = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    found = {finding.what: finding for finding in programs.findings(environ)}
    assert found["Ollama's libraries"].state is State.OK
    (folder / "libcuda.so.1").touch()
    said = [finding for finding in programs.findings(environ) if finding.what == "Ollama's libraries"]
    (warned,) = [finding for finding in said if finding.state is State.WARNING]
    assert str(folder / "libcuda.so.1") in warned.text


def test_a_library_with_another_soname_or_none_at_all_is_told(tmp_path: Path) -> None:
    source = tmp_path / "a.c"
    source.write_text("int cuInit(unsigned flags) { return (int)flags; }\n")
    options = ["-shared", "-fPIC", "-Wl,-soname,libother.so"]
    subprocess.run(["cc", *options, "-o", str(tmp_path / "a.so"), str(source)], check=True)
    (tmp_path / "b.so").write_text("no library\n")
    (tmp_path / "shimbench.toml").write_text(
        '[shim.libraries]\n"libcuda.so.1" = "a.so"\n"libnvidia-ml.so.1" = "b.so"\n"libx.so" = "c.so"\n'
    )
    found = {finding.what: finding for finding in places.findings(tmp_path, {})}
    assert "has the soname libother.so" in found["libcuda.so.1"].text
    assert found["libnvidia-ml.so.1"].state is State.PROBLEM
    assert found["libx.so"].advice == "shimbench build"


def test_sockets_of_a_deep_project_lie_elsewhere_and_are_tried_there(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    (deep / "shimbench.toml").write_text("")
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        found = {finding.what: finding for finding in places.findings(deep, {"XDG_RUNTIME_DIR": short})}
        assert found["sockets"].text.startswith(f"work in {short}")
    found = {finding.what: finding for finding in places.findings(deep, {"XDG_RUNTIME_DIR": short})}
    assert found["sockets"].state is State.PROBLEM  # the folder is gone


@pytest.mark.parametrize(
    ("flags", "state"), [("fpu constant_tsc nonstop_tsc", State.OK), ("fpu constant_tsc", State.WARNING)]
)
def test_the_clock_is_judged_by_the_cpus_flags(flags: str, state: State) -> None:
    assert kernel._clock(f"processor : 0\nflags\t\t: {flags}\n").state is state


@pytest.mark.parametrize(
    ("scope", "user", "state"),
    [("0", 1000, State.OK), ("1", 1000, State.WARNING), ("1", 0, State.OK), ("3", 0, State.WARNING)],
)
def test_ptrace_scope_matters_to_who_is_not_root(scope: str, user: int, state: State) -> None:
    assert kernel._ptrace(scope, user).state is state
