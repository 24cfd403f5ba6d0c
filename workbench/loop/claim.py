"""Who has a session's workbench: so that one that was killed can be taken up again by the next.

The collector writes on when its workbench dies. The file `workbench.json` in the session says what the
workbench was at work on, and is locked while it lives; a session whose file is there, not locked, and
whose collector answers, is one that was left alone.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "workbench.json"


@dataclass(frozen=True)
class Work:
    """What a workbench is at work on."""

    directory: str
    command: Sequence[str]
    tap: bool
    host_socket: str


class Claim:
    """The lock on a session's file; held until release() or the end of the process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Use make() or take()."""
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def make(cls, session: Path, work: Work) -> Claim:
        """Claim a session that begins. Raises OSError when it can't be written."""
        path = session / FILE
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(work)).encode() + b"\n", 0)
        return cls(path, descriptor)

    @classmethod
    def take(cls, session: Path) -> tuple[Claim, Work] | None:
        """Claim a session whose workbench is gone; None when it is not, or has ended in good order."""
        try:
            descriptor = os.open(session / FILE, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            facts: dict[str, Any] = json.loads(os.pread(descriptor, 1 << 20, 0))
            return cls(session / FILE, descriptor), Work(**{**facts, "command": tuple(facts["command"])})
        except (OSError, ValueError, TypeError, KeyError):
            os.close(descriptor)
            return None

    def release(self, remove: bool = True) -> None:
        """Give it up; with `remove` the session has no workbench to come. Safe to call twice."""
        if self._descriptor < 0:
            return
        if remove:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1
