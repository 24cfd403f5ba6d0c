"""The check that model and libraries agree: every export has a row, every row an export."""

from __future__ import annotations

import re
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from shim.api.model import Model

API_NAME = {"cuda": re.compile(r"cu[A-Z]\w*"), "nvml": re.compile(r"nvml[A-Z]\w*")}


def exported_names(library: Path) -> set[str]:
    """The names of the functions a shared library exports; OSError or ValueError if it is none."""
    with library.open("rb") as stream:
        try:
            section = ELFFile(stream).get_section_by_name(".dynsym")
        except Exception as error:
            raise ValueError(f"{library}: not a shared library: {error}") from None
        if not isinstance(section, SymbolTableSection):
            raise ValueError(f"{library}: has no dynamic symbols")
        return {
            symbol.name
            for symbol in section.iter_symbols()
            if symbol["st_shndx"] != "SHN_UNDEF"
            and symbol["st_info"]["type"] in ("STT_FUNC", "STT_GNU_IFUNC")
        }


def disagreements(model: Model, library: str, exported: set[str]) -> list[str]:
    """A sentence for every function of an API without a row, and for every row without a function.

    `library` is "cuda" or "nvml"; functions that belong to neither API are nobody's business.
    Names that runtimes ask for and no header declares may be exported, and need not be.
    """
    own = {name for name in exported if API_NAME[library].fullmatch(name)}
    rows = model.exports[library]
    undeclared = sorted(own - rows - model.private_names)
    missing = sorted(rows - own)
    return [f"{name}: exported, but the model has no row for it" for name in undeclared] + [
        f"{name}: in the model, but not exported" for name in missing
    ]
