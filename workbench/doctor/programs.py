"""Compilers, headers, packages, our native parts, the debugger, the NVIDIA driver and Ollama."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from workbench.doctor.finding import Finding, ok, problem, warning

ANSWER_SECONDS = 10.0

HEADERS = {"zstd.h": "libzstd-dev", "lz4.h": "liblz4-dev"}
"""What our native parts include -> Debian's name of the package."""

PACKAGES = (
    "nvidia-cuda-runtime",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cuda-profiler-api",
    "nvidia-nvml-dev",
    "nvidia-nvml-dev-cu12",
)
"""Whose headers the API model is read from, and whose runtimes demo and probe load."""

DRIVER_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib")


def findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """All of this room."""
    yield _python()
    yield from _compilers(environ)
    yield from _headers(environ)
    yield _packages()
    yield from _native()
    yield _debugger(environ)
    yield from _driver(environ)
    yield from _ollama(environ)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - an installer may have ignored requires-python
        return problem("Python", version, "shimbench needs 3.11 or newer")
    return ok("Python", f"{version}, {sys.executable}")


def _compilers(environ: Mapping[str, str]) -> Iterator[Finding]:
    for what, variable, names, package in (
        ("C compiler", "CC", ("cc", "gcc", "clang"), "gcc"),
        ("C++ compiler", "CXX", ("c++", "g++", "clang++"), "g++"),
    ):
        named = environ.get(variable)
        found = _first_program((named,) if named else names, environ)
        if found is None:
            who = f"{variable}={named} is no program" if named else f"none of {', '.join(names)} is on PATH"
            yield problem(what, who, f"apt install {package}")
            continue
        said = _first_line([found, "--version"])
        if said is None:
            yield problem(what, f"{found} does not run", f"apt install --reinstall {package}")
        else:
            yield ok(what, f"{found}: {said}")


def _headers(environ: Mapping[str, str]) -> Iterator[Finding]:
    compiler = _first_program(("cc", "gcc", "clang"), environ)
    if compiler is None:
        return
    for header, package in HEADERS.items():
        done = _run([compiler, "-E", "-x", "c", "-"], f"#include <{header}>\n")
        if done is not None and done.returncode == 0:
            yield ok(header, "found")
        else:
            yield problem(header, f"{compiler} does not find it", f"apt install {package}")


def _packages() -> Finding:
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return problem(
            "NVIDIA's headers", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}"
        )
    return ok("NVIDIA's headers", ", ".join(versions))


def _native() -> Iterator[Finding]:
    from workbench import native
    from workbench.errors import ShimbenchError

    try:
        paths = native.paths()
    except ShimbenchError as error:
        yield problem("native parts", str(error), "./dev build")
        return
    wanted = {
        "API model": paths.model,
        "our libcuda.so.1": paths.lib / "libcuda.so.1",
        "our libnvidia-ml.so.1": paths.lib / "libnvidia-ml.so.1",
        "tap": paths.tap / "libcuda.so.1",
        "preload": paths.tap / "libshimbench-preload.so",
        "collector": paths.collector,
        "forwarder": paths.host,
    }
    missing = [f"{what} ({path})" for what, path in wanted.items() if not path.is_file()]
    if missing:
        yield problem("native parts", f"missing: {', '.join(missing)}", "./dev build")
    else:
        yield ok("native parts", f"{paths.build}: {', '.join(wanted)}")


def _debugger(environ: Mapping[str, str]) -> Finding:
    found = shutil.which("gdb", path=environ.get("PATH"))
    if found is None:
        return warning("gdb", "not on PATH: stacks of what hangs are guessed from /proc", "apt install gdb")
    said = _first_line([found, "--version"])
    if said is None:
        return warning("gdb", f"{found} does not run", "apt install --reinstall gdb")
    return ok("gdb", f"{found}: {said}")


def _driver(environ: Mapping[str, str]) -> Iterator[Finding]:
    folders = [*filter(None, environ.get("LD_LIBRARY_PATH", "").split(":")), *DRIVER_FOLDERS]
    found = next((path for path in (Path(name, "libcuda.so.1") for name in folders) if path.exists()), None)
    if found is None:
        yield ok("NVIDIA driver", "none; our software GPU stands in for a device")
    else:
        yield ok("NVIDIA driver", f"{found}; targets get the shim in its place")
    preload = environ.get("LD_PRELOAD")
    if preload:
        gone = [
            name for name in preload.replace(" ", ":").split(":") if "/" in name and not Path(name).exists()
        ]
        if gone:
            yield warning("LD_PRELOAD", f"names {', '.join(gone)}, not there", "unset it or correct it")
        else:
            yield warning("LD_PRELOAD", preload, "targets load it behind ours; unset it if that is not meant")


def _ollama(environ: Mapping[str, str]) -> Iterator[Finding]:
    program = shutil.which("ollama", path=environ.get("PATH"))
    if program is None:
        yield warning(
            "Ollama",
            "not on PATH",
            "install it (https://ollama.com/download) or name a [target] command; the demo needs none",
        )
        return
    from workbench.target.installation import inspect

    found = inspect(Path(program), Path.cwd(), environ)
    if found.version is None:
        yield problem(
            "Ollama",
            f"{program} does not say its version",
            "install it again, or name another [target] command",
        )
        return
    era = f", of the generation {found.era}" if found.era else ""
    yield ok("Ollama", f"{program}: {found.version}{era}")
    what = "Ollama's libraries"
    if found.folder is None or not found.backends:
        advice = "unpack Ollama's whole archive, with its lib/ollama and its cuda_v12 or cuda_v13 folder"
        yield problem(what, "; ".join(found.warnings) or f"no CUDA backend in {found.folder}", advice)
        return
    for backend in found.backends:
        runtime = (
            f"cudart {backend.runtime[0]}.{backend.runtime[1]}" if backend.runtime else "no libcudart found"
        )
        code = ", ".join(f"{cc // 10}.{cc % 10}" for cc in backend.architectures) or "none"
        ptx = ", ".join(f"{cc // 10}.{cc % 10}" for cc in backend.ptx) or "none"
        yield ok(what, f"{backend.path}: {runtime}, machine code for {code}, PTX for {ptx}")
    for text in found.warnings:
        yield warning(what, text, "look at what lies there; `shimbench deploy --undo` takes back what we put")


def _first_program(names: tuple[str | None, ...], environ: Mapping[str, str]) -> str | None:
    found = (shutil.which(name.split()[0], path=environ.get("PATH")) for name in names if name)
    return next((path for path in found if path), None)


def _first_line(command: list[str]) -> str | None:
    """What a program says of itself; None when it can't be run."""
    done = _run(command)
    if done is None or done.returncode:
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else "says nothing"


def _run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
