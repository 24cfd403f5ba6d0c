"""An Ollama as it is installed: its version and generation, its library folders, its CUDA backends."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import ShimbenchError
from workbench.target.cuda_library import CudaLibrary, read_cuda_library
from workbench.target.roles import Era

CHECKED_TO = (0, 33)
"""The newest Ollama the rules, roles and limits here were checked with."""

_VERSION = re.compile(r"(?:client version is|ollama version is) (\S+)")
_NUMBERS = re.compile(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?")
_TAKEN = ("libcuda.so", "libnvidia-ml.so")


@dataclass(frozen=True)
class Installation:
    """What is known of an Ollama before it runs."""

    program: Path
    version: str | None  #: as the program tells it
    era: Era | None
    folder: Path | None  #: lib/ollama
    backends: tuple[CudaLibrary, ...]
    warnings: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people, a line each."""
        era = f", generation {self.era}" if self.era else ""
        lines = [f"{self.program}: Ollama {self.version or 'of a version it does not tell'}{era}"]
        for backend in self.backends:
            lines += [f"  {line}" for line in backend.lines()]
        return lines + [f"  warning: {warning}" for warning in self.warnings]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; what the session keeps."""
        return {
            "program": str(self.program),
            "version": self.version,
            "era": self.era,
            "folder": str(self.folder) if self.folder else None,
            "backends": [backend.as_json() for backend in self.backends],
            "warnings": list(self.warnings),
        }


def inspect(program: Path, cwd: Path, environ: Mapping[str, str]) -> Installation:
    """Look at an Ollama without starting its server or asking anybody's. Never raises: what can't be read
    is among the warnings."""
    version = ask_version(program, environ)
    folder = library_folder(program, cwd)
    backends: list[CudaLibrary] = []
    warnings: list[str] = []
    if folder is None:
        warnings.append(f"no lib/ollama belongs to {program}: it never looks for a GPU")
    for path in backend_paths(folder):
        try:
            backends.append(read_cuda_library(path, [folder] if folder else []))
        except ShimbenchError as error:
            warnings.append(str(error))
    if folder is not None and not backends:
        warnings.append(f"{folder} holds no libggml-cuda.so: it never asks for a CUDA device")
    for path in placed_libraries(folder):
        warnings.append(
            f"{path} lies where Ollama searches before LD_LIBRARY_PATH: ours is preloaded to come first"
        )
    for backend in backends:
        if backend.rpath is not None and backend.runpath is None:
            warnings.append(
                f"{backend.path.name} has an RPATH ({backend.rpath}), searched before LD_LIBRARY_PATH"
            )
    warnings += beyond_rules(version, [b.runtime for b in backends if b.runtime])
    return Installation(
        program, version, era_of_version(version, folder), folder, tuple(backends), tuple(warnings)
    )


def ask_version(program: Path, environ: Mapping[str, str], patience: float = 10.0) -> str | None:
    """The program's own answer. It is given a home of its own and a server that can't be, so that nobody's
    running Ollama is asked."""
    with tempfile.TemporaryDirectory(prefix="shimbench-ollama.") as home:
        kept = {name: environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in environ}
        # Port 1 of the loopback: nothing listens there, and if something does it is no Ollama.
        env = {**kept, "HOME": home, "OLLAMA_HOST": "127.0.0.1:1", "OLLAMA_NO_CLOUD": "1"}
        try:
            done = subprocess.run(
                [str(program), "--version"],
                env=env, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", timeout=patience, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
    found = _VERSION.findall(done.stdout + done.stderr)
    return str(found[-1]) if found else None


def numbers(version: str | None) -> tuple[int, int, int] | None:
    """0.33.0-rc2 -> (0, 33, 0); None for what is no version, and for the 0.0.0 of an unnamed build."""
    found = _NUMBERS.match(version or "")
    parsed = (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
    return parsed if parsed != (0, 0, 0) else None


def era_of_version(version: str | None, folder: Path | None = None) -> Era | None:
    """By the version, and for a build that tells none by what lies beside its libraries."""
    parsed = numbers(version)
    if parsed is None:
        return ">=0.30" if folder is not None and (folder / "llama-server").is_file() else None
    if parsed >= (0, 30, 0):
        return ">=0.30"
    return "<=0.12.3" if parsed <= (0, 12, 3) else "0.12.4-0.24"


def library_folder(program: Path, cwd: Path) -> Path | None:
    """Ollama's own search: beside the program, then builds in its folder and in the current one."""
    try:
        beside = program.resolve().parent
    except OSError:
        return None
    candidates = [beside.parent / "lib" / "ollama", beside / "lib" / "ollama"]
    for base in (beside, cwd):
        candidates += [base / "build" / "lib" / "ollama", *sorted(base.glob("build-*/lib/ollama"))]
        candidates += [base / "dist" / name / "lib" / "ollama" for name in ("linux-amd64", "linux_amd64")]
    return next((folder for folder in candidates if folder.is_dir()), None)


def backend_paths(folder: Path | None) -> list[Path]:
    """Its CUDA backends: in the folders below lib/ollama, and in itself."""
    if folder is None:
        return []
    return sorted({*folder.glob("libggml-cuda*.so*"), *folder.glob("*/libggml-cuda*.so*")})


def placed_libraries(folder: Path | None) -> list[Path]:
    """Drivers and NVMLs that lie in Ollama's own folders, before anybody's LD_LIBRARY_PATH."""
    if folder is None:
        return []
    found = [path for name in _TAKEN for path in (*folder.glob(f"{name}*"), *folder.glob(f"*/{name}*"))]
    return sorted(found)


def beyond_rules(version: str | None, runtimes: list[tuple[int, int]]) -> list[str]:
    """What is newer than anything the rules were checked with, as sentences."""
    from workbench.diagnosis.versions import NEWEST

    told = []
    parsed = numbers(version)
    if parsed is not None and parsed[:2] > CHECKED_TO:
        told.append(f"Ollama {version} not known, rules checked to {CHECKED_TO[0]}.{CHECKED_TO[1]}")
    for runtime in sorted(set(runtimes)):
        if runtime > NEWEST:
            checked = f"rules checked to {NEWEST[0]}.{NEWEST[1]}"
            told.append(f"cudart {runtime[0]}.{runtime[1]} not known, {checked}")
    return told
