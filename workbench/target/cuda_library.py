"""What a CUDA backend (libggml-cuda.so, or any library with kernels in it) needs and holds, from its file."""

from __future__ import annotations

import mmap
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from workbench.errors import ShimbenchError

# As host/soft/fatbin.cpp has them: a container's head, and the beginning of an entry's.
_CONTAINER = struct.Struct("<IHHQ")  # magic, version, bytes of head, bytes of payload
_ENTRY = struct.Struct("<HHIQ")  # kind (1 PTX, 2 cubin), version, bytes of head, bytes stored
_ENTRY_ARCH = 28  # offset of the architecture in an entry's head
_ENTRY_BYTES = 64
_MAGIC = 0xBA55ED50
_PTX, _CUBIN = 1, 2

_ASK_VERSION = """
import ctypes, sys
version = ctypes.c_int()
if ctypes.CDLL(sys.argv[1]).cudaRuntimeGetVersion(ctypes.byref(version)) == 0:
    print(version.value)
"""


@dataclass(frozen=True)
class CudaLibrary:
    """A library with kernels. Architectures are ten times the compute capability: 80, 120."""

    path: Path
    needed: tuple[str, ...]
    runpath: str | None
    rpath: str | None  #: DT_RPATH, which is searched before any LD_LIBRARY_PATH
    driver_names: tuple[str, ...]  #: of libcuda.so.1, wanted when it is loaded
    architectures: tuple[int, ...]  #: with machine code
    ptx: tuple[int, ...]  #: with PTX, which any newer device can compile
    runtime: tuple[int, int] | None  #: version of the libcudart it will find; None when not told
    runtime_path: Path | None

    def lines(self) -> list[str]:
        """For people."""
        runtime = f"cudart {self.runtime[0]}.{self.runtime[1]}" if self.runtime else "cudart not found"
        code = " ".join(map(str, self.architectures)) or "none"
        ptx = " ".join(map(str, self.ptx)) or "none aboard: no other architecture can run it"
        return [
            f"{self.path}: {runtime}",
            f"  wants when it is loaded: {' '.join(self.driver_names) or 'nothing of libcuda.so.1'}",
            f"  machine code for {code}; PTX {ptx}",
        ]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "path": str(self.path),
            "needed": list(self.needed),
            "runpath": self.runpath,
            "rpath": self.rpath,
            "driver_names": list(self.driver_names),
            "architectures": list(self.architectures),
            "ptx": list(self.ptx),
            "runtime": list(self.runtime) if self.runtime else None,
            "runtime_path": str(self.runtime_path) if self.runtime_path else None,
        }


def read_cuda_library(path: Path, folders: Sequence[Path] = ()) -> CudaLibrary:
    """`folders` are searched for its libcudart, after its own. Raises ShimbenchError when it is no library
    that can be read."""
    needed: list[str] = []
    paths: dict[str, str] = {}
    names: list[str] = []
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            for section in elf.iter_sections():
                if isinstance(section, DynamicSection):
                    for tag in section.iter_tags():
                        kind = tag.entry.d_tag
                        if kind == "DT_NEEDED":
                            needed.append(str(vars(tag)["needed"]))
                        elif kind in ("DT_RUNPATH", "DT_RPATH"):
                            paths[kind] = str(vars(tag)[kind[3:].lower()])
                elif isinstance(section, SymbolTableSection) and section["sh_type"] == "SHT_DYNSYM":
                    names += [
                        symbol.name
                        for symbol in section.iter_symbols()
                        if symbol["st_shndx"] == "SHN_UNDEF" and _of_driver(symbol.name)
                    ]
            found = elf.get_section_by_name(".nv_fatbin")
            place = (found["sh_offset"], found["sh_size"]) if found is not None else (0, 0)
            code, ptx = _code(stream.fileno(), *place)
    except (ELFError, OSError, ValueError, struct.error, KeyError) as error:
        raise ShimbenchError(f"{path} can't be read as a library: {error}") from error
    runtime = _runtime(needed, [path.parent, *folders])
    return CudaLibrary(
        path=path,
        needed=tuple(needed),
        runpath=paths.get("DT_RUNPATH"),
        rpath=paths.get("DT_RPATH"),
        driver_names=tuple(sorted(names)),
        architectures=code,
        ptx=ptx,
        runtime=runtime_version(runtime) if runtime else None,
        runtime_path=runtime,
    )


def runtime_version(library: Path, patience: float = 10.0) -> tuple[int, int] | None:
    """What a libcudart says of itself, asked in a process of its own: it opens no driver for that.

    None when it does not load or does not answer.
    """
    words = [sys.executable, "-I", "-S", "-c", _ASK_VERSION, str(library)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=patience, env={}, check=False)
        number = int(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return number // 1000, number % 1000 // 10


def _of_driver(name: str) -> bool:
    """cuMemMap, but not cudaMalloc, cublasCreate, curandX or cufftY."""
    return name.startswith("cu") and len(name) > 2 and name[2].isupper()


def _runtime(needed: Sequence[str], folders: Sequence[Path]) -> Path | None:
    names = [name for name in needed if name.startswith("libcudart.so")]
    return next((folder / name for name in names for folder in folders if (folder / name).is_file()), None)


def _code(descriptor: int, offset: int, size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The architectures of machine code and of PTX in a section of fat binaries."""
    kinds: dict[int, set[int]] = {_PTX: set(), _CUBIN: set()}
    if size:
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
            for kind, arch in _entries(data, offset, min(offset + size, len(data))):
                kinds.setdefault(kind, set()).add(arch)
    return tuple(sorted(kinds[_CUBIN])), tuple(sorted(kinds[_PTX]))


def _entries(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int]]:
    """(kind, architecture) of each entry; containers follow each other, aligned to 8 bytes."""
    while at + _CONTAINER.size <= end:
        magic, _, head, payload = _CONTAINER.unpack_from(data, at)
        if magic != _MAGIC or head < _CONTAINER.size:
            at += 8
            continue
        entry, after = at + head, min(at + head + payload, end)
        while entry + _ENTRY_BYTES <= after:
            kind, _, entry_head, stored = _ENTRY.unpack_from(data, entry)
            if entry_head < _ENTRY_BYTES:
                break
            yield kind, struct.unpack_from("<I", data, entry + _ENTRY_ARCH)[0]
            entry += entry_head + stored
        at = (after + 7) & ~7
