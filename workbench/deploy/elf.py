"""What a library says of itself to the loader."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}


class NotALibraryError(Exception):
    """No loader would take this file; says why."""


@dataclass(frozen=True)
class Library:
    """The part of a library that decides how it is found."""

    soname: str | None
    needed: tuple[str, ...]
    machine: str


def read_library(path: Path) -> Library:
    """Raises NotALibraryError, OSError."""
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            dynamic = next((s for s in elf.iter_sections() if isinstance(s, DynamicSection)), None)
            if dynamic is None:
                raise NotALibraryError(f"{path} is no shared library: it has no dynamic section")
            tags = [(tag.entry.d_tag, vars(tag)) for tag in dynamic.iter_tags()]
            soname = next((str(values["soname"]) for name, values in tags if name == "DT_SONAME"), None)
            needed = tuple(str(values["needed"]) for name, values in tags if name == "DT_NEEDED")
            machine = str(elf["e_machine"])
    except ELFError as error:
        raise NotALibraryError(f"{path} is no library: {error}") from error
    wanted = MACHINES.get(os.uname().machine)
    if wanted and machine != wanted:
        raise NotALibraryError(f"{path} is for {machine}, this machine is {wanted}")
    return Library(soname, needed, machine)
