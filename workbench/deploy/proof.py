"""Which files the loader really maps: asked of a fresh process for each way a target may look."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.deploy.elf import NotALibraryError, read_library

PATIENCE_SECONDS = 60.0

# Opens each name of its arguments and says what is mapped after it; stdout is one JSON object a line, so
# that a crash in a constructor loses nothing of what was found before it.
_OPEN = """
import ctypes, json, os, sys
def mapped():
    seen = {}
    for line in open("/proc/self/maps"):
        parts = line.rstrip("\\n").split(None, 5)
        if len(parts) == 6 and parts[5].startswith("/"):
            seen[parts[5]] = [parts[3], int(parts[4])]
    return seen
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a library prints is no answer
for name in sys.argv[1:]:
    print(json.dumps({"opening": name}), file=out, flush=True)
    try:
        ctypes.CDLL(name, os.RTLD_NOW)
        error = ""
    except OSError as problem:
        error = str(problem)
    print(json.dumps({"name": name, "error": error, "maps": mapped()}), file=out, flush=True)
out.close()
os._exit(0)  # destructors are not what is asked about
"""


@dataclass(frozen=True)
class Proof:
    """One library, asked for in one way."""

    how: str
    """LD_LIBRARY_PATH=..., or the library that was loaded and needs it"""
    soname: str
    expected: Path
    mapped: Path | None
    """the file that was mapped under that soname, links resolved"""
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def prove(folder: Path, libraries: Iterable[str], environ: Mapping[str, str]) -> list[Proof]:
    """Open each soname in a fresh process whose LD_LIBRARY_PATH begins with `folder`; and where a
    CUDA backend of Ollama lies in or above it, load that as Ollama would and see what it gets."""
    sonames = list(libraries)
    folder = folder.absolute()
    inherited = environ.get("LD_LIBRARY_PATH")
    path = f"{folder}:{inherited}" if inherited else str(folder)
    proofs = _opened(f"LD_LIBRARY_PATH={folder}", path, sonames, sonames, folder, environ)
    backend = _backend(folder)
    if backend is not None:
        root = folder.parent if backend.parent == folder else folder
        search = ":".join(map(str, dict.fromkeys((root, backend.parent))))
        search = f"{search}:{inherited}" if inherited else search
        proofs += _opened(f"{backend}, as Ollama loads it", search, [str(backend)], sonames, folder, environ)
    return proofs


def _backend(folder: Path) -> Path | None:
    found = sorted((*folder.glob("libggml-cuda*.so*"), *folder.glob("cuda_*/libggml-cuda*.so*")))
    return found[-1] if found else None


def _opened(
    how: str, path: str, names: list[str], sonames: list[str], folder: Path, environ: Mapping[str, str]
) -> list[Proof]:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _OPEN, *names],
            env={**environ, "LD_LIBRARY_PATH": path},
            cwd="/",  # a RUNPATH with an empty entry means the working directory
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        status, answers = done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        text = error.stdout or b""
        status, answers = None, text.decode(errors="replace") if isinstance(text, bytes) else text
    rows = [json.loads(line) for line in answers.splitlines() if line.startswith("{")]
    opened = {row["name"]: row for row in rows if "name" in row}
    stuck = next(
        (row["opening"] for row in reversed(rows) if row.get("opening") not in (None, *opened)), None
    )
    maps: dict[str, list[object]] = {}
    for row in opened.values():
        maps.update(row["maps"])
    proofs = []
    for soname in sonames:
        expected = (folder / soname).resolve()
        asked = soname if names == sonames else names[0]
        row = opened.get(asked)
        if row is None:
            proofs.append(Proof(how, soname, expected, None, _ending(asked, stuck, status)))
            continue
        mapped = _mapped_as(soname, expected, maps)
        if row["error"]:
            proofs.append(Proof(how, soname, expected, mapped, row["error"]))
        elif mapped is None and asked != soname:
            continue  # this backend does not need that library
        elif mapped != expected:
            proofs.append(Proof(how, soname, expected, mapped, f"the loader maps {mapped} instead"))
        else:
            proofs.append(Proof(how, soname, expected, mapped))
    return proofs


def _mapped_as(soname: str, expected: Path, maps: Mapping[str, list[object]]) -> Path | None:
    """The mapped file that goes by `soname`: the one expected, else one that calls itself so."""
    if str(expected) in maps:
        return expected
    stem = soname[: soname.index(".so") + 3]
    for path in (Path(name) for name in maps):
        if path.name == soname:
            return path
        if path.name.startswith(stem):  # a driver's file is libcuda.so.550.54, behind a link
            try:
                if read_library(path).soname == soname:
                    return path
            except (NotALibraryError, OSError):
                continue
    return None


def _ending(asked: str, stuck: str | None, status: int | None) -> str:
    at = f"while {stuck} was loaded" if stuck == asked else f"before {asked} was asked for"
    if status is None:
        return f"not loaded in {PATIENCE_SECONDS:.0f} s: the process hung {at}"
    if status < 0:
        return f"the process was killed by {signal.Signals(-status).name} {at}"
    return f"the process ended with status {status} {at}"


def who_maps(paths: Iterable[Path]) -> dict[Path, list[int]]:
    """The processes that have one of these files mapped now, as far as we may look."""
    wanted = {}
    for path in paths:
        if path.is_file():
            status = path.stat()
            wanted[f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}", status.st_ino] = path
    found: dict[Path, list[int]] = {}
    for entry in Path("/proc").iterdir() if wanted else ():
        if not entry.name.isdigit():
            continue
        try:
            lines = (entry / "maps").read_text().splitlines()
        except OSError:
            continue
        keys = {(parts[3], int(parts[4])) for parts in (line.split(None, 5) for line in lines)}
        for key in keys & wanted.keys():
            found.setdefault(wanted[key], []).append(int(entry.name))
    return found
