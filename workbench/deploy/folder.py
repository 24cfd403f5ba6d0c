"""What is done to a folder of libraries, so that it can be taken back exactly.

    DIR/libvgpu-cuda.so                   a copy of what the build made, and
    DIR/libcuda.so.1 -> libvgpu-cuda.so   the names by which it is asked for
    DIR/.shimbench-deploy/manifest.json   for each name what we put there, and what was there before
    DIR/.shimbench-deploy/backup/NAME     what was there before, the file itself

Every name changes by one rename, so a process that has the old file mapped goes on with it, and an
interruption leaves each name either as it was or as it will be. The manifest is written before the first
change; which of the two states a name is in is seen from the name itself, never from a counter.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from workbench.config import DRIVER_SONAMES, plain_name
from workbench.deploy.elf import NotALibraryError, read_library
from workbench.errors import ShimbenchError, UsageError

OWN = ".shimbench-deploy"
NEW = ".shimbench-new-"
FORMAT = 1

Kind = Literal["absent", "file", "link", "other"]


class DeployError(ShimbenchError):
    """The folder can't be changed as asked; nothing was lost."""


@dataclass(frozen=True)
class Content:
    """What stands under a name."""

    kind: Kind
    digest: str = ""
    """sha256, of a file"""
    target: str = ""
    """of a link"""

    def __str__(self) -> str:
        return {"absent": "nothing", "file": "a file", "link": f"a link to {self.target}"}.get(
            self.kind, "no file and no link"
        )


@dataclass(frozen=True)
class Entry:
    """One name in the folder."""

    name: str
    after: Content
    before: Content
    source: str = ""
    """the file that `after` is a copy of"""
    previous: Content | None = None
    """what an earlier deployment put there, until this one has replaced it"""
    retired: bool = False
    """of an earlier deployment and not of this one: to be put back as it was"""

    def ours(self, now: Content) -> bool:
        """Is what stands there of our making?"""
        return now != self.before and now in (self.after, self.previous)


@dataclass(frozen=True)
class Plan:
    """What a deployment will change, in this order."""

    folder: Path
    entries: tuple[Entry, ...]
    """all that the manifest will hold, whether it changes now or is so already"""
    kept: tuple[str, ...] = ()
    """names that are already as they should be without our doing"""
    made: tuple[str, ...] = ()
    """folders that are made on the way, the outermost first"""
    leftover: bool = False
    """an earlier deployment was interrupted"""

    def changes(self) -> Iterator[tuple[str, Entry]]:
        """(what is done, to what) for each name that changes."""
        for entry in self.entries:
            now = look(self.folder / entry.name)
            wanted = entry.before if entry.retired else entry.after
            if now == wanted:
                continue
            if wanted.kind == "absent":
                yield "remove", entry
            elif entry.retired:
                yield "restore", entry
            elif entry.before.kind == "absent":
                yield "add", entry
            else:
                yield "replace", entry


@dataclass(frozen=True)
class Undone:
    """What taking a deployment back came to."""

    restored: tuple[str, ...]
    foreign: tuple[str, ...]
    """names somebody else has changed since; left alone, their backups kept"""


def look(path: Path) -> Content:
    """What stands under a name now."""
    if path.is_symlink():
        return Content("link", target=str(path.readlink()))
    if path.is_file():
        with path.open("rb") as stream:
            return Content("file", hashlib.file_digest(stream, "sha256").hexdigest())
    return Content("other" if path.exists() else "absent")


def make_plan(folder: Path, libraries: Mapping[str, Path]) -> Plan:
    """What putting `libraries` (soname -> built file) into `folder` takes. Changes nothing.

    Raises DeployError when a library is missing or none, when something is in the way, or when
    somebody else has changed what an earlier deployment put there.
    """
    if folder.exists() and not folder.is_dir():
        raise DeployError(f"{folder} is not a folder")
    earlier, leftover, made = _read_manifest(folder)
    wanted = _wanted(libraries)
    entries, kept = [], []
    for name, (after, source) in wanted.items():
        now, old = look(folder / name), earlier.pop(name, None)
        if now.kind == "other":
            raise DeployError(f"{folder / name} is no file: move it away")
        if old is None and now == after:
            kept.append(name)
            continue
        if old is not None and now != old.before and not old.ours(now):
            raise DeployError(_foreign(folder / name, now))
        if old is None:
            entries.append(Entry(name, after, now, source))
        else:
            entries.append(Entry(name, after, old.before, source, now if old.ours(now) else None))
    for old in earlier.values():
        now = look(folder / old.name)
        if now != old.before and not old.ours(now):
            raise DeployError(_foreign(folder / old.name, now))
        entries.append(replace(old, retired=True))
    missing = [str(path) for path in (folder, *folder.parents) if not path.exists()]
    return Plan(folder, tuple(entries), tuple(kept), (*made, *reversed(missing)), leftover)


def _wanted(libraries: Mapping[str, Path]) -> dict[str, tuple[Content, str]]:
    """name -> (what shall stand there, the file it is a copy of): files first, then the links to them."""
    files: dict[str, tuple[Content, str]] = {}
    links: dict[str, tuple[Content, str]] = {}
    for soname, path in libraries.items():
        try:
            read_library(path)
        except FileNotFoundError:
            raise DeployError(f"there is no {path}: shimbench build") from None
        except NotALibraryError as error:
            raise DeployError(f"{error}: shimbench build") from error
        name = path.resolve().name
        if (name in files and files[name][1] != str(path.resolve())) or (
            name in libraries and name != soname
        ):
            name = soname
        files[name] = look(path.resolve()), str(path.resolve())
        if name != soname:
            links[soname] = Content("link", target=name), ""
        plain = plain_name(soname)
        if soname in DRIVER_SONAMES and plain not in (name, *libraries):
            links[plain] = Content("link", target=soname), ""
    return {**files, **{name: link for name, link in links.items() if name not in files}}


def _foreign(path: Path, now: Content) -> str:
    return (
        f"{path} was changed by somebody else since shimbench put it there (now {now}): "
        "move it away, then deploy or undo again"
    )


def apply(plan: Plan, on_step: Callable[[str, Entry], None] = lambda what, entry: None) -> None:
    """Carry a plan out. `on_step` hears of each change before it is made. Raises DeployError."""
    folder = plan.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if not plan.entries and not (folder / OWN).exists():
                return
            (folder / OWN / "backup").mkdir(parents=True, exist_ok=True)
            _clear_leftovers(folder)
            _write_manifest(folder, "placing", plan.entries, plan.made)
            for what, entry in plan.changes():
                on_step(what, entry)
                if entry.retired:
                    _put_back(folder, entry)
                else:
                    _place(folder, entry)
            stay = tuple(replace(entry, previous=None) for entry in plan.entries if not entry.retired)
            for entry in plan.entries:
                if entry.retired:
                    _backup(folder, entry.name).unlink(missing_ok=True)
            _write_manifest(folder, "deployed", stay, plan.made)
            if not stay:
                _remove_own(folder)
    except OSError as error:
        raise DeployError(
            f"{error.filename or folder}: {error.strerror}. What was changed so far is taken back by "
            f"`shimbench deploy --to {folder} --undo`"
        ) from error


def pending(folder: Path) -> list[tuple[str, str]]:
    """(name, what undo will do to it), for each name that is not as it was; raises as undo() does."""
    entries, _, _ = _read_manifest(folder)
    if not (folder / OWN).is_dir():
        raise UsageError(f"shimbench has deployed nothing to {folder}")
    found = []
    for entry in entries.values():
        now = look(folder / entry.name)
        if entry.ours(now):
            found.append((entry.name, "remove" if entry.before.kind == "absent" else "restore"))
        elif now != entry.before:
            found.append((entry.name, "leave, not ours"))
    return found


def undo(folder: Path) -> Undone:
    """Take back what was deployed to `folder`, also what was interrupted. Raises UsageError, DeployError."""
    entries, _, made = _read_manifest(folder)
    if not (folder / OWN).is_dir():
        raise UsageError(f"shimbench has deployed nothing to {folder}")
    restored, foreign = [], []
    try:
        with _locked(folder):
            _clear_leftovers(folder)
            _write_manifest(folder, "undoing", tuple(entries.values()), made)
            for entry in reversed(entries.values()):
                now = look(folder / entry.name)
                if entry.ours(now):
                    _put_back(folder, entry)
                    restored.append(entry.name)
                elif now == entry.before:
                    _backup(folder, entry.name).unlink(missing_ok=True)
                else:
                    foreign.append(entry.name)
            left = tuple(entry for entry in entries.values() if entry.name in foreign)
            if left:
                _write_manifest(folder, "undoing", left, made)
            else:
                _remove_own(folder)
    except OSError as error:
        raise DeployError(f"{error.filename or folder}: {error.strerror}; --undo may be run again") from error
    if not foreign:
        for name in reversed(made):
            with contextlib.suppress(OSError):  # somebody put something else there: it stays
                Path(name).rmdir()
    return Undone(tuple(reversed(restored)), tuple(reversed(foreign)))


def _place(folder: Path, entry: Entry) -> None:
    path, backup, new = folder / entry.name, _backup(folder, entry.name), folder / (NEW + entry.name)
    now = look(path)
    if now == entry.before and now.kind != "absent":
        backup.unlink(missing_ok=True)
        _link_or_copy(path, backup)
    elif now != entry.before and not entry.ours(now):
        raise DeployError(_foreign(path, now))
    if entry.after.kind == "link":
        new.symlink_to(entry.after.target)
    else:
        _copy(Path(entry.source), new)
        if look(new) != entry.after:
            new.unlink()
            raise DeployError(f"{entry.source} changes while it is copied: wait for the build, then again")
    new.rename(path)
    _sync(folder)


def _put_back(folder: Path, entry: Entry) -> None:
    path, backup = folder / entry.name, _backup(folder, entry.name)
    if entry.before.kind == "absent":
        path.unlink(missing_ok=True)
    elif look(backup) == entry.before:
        backup.rename(path)
    else:
        raise DeployError(f"{backup} is gone or was changed: {path} can't be put back as it was")
    _sync(folder)


def _link_or_copy(path: Path, backup: Path) -> None:
    """Keep the very file where links are possible, so that its owner and times come back with it."""
    try:
        os.link(path, backup, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, backup, follow_symlinks=False)


def _copy(source: Path, new: Path) -> None:
    shutil.copyfile(source, new)
    new.chmod(0o755)  # the user that runs the target has to be able to read it
    with new.open("rb") as stream:
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _backup(folder: Path, name: str) -> Path:
    return folder / OWN / "backup" / name


def _clear_leftovers(folder: Path) -> None:
    for path in folder.glob(f"{NEW}*"):
        path.unlink()


def _remove_own(folder: Path) -> None:
    """An interruption may have left any part of it. A backup that is still needed is never removed."""
    with contextlib.suppress(FileNotFoundError):
        (folder / OWN / "backup").rmdir()
    for name in ("manifest.new", "manifest.json"):
        (folder / OWN / name).unlink(missing_ok=True)
    (folder / OWN).rmdir()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeployError(f"another shimbench is at work on {folder}") from None
        yield
    finally:
        os.close(descriptor)


def _write_manifest(folder: Path, state: str, entries: tuple[Entry, ...], made: tuple[str, ...]) -> None:
    document = {
        "format": FORMAT,
        "state": state,
        "made": list(made),
        "entries": [asdict(entry) for entry in entries],
    }
    path = folder / OWN / "manifest.json"
    new = path.with_suffix(".new")
    with new.open("w") as stream:
        json.dump(document, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(path)
    _sync(folder / OWN)


def _read_manifest(folder: Path) -> tuple[dict[str, Entry], bool, tuple[str, ...]]:
    """-> entries by name, was it interrupted, which folders were made. Raises DeployError."""
    path = folder / OWN / "manifest.json"
    try:
        document = json.loads(path.read_text())
        if document["format"] != FORMAT:
            raise DeployError(
                f"{path} is of another shimbench (format {document['format']}): undo with that one"
            )
        entries = {item["name"]: _entry(item) for item in document["entries"]}
        return entries, document["state"] != "deployed", tuple(document["made"])
    except FileNotFoundError:
        return {}, False, ()
    except PermissionError as error:
        raise DeployError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        backup = folder / OWN / "backup"
        raise DeployError(f"{path} is damaged ({error}); what was replaced lies in {backup}") from error


def _entry(item: dict[str, Any]) -> Entry:
    if "/" in item["name"] or item["name"] in ("", ".", ".."):
        raise ValueError(f"{item['name']!r} is no name")
    after, before = Content(**item["after"]), Content(**item["before"])
    previous = Content(**item["previous"]) if item["previous"] else None
    return Entry(item["name"], after, before, item["source"], previous, item["retired"])
