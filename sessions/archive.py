"""A session inside a report's zip, unpacked: the zip comes from a stranger."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO

from sessions.errors import SessionError

MAX_BYTES = 8 << 30
"""Of all files together, unpacked."""

MAX_RATIO = 1000
"""Unpacked to packed, of files larger than a megabyte."""

_FOLDER = "session/"
_FILES = frozenset(
    {
        "session.json", "schema.json.zst", "calls.tail", "calls.dat", "calls.index", "blobs.dat",
        "blobs.index", "buffers.dat", "buffers.index", "log.bytes", "log.index", "log.partial",
        "events.jsonl", "inflight",
    }
)  # fmt: skip
"""What a session consists of; nothing else is unpacked, whatever the zip holds."""

_CHUNK = 1 << 20
_UNREADABLE = (
    zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError, zlib.error,
)  # fmt: skip


def is_archive(path: Path) -> bool:
    """Whether it looks like a zip."""
    return path.is_file() and zipfile.is_zipfile(path)


def unpack(path: Path, into: Path) -> Path:
    """Unpack the session of the zip at `path` to `into`, which is made; -> `into`.

    SessionError when it holds no session, is damaged, or is larger unpacked than it may be. Sizes are
    counted as they come, never believed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
            into.mkdir(parents=True)
            try:
                _extract(archive, members, into, path)
            except BaseException:
                shutil.rmtree(into, ignore_errors=True)
                raise
    except _UNREADABLE as error:
        raise SessionError(f"{path}: no readable report: {error}") from error
    return into


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> IO[bytes]:
    try:
        return archive.open(info)
    except OSError as error:  # a place before the file's beginning, say; what is written fails elsewhere
        raise SessionError(f"{path}: {info.filename} can't be read: {error}") from error


def _read(source: IO[bytes], path: Path) -> bytes:
    try:
        return source.read(_CHUNK)
    except OSError as error:
        raise SessionError(f"{path}: can't be read: {error}") from error


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removeprefix(_FOLDER)
        if not info.filename.startswith(_FOLDER) or name not in _FILES:
            continue
        mode = info.external_attr >> 16
        if name in members or (mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode)):
            raise SessionError(f"{path}: {info.filename} is there twice, or is no file")
        members[name] = info
    if "session.json" not in members:
        raise SessionError(f"{path}: there is no session in it")
    return members


def _extract(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], into: Path, path: Path) -> None:
    total = 0
    for name, info in members.items():
        done = 0
        with _opened(archive, info, path) as source, (into / name).open("xb") as target:
            while data := _read(source, path):
                done, total = done + len(data), total + len(data)
                bomb = done > _CHUNK and done > MAX_RATIO * max(info.compress_size, 1)
                if total > MAX_BYTES or (bomb and name != "calls.tail"):
                    raise SessionError(f"{path}: {info.filename} unpacks to too much")
                if name == "calls.tail" and done > (64 << 20):
                    raise SessionError(f"{path}: {info.filename} unpacks to too much")
                target.write(data)
