"""Where a session is written when its usual place takes none: the disk is full, read-only, not ours."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from workbench.errors import ShimbenchError
from workbench.sessions_store import Place

MIN_FREE = 64 << 20
"""Bytes: the ring of the last calls takes 21 MB while it is written, and builds lie there too."""


def with_room(place: Place) -> tuple[Place, str]:
    """The place itself, or another that can be written to, and a sentence on why it is another.

    ShimbenchError when there is none at all.
    """
    why = obstacle(place)
    if not why:
        return place, ""
    reasons = [f"{place.root}: {why}"]
    for other in _others(place):
        said = obstacle(other)
        if not said:
            return other, f"nothing can be recorded in {place.root} ({why}): it goes to {other.root} instead"
        reasons.append(f"{other.root}: {said}")
    said = "; ".join(reasons)
    raise ShimbenchError(f"there is no place for a session: {said}. Free some, or name one with --session")


def told(error: OSError) -> str:
    """What the file system would not do, as a sentence with what helps."""
    where = error.filename2 or error.filename
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) and where:
        return f"no room on the disk ({where}: {why}): free some and relaunch; what was recorded stays"
    return f"{where}: {why}" if where else why


def obstacle(place: Place) -> str:
    """Why no session can be begun there; "" when one can."""
    try:
        place.sessions.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place.sessions):
            pass
        free = shutil.disk_usage(place.sessions).free
    except OSError as error:
        return error.strerror or str(error)
    return "" if free >= MIN_FREE else f"{free >> 20} MiB are free, {MIN_FREE >> 20} MiB are wanted"


def _others(place: Place) -> Iterator[Place]:
    import platformdirs

    state = Place(platformdirs.user_state_path("shimbench"))
    if state != place:
        yield state
    ours = Path(tempfile.gettempdir()) / f"shimbench-{os.getuid()}"
    try:
        ours.mkdir(mode=0o700, exist_ok=True)
        status = ours.lstat()
    except OSError:
        return
    if ours.is_dir() and not ours.is_symlink() and status.st_uid == os.getuid():
        yield Place(ours)  # others may write there: a folder that is not ours is none for us
