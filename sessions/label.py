"""What its owner says of a session, beside its streams: a name, and whether it is good to compare with."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from sessions.errors import SessionError

FILE = "label.json"


@dataclass(frozen=True)
class Label:
    """`name`: what it is called besides its directory's name. `good`: the number of a run that was as it
    should be."""

    name: str = ""
    good: int | None = None

    @classmethod
    def of(cls, session: Path) -> Label:
        """The label of a session's directory; an empty one when it has none. SessionError when damaged."""
        path = session / FILE
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except OSError as error:
            raise SessionError(f"{path}: {error.strerror}") from error
        try:
            text, crc = data.removeprefix(b'{"label":').rsplit(b',"crc32":', 1)
            if zlib.crc32(text) != int(crc.rstrip(b"}\n")):
                raise ValueError("its check fails")
            fields = json.loads(text)
            good = fields.get("good")
            return cls(str(fields.get("name", "")), None if good is None else int(good))
        except (ValueError, AttributeError, TypeError) as error:
            raise SessionError(f"{path}: damaged: {error}; remove it to go on without a name") from error

    def put(self, session: Path) -> None:
        """Write it, whole or not at all. OSError when the session can't be written to."""
        path = session / FILE
        if self == Label():
            path.unlink(missing_ok=True)
            return
        text = json.dumps(asdict(self)).encode()
        fresh = path.with_name(f"{FILE}.new")
        try:
            with fresh.open("wb") as out:
                out.write(b'{"label":%s,"crc32":%d}\n' % (text, zlib.crc32(text)))
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
