"""The libraries a shim is built of besides those that targets ask for.

A shim finds them by a RUNPATH relative to itself (`$ORIGIN`). It runs as a copy elsewhere, so what that
leads to has to come along; what it finds by other ways it finds from there as well.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

from workbench.tap.rundir import TAPPED

_ORIGINS = ("$ORIGIN", "${ORIGIN}")


def with_companions(libraries: Mapping[str, Path]) -> dict[str, Path]:
    """`libraries`, soname -> path, and what they need from folders that they name relative to themselves.

    A driver that lies there is left out: which one the target gets, the configuration alone says. A file
    that is no library brings nothing.
    """
    found = dict(libraries)
    waiting = list(libraries.values())
    while waiting:
        path = waiting.pop().resolve()
        needed, folders = _dynamic(path)
        for name in needed:
            if name in found or name in TAPPED:
                continue
            beside = next((folder / name for folder in folders if (folder / name).is_file()), None)
            if beside is not None:
                found[name] = beside
                waiting.append(beside)
    return found


def _dynamic(path: Path) -> tuple[list[str], list[Path]]:
    """What a library needs, and the folders of its RUNPATH or RPATH that are relative to it."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile

    needed: list[str] = []
    words: list[str] = []
    try:
        with path.open("rb") as stream:
            for segment in ELFFile(stream).iter_segments("PT_DYNAMIC"):
                if not isinstance(segment, DynamicSegment):
                    continue
                for tag in segment.iter_tags():
                    if tag.entry.d_tag == "DT_NEEDED":
                        needed.append(str(vars(tag)["needed"]))
                    elif tag.entry.d_tag in ("DT_RUNPATH", "DT_RPATH"):
                        words += str(vars(tag)[tag.entry.d_tag[3:].lower()]).split(":")
    except (ELFError, OSError, ValueError, struct.error, KeyError, AttributeError):
        return [], []
    folders = []
    for word in words:
        for origin in _ORIGINS:
            if word.startswith(origin):
                folders.append(Path(os.path.normpath(f"{path.parent}{word.removeprefix(origin)}")))
    return needed, folders
