"""Watch the sources: one message a burst of saves, whatever way the editor writes its files.

Editors rename over the file, truncate and write again, or leave temporary files beside it; git
touches a hundred at once. So an event is only a hint: after a short silence the files that match are
compared by content with what they were, and only a real change is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pathspec
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

DEBOUNCE_SECONDS = 0.05
"""Silence that ends a burst. Part of what we add to an edit, so no longer than editors need."""

WRITTEN_SECONDS = 0.02
"""Silence that is enough after a file was closed or renamed into place: it is whole."""

ALONE_SECONDS = 0.005
"""The same when it is the only file of the burst: whoever writes several goes on at once, and a save that
comes later all the same gives the build up that this one began."""

NEVER_WATCHED = (".git/", ".shimbench/", "__pycache__/", "*~", ".*.sw?", "4913", "#*#", ".#*")
"""Besides .gitignore: editors' temporary files and our own."""

_TELLING_EVENTS = frozenset({"created", "modified", "moved", "deleted", "closed"})


@dataclass(frozen=True)
class Saved:
    """A burst of saves that changed something."""

    paths: tuple[Path, ...]
    """absolute, sorted; a deleted file is named as well"""
    at_ns: int
    """time.monotonic_ns() of the burst's first event"""


class SourceFiles:
    """The files of a directory that globs name and .gitignore does not take away."""

    def __init__(self, directory: Path, globs: Sequence[str]) -> None:
        self.directory = directory.resolve()
        self._wanted = pathspec.PathSpec.from_lines("gitignore", globs)
        self._ignored = pathspec.GitIgnoreSpec.from_lines(_ignore_lines(self.directory))
        self.roots = _roots(self.directory, globs)

    def matches(self, path: Path) -> bool:
        """Would a change of `path` (absolute) matter?"""
        try:
            relative = path.relative_to(self.directory).as_posix()
        except ValueError:
            return False
        return self._wanted.match_file(relative) and not self._ignored.match_file(relative)

    def __iter__(self) -> Iterator[Path]:
        """Every such file there is, absolute, sorted."""
        found: set[Path] = set()
        for root in self.roots:
            for place, directories, files in os.walk(root):
                here = Path(place)
                directories[:] = [name for name in directories if not self._skips(here / name)]
                found.update(path for name in files if self.matches(path := here / name))
        return iter(sorted(found))

    def _skips(self, directory: Path) -> bool:
        relative = directory.relative_to(self.directory).as_posix()
        return self._ignored.match_file(f"{relative}/")

    def directories(self) -> Iterator[Path]:
        """Every directory that may hold one, for a watch that does not descend by itself."""
        for root in self.roots:
            for place, directories, _ in os.walk(root):
                here = Path(place)
                directories[:] = [name for name in directories if not self._skips(here / name)]
                yield here


class SourceWatcher:
    """Calls back on the asyncio loop with each burst of saves that changed a source."""

    def __init__(
        self,
        directory: Path,
        globs: Sequence[str],
        on_saved: Callable[[Saved], None],
        debounce: float = DEBOUNCE_SECONDS,
    ) -> None:
        self.files = SourceFiles(directory, globs)
        self._on_saved = on_saved
        self._debounce = debounce
        self._digests: dict[Path, bytes] = {}
        self._touched: set[Path] = set()
        self._first: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._observer = Observer()
        self._watched: set[Path] = set()
        self._handler = _Handler(self)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to watch. Must be called on the running asyncio loop."""
        self._loop = asyncio.get_running_loop()
        self._observer.start()
        self._watch_directories()
        self._digests = {path: _digest(path) for path in self.files}

    def stop(self) -> None:
        """Watch no more. Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()

    def _watch_directories(self) -> None:
        """One watch a directory: a recursive one would also follow build trees and node_modules."""
        for directory in self.files.directories():
            if directory not in self._watched:
                self._watched.add(directory)
                self._observer.schedule(self._handler, str(directory), recursive=False)

    def _event(self, event: FileSystemEvent) -> None:
        """On the observer's thread."""
        if event.event_type not in _TELLING_EVENTS or self._loop is None:
            return
        moment = time.monotonic_ns()
        paths = [Path(os.fsdecode(name)) for name in (event.src_path, event.dest_path) if name]
        if event.is_directory:
            if event.event_type != "modified":  # "modified" only repeats what its entries say
                self._post(paths, True, moment)
        elif wanted := [path for path in paths if self.files.matches(path)]:
            # A file that was moved away is often about to be written anew.
            moved_in = event.event_type == "moved" and paths[-1] in wanted
            self._post(wanted, False, moment, moved_in or event.event_type == "closed")

    def _post(self, paths: list[Path], directory: bool, moment: int, whole: bool = False) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the asyncio loop is closed: nobody wants to know
            self._loop.call_soon_threadsafe(self._hint, paths, directory, moment, whole)

    def _hint(self, paths: list[Path], directory: bool, moment: int, whole: bool) -> None:
        if directory:
            self._watch_directories()
            self._watched = {path for path in self._watched if path.is_dir()}
            self._touched.update(self.files)
            self._touched.update(self._digests)
        self._touched.update(paths)
        self._first = self._first or moment
        if self._timer is not None:
            self._timer.cancel()
        assert self._loop is not None
        enough = ALONE_SECONDS if len(self._touched) == 1 else WRITTEN_SECONDS
        self._timer = self._loop.call_later(
            min(self._debounce, enough) if whole else self._debounce, self._flush
        )

    def _flush(self) -> None:
        first, touched = self._first, self._touched
        self._first, self._touched, self._timer = None, set(), None
        assert first is not None
        changed = sorted(path for path in touched if self._changed(path))
        if changed:
            self._on_saved(Saved(tuple(changed), first))

    def _changed(self, path: Path) -> bool:
        if not self.files.matches(path):
            return False
        before, now = self._digests.get(path, b""), _digest(path)
        if now:
            self._digests[path] = now
        else:
            self._digests.pop(path, None)
        return before != now


class _Handler(FileSystemEventHandler):
    def __init__(self, watcher: SourceWatcher) -> None:
        self._watcher = watcher

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._watcher._event(event)


def _digest(path: Path) -> bytes:
    """Of the content; empty when there is no such file."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    except OSError:
        return b""


def _roots(directory: Path, globs: Sequence[str]) -> tuple[Path, ...]:
    """The existing directories below which the globs can match; none inside another."""
    found: set[Path] = set()
    for glob in globs:
        root = directory
        for part in glob.lstrip("!/").split("/")[:-1]:
            if any(sign in part for sign in "*?[") or not (root / part).is_dir():
                break
            root = root / part
        if "/" not in glob.strip("/"):
            root = directory  # as in .gitignore, a name without a slash matches at any depth
        found.add(root)
    return tuple(sorted(root for root in found if not any(other in root.parents for other in found)))


def _ignore_lines(directory: Path) -> list[str]:
    """What is never watched, and the directory's own .gitignore."""
    lines = list(NEVER_WATCHED)
    path = directory / ".gitignore"
    if path.is_file():
        lines += path.read_text(errors="replace").splitlines()
    return lines
