"""Check what shimbench needs here: native parts, runtimes, Ollama, and where it keeps things."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    text: str
    needed: bool = True
    """without it shimbench does not work"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", nargs="?", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def run(options: argparse.Namespace) -> int:
    findings = [*_native(), *_programs(), *_places(options.directory)]
    if options.json:
        print(json.dumps([asdict(item) for item in findings], indent=1))
    else:
        for item in findings:
            mark = "ok  " if item.ok else "FAIL" if item.needed else "-   "
            print(f"{mark} {item.what}: {item.text}")
    return 0 if all(item.ok or not item.needed for item in findings) else 1


def _native() -> Iterator[Finding]:
    from workbench import native
    from workbench.errors import ShimbenchError

    try:
        paths = native.paths()
    except ShimbenchError as error:
        yield Finding("native parts", False, str(error))
        return
    yield Finding("native parts", True, str(paths.build))
    wanted = {
        "API model": paths.model,
        "our libcuda.so.1": paths.lib / "libcuda.so.1",
        "our libnvidia-ml.so.1": paths.lib / "libnvidia-ml.so.1",
        "tap": paths.tap / "libcuda.so.1",
        "preload": paths.tap / "libshimbench-preload.so",
        "collector": paths.collector,
        "forwarder": paths.host,
    }
    for what, path in wanted.items():
        yield Finding(
            what, path.is_file(), str(path) if path.is_file() else f"{path} is missing: ./dev build"
        )


def _programs() -> Iterator[Finding]:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    yield Finding(
        "C compiler", compiler is not None, compiler or "none on PATH: apt install gcc", needed=False
    )
    ollama = shutil.which("ollama")
    yield Finding(
        "ollama", ollama is not None, ollama or "not on PATH; `shimbench demo` needs none", needed=False
    )
    driver = next((path for path in _driver_paths() if path.exists()), None)
    text = f"{driver}; targets get the shim instead" if driver else "none: our device stands in for a GPU"
    yield Finding("NVIDIA driver", driver is not None, text, needed=False)


def _driver_paths() -> Iterator[Path]:
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib"):
        yield Path(folder, "libcuda.so.1")


def _places(directory: Path) -> Iterator[Finding]:
    from workbench.config import load_config
    from workbench.errors import ShimbenchError
    from workbench.sessions_store import place_of

    try:
        config = load_config(directory)
        which = str(config.path) if config.path else "no shimbench.toml: our own shim"
        yield Finding("configuration", True, which)
        for soname, path in config.shim.libraries.items():
            text = str(path) if path.is_file() else f"{path} is not there: build it"
            yield Finding(soname, path.is_file(), text, needed=False)
    except ShimbenchError as error:
        yield Finding("configuration", False, str(error))
    place = place_of(directory)
    existing = next(path for path in (place.root, *place.root.parents) if path.exists())
    ok = os.access(existing, os.W_OK)
    sessions = len(place.all())
    yield Finding(
        "sessions", ok, f"{place.sessions}, {sessions} recorded" if ok else f"{existing} is not writable"
    )
