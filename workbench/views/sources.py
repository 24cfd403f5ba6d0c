"""The sources of a session: those its project watches, as they are now, and those its builds were made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import ShimbenchError

if TYPE_CHECKING:
    from sessions import Session

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LARGEST = 4 << 20  # bytes of a source that is searched


@dataclass(frozen=True)
class Source:
    """A source by its name in its project; `run` is the newest built of this text, None: as it is now."""

    name: str
    run: int | None
    path: Path

    def __str__(self) -> str:
        return self.name if self.run is None else f"{self.name} as of run {self.run}"


def sources_of(session: Session, directory: Path) -> list[Source]:
    """The newest first: what the project of a directory watches, then what the runs of a session were built
    of, where its store still has it. Each text is there once."""
    root, watched = watched_sources(directory)
    paths = sorted({path for glob in watched for path in root.glob(glob) if path.is_file()})
    return [*(Source(str(path.relative_to(root)), None, path) for path in paths), *_kept(session, root)]


def watched_sources(directory: Path) -> tuple[Path, Sequence[str]]:
    """The project of a directory and the globs it watches; none where its shimbench.toml can't be read."""
    from workbench.config import load_config

    try:
        config = load_config(directory, dict)
    except (ShimbenchError, OSError):
        return directory, []
    return config.directory, config.watch


def _kept(session: Session, root: Path) -> Iterator[Source]:
    """Sources in the store that the session names, or else the project's."""
    from workbench.loop.store import BuildStore
    from workbench.sessions_store import place_of

    seen: set[tuple[str, str]] = set()
    for event in reversed(session.events):
        sources = event.fields.get("sources")
        if event.kind != "run" or not isinstance(sources, dict):
            continue
        # builds/ID/lib in a store, of the machine that recorded it.
        stores = *Path(str(event.fields.get("shim") or "/")).parents[2:3], place_of(root).store
        for name, digest in sorted(sources.items()):
            if (name, digest) in seen or not _DIGEST.fullmatch(str(digest)):
                continue
            seen.add((name, digest))
            found = (BuildStore(store).object_path(digest) for store in stores)
            path = next((path for path in found if path.is_file()), None)
            if path is not None:
                yield Source(name, int(event.fields.get("run") or 0), path)


def text_of(source: Source) -> str | None:
    """What it says; None when it can't be read, or is so large that a program must have written it."""
    try:
        return source.path.read_text("utf-8", "replace") if source.path.stat().st_size <= _LARGEST else None
    except OSError:
        return None


def lines_found(sources: Iterable[Source], pattern: re.Pattern[str]) -> Iterator[tuple[Source, int, str]]:
    """Lines in which it is found, with their indices. A line that a newer text of its source has as well is
    told of that one only."""
    told: dict[str, set[str]] = {}
    for source in sources:
        newer = told.setdefault(source.name, set())
        found = [
            (number, line.strip())
            for number, line in enumerate((text_of(source) or "").splitlines())
            if pattern.search(line)
        ]
        yield from ((source, number, line) for number, line in found if line not in newer)
        newer.update(line for _, line in found)
