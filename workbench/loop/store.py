"""The builds that ran are kept: content-addressed, with their sources.

Overwriting a library that a process has mapped kills the process, and Ollama loads libcuda in ten
processes over minutes. So a run never maps what the compiler writes: each good build is copied here
first. Files are kept once by content; a build is a directory of hard links to them.

    STORE/objects/4f/4f09...        every library, program and source, by its hash
    STORE/builds/<id>/lib/<soname>  what a run maps
    STORE/builds/<id>/bin/<name>    the forwarder
    STORE/builds/<id>/build.json    names, hashes and sources
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.loop.companions import with_companions

ID_LENGTH = 12


@dataclass(frozen=True)
class StoredBuild:
    """One build, as runs use it."""

    id: str
    path: Path
    libraries: Mapping[str, Path]
    """soname -> the copy"""
    host: Path | None
    sources: Mapping[str, str]
    """path relative to the directory -> hash of its content"""

    @property
    def lib(self) -> Path:
        return self.path / "lib"


class BuildStore:
    """Keeps builds below one directory; several shimbenches may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: dict[tuple[str, int, int, int], str] = {}

    def keep(
        self,
        libraries: Mapping[str, Path],
        host: Path | None = None,
        sources: Iterable[Path] = (),
        directory: Path | None = None,
    ) -> StoredBuild:
        """Copy a build in, with what its libraries bring along. `sources` lie below `directory`.

        Raises OSError when a file is missing.
        """
        everything = with_companions(libraries)
        kept = {soname: self._object(path) for soname, path in sorted(everything.items())}
        kept_host = (host.name, self._object(host)) if host else None
        base = directory or Path("/")
        kept_sources = self.digests(sources, base)
        described = {"libraries": kept, "host": kept_host, "sources": kept_sources}
        identity = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:ID_LENGTH]
        path = self.root / "builds" / identity
        if not path.is_dir():
            self._lay_out(path, identity, described)
        os.utime(path)
        return self.load(identity)

    def digests(self, sources: Iterable[Path], base: Path) -> dict[str, str]:
        """Keep sources; -> their hashes, by path below `base`, as StoredBuild.sources has them."""
        return {str(path.relative_to(base)): self._object(path) for path in sources if path.is_file()}

    def load(self, identity: str) -> StoredBuild:
        """A build kept earlier. Raises OSError when it is gone."""
        path = self.root / "builds" / identity
        described = json.loads((path / "build.json").read_text())
        host = described["host"]
        return StoredBuild(
            identity,
            path,
            {soname: path / "lib" / soname for soname in described["libraries"]},
            path / "bin" / host[0] if host else None,
            described["sources"],
        )

    def source(self, build: StoredBuild, name: str) -> str:
        """The text of one of a build's sources, as it was built."""
        return self.object_path(build.sources[name]).read_text(errors="replace")

    def prune(
        self,
        keep: int = 40,
        older_than: float = 86_400.0,
        needed: Callable[[], Collection[str]] = frozenset,
    ) -> list[str]:
        """Remove all but the `keep` newest builds, never one used within `older_than` seconds.

        `needed`, asked only when something would go, says which ids stay all the same. -> the ids removed.
        Objects nobody links to any more go as well.
        """
        builds = sorted(
            (self.root / "builds").glob("[!.]*"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        old = [path for path in builds[keep:] if time.time() - path.stat().st_mtime > older_than]
        if old:
            spared = needed()
            old = [path for path in old if path.name not in spared]
        for path in old:
            shutil.rmtree(path)
        if old:
            linked = {
                value
                for path in builds
                if path.is_dir()
                for value in json.loads((path / "build.json").read_text())["sources"].values()
            }
            for item in (self.root / "objects").glob("*/*"):
                if item.stat().st_nlink == 1 and item.name not in linked:
                    item.unlink()
        return [path.name for path in old]

    def object_path(self, digest: str) -> Path:
        """Where the file of that hash lies, or would."""
        return self.root / "objects" / digest[:2] / digest

    def _object(self, path: Path) -> str:
        """Keep one file's content; -> its hash. Read again only when size or time have changed."""
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns, status.st_ino)
        known = self._seen.get(key)
        if known and self.object_path(known).exists():
            return known
        content = path.read_bytes()
        executable = b"x" if status.st_mode & stat.S_IXUSR else b"-"
        digest = hashlib.sha256(executable + content).hexdigest()
        target = self.object_path(digest)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as stream:
                stream.write(content)
            Path(stream.name).chmod(0o555 if executable == b"x" else 0o444)
            Path(stream.name).rename(target)
        self._seen[key] = digest
        return digest

    def _lay_out(self, path: Path, identity: str, described: Mapping[str, object]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{identity}-", dir=path.parent))
        (making / "lib").mkdir()
        (making / "bin").mkdir()
        libraries, host = described["libraries"], described["host"]
        assert isinstance(libraries, dict)
        for soname, digest in libraries.items():
            os.link(self.object_path(digest), making / "lib" / soname)
        if isinstance(host, tuple):
            os.link(self.object_path(host[1]), making / "bin" / host[0])
        (making / "build.json").write_text(json.dumps(described, indent=1))
        making.chmod(0o755)
        try:
            making.rename(path)
        except OSError:  # somebody else kept the same build in the meantime
            shutil.rmtree(making)
