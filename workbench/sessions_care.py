"""Care of the recorded sessions: what each one holds, and which may go.

A session that somebody writes or has open as a workbench is never removed. One that was given a name, is
marked good or has marks in it was worth something to somebody: it stays unless that is asked for as well, and
with it the builds that its runs were of.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sessions import SessionError, open_session
from sessions.label import FILE as LABEL_FILE
from sessions.label import Label
from sessions.marks import FILE as MARKS_FILE
from sessions.marks import Marks
from sessions.states import FOLDER as STATES_FOLDER
from workbench.errors import ShimbenchError

if TYPE_CHECKING:
    from workbench.sessions_store import Place

_LOCKS = ("writer.lock", "workbench.json")
_REMOVING = ".removing-"


@dataclass(frozen=True)
class Held:
    """A session on disk. `written`: unix time of its last write; `size`: its bytes on the disk."""

    path: Path
    size: int
    written: float
    in_use: bool
    label: Label = field(default_factory=Label)
    calls: int = 0
    runs: int = 0
    marks: int = 0
    builds: tuple[str, ...] = ()  #: of its runs, by their ids in the store of builds
    command: str = ""
    damage: tuple[str, ...] = ()
    error: str = ""

    @property
    def kept(self) -> str:
        """Why it is not removed unasked; "" when nothing speaks for it."""
        if self.in_use:
            return "in use"
        if self.label.name:
            return "named"
        if self.label.good is not None:
            return "good"
        return "marked" if self.marks else ""

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        row = asdict(self) | {"name": self.path.name, "path": str(self.path), "kept": self.kept}
        label = row.pop("label")
        return row | {"given_name": label["name"], "good": label["good"]}


def look_at(path: Path) -> Held:
    """What a session holds; one that can't be read says so in `error`, and never raises."""
    size, written = 0, 0.0
    for folder, _, names in os.walk(path):
        derived = Path(folder).name == STATES_FOLDER
        for name in names:
            with contextlib.suppress(OSError):  # a file that went meanwhile
                status = os.lstat(Path(folder) / name)
                size += status.st_blocks * 512
                if name not in (LABEL_FILE, MARKS_FILE) and not derived:  # whoever reads it leaves these
                    written = max(written, status.st_mtime)
    facts: dict[str, Any] = {}
    try:
        facts["label"] = Label.of(path)
        session = open_session(path)
        runs = [event for event in session.events if event.kind == "run"]
        facts |= {
            "calls": len(session.calls),
            "runs": len(runs),
            "marks": len(list(Marks(session))),
            "builds": tuple({str(run.fields["shim_id"]): run for run in runs if run.fields.get("shim_id")}),
            "command": " ".join(map(str, runs[-1].fields.get("command") or ())) if runs else "",
            "damage": tuple(session.damage),
        }
    except (SessionError, OSError, ValueError, TypeError) as error:  # must not hide the others
        facts["error"] = f"cannot be read: {error}"
    return Held(path, size, written or path.lstat().st_mtime, _in_use(path), **facts)


def superfluous(
    sessions: Sequence[Held], *, before: float | None = None, most: int | None = None, kept_too: bool = False
) -> list[Held]:
    """Which of the sessions go: those last written `before` a unix time, then the oldest until the rest
    takes at most `most` bytes. What is `kept` goes only with `kept_too`, what is in use never."""
    free = [held for held in sessions if not held.in_use and (kept_too or not held.kept)]
    gone = [held for held in free if before is not None and held.written < before]
    left = sum(held.size for held in sessions) - sum(held.size for held in gone)
    if most is not None:
        for held in sorted(free, key=lambda held: held.written):
            if left <= most:
                break
            if held not in gone:
                gone.append(held)
                left -= held.size
    return sorted(gone, key=lambda held: held.written)


def remove(path: Path) -> None:
    """Remove a session, all of it. ShimbenchError when it is in use or its folder can't be written to."""
    hidden = path.with_name(f"{_REMOVING}{path.name}")
    with _locked(path) as ours:
        if not ours:
            raise ShimbenchError(f"{path}: in use; end what records there first")
        try:
            if hidden.exists():
                shutil.rmtree(hidden)
            path.rename(hidden)  # at once: nobody finds half a session
            shutil.rmtree(hidden)
        except OSError as error:
            raise ShimbenchError(f"{error.filename or path}: not removed: {error.strerror}") from error


def builds_needed(place: Place) -> set[str]:
    """The builds that sessions here which are kept have run on: what changed between their runs is told
    from the sources that are kept with them."""
    held = [look_at(path) for path in place.all()]
    return {build for each in held if each.kept for build in each.builds}


def clear_remains(sessions: Path) -> None:
    """Remove what a removal that was interrupted has left."""
    for path in sessions.glob(f"{_REMOVING}*"):
        shutil.rmtree(path, ignore_errors=True)


def _in_use(path: Path) -> bool:
    with _locked(path) as ours:
        return not ours


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold what a writer and a workbench would hold; False when one of them does."""
    held: list[int] = []
    try:
        for name in _LOCKS:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                held.append(os.open(path / name, os.O_RDONLY | os.O_CLOEXEC))
        try:
            for descriptor in held:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        for descriptor in held:
            os.close(descriptor)
