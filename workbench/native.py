"""Where the native parts are: the API model, our shim, the tap, the collector and the forwarder.

In a checkout they are what `./dev build` put into build/. An installed shimbench carries the sources
and builds them once, on first use, into the user's cache; a build is keyed by a hash of the sources,
so an upgrade never runs yesterday's libraries.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workbench.errors import ShimbenchError

ROOT = Path(__file__).resolve().parent.parent
"""The checkout, or site-packages of an installed shimbench: the folder that holds the rooms."""

ROOMS = ("shim", "host", "sessions", "workbench")
SOURCE_ENDINGS = frozenset(
    {".c", ".h", ".cpp", ".hpp", ".S", ".s", ".py", ".toml", ".txt", ".in", ".map", ".ptx"}
)


@dataclass(frozen=True)
class NativePaths:
    """A build tree. All paths are absolute; nothing says that each file of it exists."""

    build: Path
    api: Path
    """generated from the API model"""
    lib: Path
    """our shim's libraries, by soname, and the native session writer"""
    tap: Path
    """what is loaded into targets; the tap's two libraries here are templates"""
    bin: Path
    """shimbench-host, shimbench-collector, shimbench-llama"""
    model: Path
    """build/api/model.json"""

    @classmethod
    def below(cls, build: Path) -> NativePaths:
        """The layout of a build directory, as CMakeLists.txt at the root lays it out."""
        api = build / "api"
        return cls(build, api, build / "lib", build / "tap", build / "bin", api / "model.json")

    @property
    def collector(self) -> Path:
        return self.bin / "shimbench-collector"

    @property
    def host(self) -> Path:
        return self.bin / "shimbench-host"


def in_checkout() -> bool:
    """Do we run from a clone of the repository?"""
    return (ROOT / "CMakeLists.txt").is_file() and (ROOT / "dev").is_file()


@cache
def paths() -> NativePaths:
    """The native parts, built first if they have to be.

    SHIMBENCH_BUILD names a build directory to use instead, as the tests of single rooms do.
    """
    override = os.environ.get("SHIMBENCH_BUILD")
    if override:
        return NativePaths.below(Path(override).resolve())
    if in_checkout():
        found = NativePaths.below(ROOT / "build")
        if not found.model.is_file():
            raise ShimbenchError(f"{found.build} holds no native build: run ./dev build")
        return found
    return NativePaths.below(_ensure_built(_top_cmake()))


def _top_cmake() -> Path:
    packaged = ROOT / "workbench" / "_native" / "CMakeLists.txt"
    if not packaged.is_file():
        raise ShimbenchError(f"{packaged} is missing: this installation of shimbench has no native sources")
    return packaged


def _sources() -> Iterator[Path]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in SOURCE_ENDINGS and path.is_file() and "__pycache__" not in path.parts:
                yield path


def _source_hash(top: Path) -> str:
    digest = hashlib.sha256(top.read_bytes())
    digest.update(f"{sys.version_info[:2]} {os.uname().machine}".encode())
    for path in _sources():
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _ensure_built(top: Path) -> Path:
    """Build an installed shimbench's sources into the cache, once; -> the build directory."""
    import platformdirs

    home = platformdirs.user_cache_path("shimbench") / "native" / _source_hash(top)
    done = home / "built"
    if done.is_file():
        return home / "build"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second shimbench waits for the first one's build
        if not done.is_file():
            print(f"shimbench: building its native parts, once, into {home}", file=sys.stderr, flush=True)
            _copy_sources(top, home / "source")
            _configure_and_build(home / "source", home / "build")
            done.touch()
    return home / "build"


def _copy_sources(top: Path, target: Path) -> None:
    """CMake wants the tree of a checkout; an installed one has its CMakeLists.txt elsewhere."""
    for path in _sources():
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    shutil.copyfile(top, target / "CMakeLists.txt")


def _configure_and_build(source: Path, build: Path) -> None:
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ.get('PATH', os.defpath)}"}
    configure = [
        "cmake",
        "-S",
        str(source),
        "-B",
        str(build),
        "-G",
        "Ninja",
        f"-DSHIMBENCH_PYTHON={sys.executable}",
    ]
    for command in (configure, ["cmake", "--build", str(build)]):
        done = subprocess.run(command, env=environment, stdout=sys.stderr, check=False)
        if done.returncode:
            raise ShimbenchError(
                f"`{' '.join(command[:2])}` failed ({done.returncode}); "
                "a C and a C++ compiler and libzstd-dev are needed"
            )
