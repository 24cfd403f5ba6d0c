"""Files that the shim writes its log to, followed into the session: new lines, new files, rotation."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

READ_LIMIT = 1 << 20
"""bytes of one file at one look, so that a flood does not stop everything else"""


@dataclass
class _Followed:
    inode: int
    offset: int
    rest: bytes = b""


class LogFollower:
    """What is in the files when it is made is old; every line after that is told once, whole."""

    def __init__(self, directory: Path, globs: Sequence[str], on_line: Callable[[Path, bytes], None]) -> None:
        self._patterns = [str(directory / glob) for glob in globs]
        self._on_line = on_line
        self._followed = {path: _Followed(status.st_ino, status.st_size) for path, status in self._files()}

    def advance(self) -> None:
        """Tell the lines that were written since. Files that appeared are read from their beginning."""
        for path, status in self._files():
            followed = self._followed.get(path)
            if followed is None or followed.inode != status.st_ino or status.st_size < followed.offset:
                if followed is not None:
                    self._tell_rest(path, followed)
                followed = self._followed[path] = _Followed(status.st_ino, 0)
            if status.st_size > followed.offset:
                self._read(path, followed)

    def finish(self) -> None:
        """Tell what is left, a last line without its newline as well."""
        self.advance()
        for path, followed in self._followed.items():
            self._tell_rest(path, followed)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for pattern in self._patterns:
            for path in sorted(Path("/").glob(pattern.lstrip("/"))):
                with contextlib.suppress(OSError):
                    if path.is_file():
                        yield path, path.stat()

    def _read(self, path: Path, followed: _Followed) -> None:
        with contextlib.suppress(OSError), path.open("rb") as stream:
            stream.seek(followed.offset)
            data = stream.read(READ_LIMIT)
            followed.offset += len(data)
            *lines, followed.rest = (followed.rest + data).split(b"\n")
            for line in lines:
                self._on_line(path, line)

    def _tell_rest(self, path: Path, followed: _Followed) -> None:
        if followed.rest:
            self._on_line(path, followed.rest)
            followed.rest = b""
