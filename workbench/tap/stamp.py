"""Stamps a template of the tap: its dynamic symbols become exactly those of the shim behind it.

A tap that exports more than its shim hides the commonest fault (the runtime then answers 500, 801 or 35
instead of 36). Names the model doesn't know are written over those of reserved thunks. Only the tables of
dynamic symbols are changed, so that this takes a few milliseconds.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size
DYNAMIC = struct.Struct("<qQ")
PROGRAM = struct.Struct("<IIQQQQQQ")  # type, flags, offset, vaddr, paddr, filesz, memsz, align

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NULL, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ = 0, 4, 5, 6, 10
DT_GNU_HASH = 0x6FFFFEF5
STB_LOCAL = 0
STT_OBJECT, STT_FUNC, STT_GNU_IFUNC = 1, 2, 10
SLOT_PREFIX = b"shimbench_slot_"


class NotLoadableError(ValueError):
    """The file is no shared object for x86-64 that a loader would take; says which file and why."""


class Symbol(NamedTuple):
    """One entry of a dynamic symbol table."""

    place: int
    name: bytes
    info: int
    defined: bool
    visible: bool

    @property
    def is_function(self) -> bool:
        """Whether it is code: a function, or one that chooses a function when it is bound."""
        return self.info & 15 in (STT_FUNC, STT_GNU_IFUNC)


@dataclass(frozen=True)
class StampReport:
    """What a stamped tap exports, by name: known functions, unknown ones that go through thunks, and exports
    of the shim's that the tap could not give (data, C++ names, names too long or too many)."""

    known: frozenset[str]
    unknown: frozenset[str]
    left_out: frozenset[str]


class _Image:
    """The dynamic section of an ELF file, read without its section headers (a shim may have lost them)."""

    def __init__(self, data: bytes | bytearray, path: Path) -> None:
        self.data = data
        if len(data) < 64 or data[:4] != b"\x7fELF":
            raise NotLoadableError(f"{path}: not an ELF file")
        machine, kind = struct.unpack_from("<HH", data, 18)[0], struct.unpack_from("<H", data, 16)[0]
        if data[4] != 2 or data[5] != 1 or machine != 62 or kind != 3:
            raise NotLoadableError(f"{path}: not a shared object for x86-64")
        try:
            self._read()
        except (struct.error, KeyError, IndexError, ValueError) as error:
            raise NotLoadableError(f"{path}: damaged ELF file: {error!r}") from error

    def _read(self) -> None:
        data = self.data
        offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
        headers = [PROGRAM.unpack_from(data, offset + i * size) for i in range(count)]
        self.loads = [header for header in headers if header[0] == PT_LOAD]
        dynamic = next(header for header in headers if header[0] == PT_DYNAMIC)
        if any(header[2] + header[5] > len(data) for header in self.loads):
            raise ValueError("cut off")
        self.tags: dict[int, int] = {}
        for tag, value in DYNAMIC.iter_unpack(data[dynamic[2] : dynamic[2] + dynamic[5] // 16 * 16]):
            if tag == DT_NULL:
                break
            self.tags.setdefault(tag, value)
        self.symbols_at = self.offset_of(self.tags[DT_SYMTAB])
        self.strings_at = self.offset_of(self.tags[DT_STRTAB])
        self.strings = bytes(data[self.strings_at : self.strings_at + self.tags[DT_STRSZ]])
        self.count = self._symbol_count()

    def offset_of(self, address: int) -> int:
        """The place in the file of a virtual address."""
        for _, _, offset, start, _, size, _, _ in self.loads:
            if start <= address < start + size:
                return int(offset + address - start)
        raise ValueError(f"address {address:#x} is in no segment")

    def _symbol_count(self) -> int:
        if DT_HASH in self.tags:
            return int(struct.unpack_from("<I", self.data, self.offset_of(self.tags[DT_HASH]) + 4)[0])
        if DT_GNU_HASH not in self.tags:
            return 0
        at = self.offset_of(self.tags[DT_GNU_HASH])
        buckets, first, bloom, _ = struct.unpack_from("<4I", self.data, at)
        at += 16 + 8 * bloom
        index = max(struct.unpack_from(f"<{buckets}I", self.data, at), default=0)
        if index < first:
            return int(first)
        chains = at + 4 * buckets
        while not struct.unpack_from("<I", self.data, chains + 4 * (index - first))[0] & 1:
            index += 1
        return int(index) + 1

    def symbols(self) -> list[Symbol]:
        """All but the empty first one."""
        table = self.data[self.symbols_at : self.symbols_at + SYMBOL.size * self.count]
        strings, end = self.strings, self.strings.index
        found = [
            Symbol(
                index,
                strings[name : end(b"\0", name)],
                info,
                section != 0 and value != 0,
                info >> 4 != STB_LOCAL and other & 3 not in (1, 2),
            )
            for index, (name, info, other, section, value, _) in enumerate(SYMBOL.iter_unpack(table))
        ]
        return found[1:]


def exports(path: Path) -> dict[str, bool]:
    """The names that a shared object exports -> whether each is a function.

    Raises NotLoadableError for what the loader would refuse at sight, OSError when it can't be read.
    """
    symbols = _Image(path.read_bytes(), path).symbols()
    return {s.name.decode(): s.is_function for s in symbols if s.defined and s.visible and s.name}


@lru_cache(maxsize=8192)  # the same names at each build
def _sysv_hash(name: bytes) -> int:
    value = 0
    for byte in name:
        value = (value << 4) + byte
        value = (value ^ (value & 0xF0000000) >> 24) & 0x0FFFFFFF
    return value


def _is_driver_name(name: str) -> bool:
    return (name.startswith("cu") and name[2:3].isupper()) or (
        name.startswith("nvml") and name[4:5].isupper()
    )


class _Template(NamedTuple):
    image: _Image
    symbols: list[Symbol]
    known: dict[str, Symbol]
    slots: list[Symbol]  # reserved for names that the model doesn't know


@lru_cache(maxsize=4)  # the two templates stay the same from one build of the shim to the next
def _template(path: Path, changed_ns: int, size: int) -> _Template:
    image = _Image(path.read_bytes(), path)
    symbols = image.symbols()
    known = {s.name.decode(): s for s in symbols if s.defined and not s.name.startswith(SLOT_PREFIX)}
    slots = [s for s in symbols if s.name.startswith(SLOT_PREFIX)]
    slots.sort(key=lambda slot: int(slot.name[len(SLOT_PREFIX) :].rstrip(b"_")))
    return _Template(image, symbols, known, slots)


def stamp(template: Path, shim_path: Path | None, out: Path) -> StampReport:
    """Writes to ``out`` the template with the exports of the shim, or with none at all for None.

    Raises NotLoadableError when the shim is nothing a loader would take, OSError when a file can't be read
    or written.
    """
    wanted = exports(shim_path) if shim_path is not None else {}
    status = template.stat()
    parts = _template(template, status.st_mtime_ns, status.st_size)
    image, symbols, known = parts.image, parts.symbols, parts.known
    slots = list(parts.slots)
    data = bytearray(image.data)

    kept: dict[int, bytes] = {known[name].place: name.encode() for name in wanted if name in known}
    unknown: set[str] = set()
    left_out: set[str] = set()
    # The driver's own names first, should there be more than thunks.
    for name in sorted(wanted.keys() - known.keys(), key=lambda name: (not _is_driver_name(name), name)):
        encoded = name.encode()
        if not wanted[name] or name.startswith("_") or not slots or len(encoded) > len(slots[0].name):
            left_out.add(name)
            continue
        slot = slots.pop(0)
        place = image.strings_at + SYMBOL.unpack_from(data, image.symbols_at + SYMBOL.size * slot.place)[0]
        data[place : place + len(encoded) + 1] = encoded + b"\0"
        kept[slot.place] = encoded
        unknown.add(name)

    for symbol in symbols:
        if symbol.defined and symbol.place not in kept:
            SYMBOL.pack_into(data, image.symbols_at + SYMBOL.size * symbol.place, 0, symbol.info, 0, 0, 0, 0)
    _write_hash(data, image, kept)
    temporary = out.with_name(out.name + ".part")
    temporary.write_bytes(data)
    temporary.chmod(0o755)
    temporary.replace(out)
    names = frozenset(name for name in wanted if name in known)
    return StampReport(names, frozenset(unknown), frozenset(left_out))


def _write_hash(data: bytearray, image: _Image, names: dict[int, bytes]) -> None:
    """Rebuilds the SysV hash table, in place, over the symbols named."""
    at = image.offset_of(image.tags[DT_HASH])
    bucket_count, chain_count = struct.unpack_from("<II", data, at)
    buckets, chains = [0] * bucket_count, [0] * chain_count
    for index, name in names.items():
        bucket = _sysv_hash(name) % bucket_count
        chains[index], buckets[bucket] = buckets[bucket], index
    struct.pack_into(f"<{bucket_count + chain_count}I", data, at + 8, *buckets, *chains)
