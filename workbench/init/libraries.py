"""The shared libraries and programs a directory's build made: their sonames and what they export."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

SKIPPED = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__", ".shimbench", ".cache"})
MAX_DEPTH = 6

FAMILIES = (
    ("cu", "cuInit", "libcuda.so.1"),
    ("nvml", "nvmlInit_v2", "libnvidia-ml.so.1"),
    ("cuda", "cudaGetDeviceCount", "libcudart.so"),
    ("cublasLt", "cublasLtCreate", "libcublasLt.so"),
    ("cublas", "cublasCreate_v2", "libcublas.so"),
)
"""(prefix of its functions, one it can't be without, soname) of the libraries a shim stands in for."""


@dataclass(frozen=True)
class Library:
    """A shared library, as its dynamic section describes it."""

    path: Path
    soname: str | None
    exports: frozenset[str]
    """names of defined dynamic symbols"""

    @property
    def stands_for(self) -> str | None:
        """The soname under which targets look for it: its own, or what its exports say."""
        if self.soname and any(self.soname.startswith(family[2].split(".so")[0]) for family in FAMILIES):
            return self.soname
        for _, needed, soname in FAMILIES:
            if needed in self.exports and soname.endswith(".1"):
                return soname
        return None

    @property
    def described(self) -> str:
        """How many functions of each API it exports: `688 cu*, 0 nvml*`."""
        counts = {"cu*": 0, "nvml*": 0, "cuda*": 0, "cublas*": 0}
        for name in self.exports:
            if name.startswith("cublas"):
                counts["cublas*"] += 1
            elif name.startswith("cuda"):
                counts["cuda*"] += 1
            elif name.startswith("nvml"):
                counts["nvml*"] += 1
            elif name.startswith("cu") and name[2:3].isupper():
                counts["cu*"] += 1
        return (
            ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none of CUDA's names"
        )


def find_libraries(directory: Path) -> list[Library]:
    """Every shared library below `directory` that stands for one of CUDA's, the newest first."""
    found = []
    for path in _files(directory):
        if ".so" in path.name and not path.is_symlink() and (library := read_library(path)):
            found.append(library)
    return sorted(
        (library for library in found if library.stands_for),
        key=lambda library: library.path.stat().st_mtime,
        reverse=True,
    )


def find_programs(directory: Path) -> list[Path]:
    """ELF programs below `directory`, the newest first."""
    found = []
    for path in _files(directory):
        if (
            ".so" not in path.name
            and os.access(path, os.X_OK)
            and not path.is_symlink()
            and _is_program(path)
        ):
            found.append(path)
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def read_library(path: Path) -> Library | None:
    """-> None when it is no ELF shared library."""
    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"\x7fELF":
                return None
            elf = ELFFile(stream)
            if elf["e_type"] != "ET_DYN":
                return None
            soname = None
            for section in elf.iter_sections():
                if isinstance(section, DynamicSection):
                    for tag in section.iter_tags("DT_SONAME"):
                        soname = str(getattr(tag, "soname"))  # noqa: B009 - pyelftools sets it by tag
            symbols = elf.get_section_by_name(".dynsym")
            exports = frozenset(
                symbol.name
                for symbol in (symbols.iter_symbols() if isinstance(symbols, SymbolTableSection) else ())
                if symbol["st_shndx"] != "SHN_UNDEF" and symbol.name
            )
            return Library(path, soname, exports)
    except (OSError, ELFError):
        return None


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"\x7fELF":
                return False
            return ELFFile(stream).get_section_by_name(".interp") is not None
    except (OSError, ELFError):
        return False


def _files(directory: Path) -> Iterator[Path]:
    depth = len(directory.parts)
    for place, directories, files in os.walk(directory):
        here = Path(place)
        directories[:] = sorted(name for name in directories if name not in SKIPPED)
        if len(here.parts) - depth >= MAX_DEPTH:
            directories.clear()
        for name in sorted(files):
            path = here / name
            if path.is_file():
                yield path
