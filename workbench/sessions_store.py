"""Where sessions lie, and which one a command means: the newest, the one before, a name or a path."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import UsageError

if TYPE_CHECKING:
    from sessions.label import Label

FILE_NAME = "shimbench.toml"
"""What makes a directory a project. Here, since finding a session must not read the whole of config."""


@dataclass(frozen=True)
class Place:
    """The folder that belongs to one project: its sessions and the builds that ran."""

    root: Path

    @property
    def sessions(self) -> Path:
        return self.root / "sessions"

    @property
    def store(self) -> Path:
        return self.root / "store"

    def new_session(self) -> Path:
        """A directory name for a session that begins now; not yet made. Names sort by time."""
        stem = time.strftime("%Y%m%d-%H%M%S")
        path, number = self.sessions / stem, 1
        while path.exists():
            number += 1
            path = self.sessions / f"{stem}.{number}"
        return path

    def all(self) -> list[Path]:
        """Every session here, the newest first."""
        if not self.sessions.is_dir():
            return []
        found = [path for path in self.sessions.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return sorted(found, key=_age, reverse=True)

    def named(self, name: str) -> Path | None:
        """The session that was given this name; the newest, should a copied one have it too."""
        return next((path for path in self.all() if label_of(path).name == name), None)


def label_of(session: Path) -> Label:
    """The label of a session; an empty one when it can't be read, which the listing tells."""
    from sessions.errors import SessionError
    from sessions.label import Label

    try:
        return Label.of(session)
    except SessionError:
        return Label()


def _age(path: Path) -> tuple[str, int]:
    stem, _, number = path.name.partition(".")
    return stem, int(number) if number.isdigit() else 1


def place_of(directory: Path | None = None) -> Place:
    """DIR/.shimbench where DIR has a shimbench.toml, else the user's own state directory.

    Without a directory, the working directory or the nearest one above it that has the file.
    """
    here = (directory or Path.cwd()).resolve()
    for candidate in (here,) if directory else (here, *here.parents):
        if (candidate / FILE_NAME).is_file():
            return Place(candidate / ".shimbench")
    import platformdirs

    return Place(platformdirs.user_state_path("shimbench"))


def resolve(name: str | Path | None = None, directory: Path | None = None) -> Path:
    """The session a command line means.

    None, "" or "@": the newest; "@-1": the one before it; "@good": the newest marked good; else a path,
    or the name of a session in its usual place, by its directory or as given; "gallery:NAME": one of the
    recorded failures. Raises UsageError.
    """
    text = str(name) if name is not None else ""
    place = place_of(directory)
    if text in ("", "@"):
        text = "@-0"
    if match := re.fullmatch(r"@-(\d+)", text):
        sessions, back = place.all(), int(match[1])
        if back < len(sessions):
            return sessions[back]
        if not sessions:
            raise UsageError(f"there is no session yet in {place.sessions}: `shimbench run` records one")
        raise UsageError(f"no session {text}: there are {len(sessions)} in {place.sessions}")
    if text == "@good":
        good = next((path for path in place.all() if label_of(path).good is not None), None)
        if good is None:
            raise UsageError(f"no session is good in {place.sessions}: `shimbench sessions good SESSION`")
        return good
    if text.startswith("gallery:"):
        return _of_gallery(text.removeprefix("gallery:"))
    for candidate in (Path(text), place.sessions / text):
        if candidate.exists():
            return candidate.resolve()
    if named := place.named(text):
        return named
    raise UsageError(f"{text}: no such session, neither as a path nor in {place.sessions}")


def marks_elsewhere() -> Path:
    """Where marks of sessions are kept that can't be written to, a file each."""
    import platformdirs

    return platformdirs.user_data_path("shimbench") / "marks"


def split_run(text: str) -> tuple[str, int | None]:
    """`SESSION:RUN` as its parts; the run is None where none is named."""
    match = re.fullmatch(r"(.*?):(\d+)", text)
    return (match[1], int(match[2])) if match else (text, None)


def _of_gallery(name: str) -> Path:
    from sessions.gallery import recordings

    known = {recording.name: recording.path for recording in recordings()}
    if name not in known:
        raise UsageError(f"there is no {name or 'such recording'} in the gallery: {', '.join(known)}")
    return known[name]
