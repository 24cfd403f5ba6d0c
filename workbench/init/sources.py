"""How a directory is built and where its sources lie."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workbench.init.libraries import SKIPPED

ENDINGS = {
    ".c": "[ch]",
    ".h": "[ch]",
    ".cc": "cc",
    ".cpp": "[ch]pp",
    ".hpp": "[ch]pp",
    ".cu": "cu",
    ".rs": "rs",
    ".go": "go",
    ".zig": "zig",
    ".S": "S",
}
"""ending -> how its glob ends"""
BUILT_INTO = re.compile(r"_?build.*|cmake-build-.*|out|obj|dist|target|Debug|Release")
"""names of folders that builds write to"""


@dataclass(frozen=True)
class BuildSystem:
    """What was found to build with."""

    name: str
    file: Path
    command: str


def find_build_systems(directory: Path) -> list[BuildSystem]:
    """In the directory itself and one level below; the likeliest first."""
    found = []
    for place in (directory, *sorted(path for path in directory.iterdir() if path.is_dir())):
        if place.name in SKIPPED:
            continue
        inside = "" if place == directory else place.name
        for reader in (_ninja, _make, _cmake, _meson, _cargo):
            system = reader(place, inside)
            if system is not None:
                found.append(system)
    return found


def _ninja(place: Path, inside: str) -> BuildSystem | None:
    file = place / "build.ninja"
    return BuildSystem("ninja", file, f"ninja -C {inside}" if inside else "ninja") if file.is_file() else None


def _make(place: Path, inside: str) -> BuildSystem | None:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        if (place / name).is_file():
            return BuildSystem("make", place / name, f"make -C {inside}" if inside else "make")
    return None


def _cmake(place: Path, inside: str) -> BuildSystem | None:
    file = place / "CMakeLists.txt"
    if not file.is_file():
        return None
    source, build = inside or ".", f"{inside}/build" if inside else "build"
    return BuildSystem("CMake", file, f"cmake -S {source} -B {build} && cmake --build {build}")


def _meson(place: Path, inside: str) -> BuildSystem | None:
    file = place / "meson.build"
    if not file.is_file():
        return None
    build = f"{inside}/build" if inside else "build"
    return BuildSystem("Meson", file, f"meson compile -C {build}")


def _cargo(place: Path, inside: str) -> BuildSystem | None:
    file = place / "Cargo.toml"
    if not file.is_file():
        return None
    return BuildSystem(
        "Cargo", file, f"cargo build --manifest-path {inside + '/' if inside else ''}Cargo.toml"
    )


def find_watch_globs(directory: Path) -> list[str]:
    """Globs for the sources, one a top folder and language, the fullest first. What a build writes is left
    out, for it would build again and again, unless there is nothing else."""
    return _globs(directory, _is_built_into) or _globs(directory, lambda _: False)


def _is_built_into(place: Path) -> bool:
    marks = ("CMakeCache.txt", "build.ninja", "CMakeFiles")
    return bool(BUILT_INTO.fullmatch(place.name)) or any((place / mark).exists() for mark in marks)


def _globs(directory: Path, left_out: Callable[[Path], bool]) -> list[str]:
    counts: Counter[str] = Counter()
    for place, directories, files in os.walk(directory):
        directories[:] = [
            name
            for name in directories
            if name not in SKIPPED and name != "CMakeFiles" and not left_out(Path(place, name))
        ]
        relative = Path(place).relative_to(directory)
        for name in files:
            ending = ENDINGS.get(Path(name).suffix)
            if ending:
                top = f"{relative.parts[0]}/**/*" if relative.parts else "*"
                counts[f"{top}.{ending}"] += 1
    return [glob for glob, _ in counts.most_common()]
