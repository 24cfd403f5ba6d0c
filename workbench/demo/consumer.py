"""Real consumers of CUDA out of package registries, kept unpacked in a cache.

Only pip and npm are asked, for pinned versions whose contents are known by their hashes.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import ShimbenchError


class DownloadError(ShimbenchError):
    """A package could not be had, or is not what it was."""


@dataclass(frozen=True)
class Package(ABC):
    """A pinned package, and the folder inside it that holds the libraries."""

    name: str
    version: str
    digest: str
    """of the archive: hexadecimal sha256 for a wheel, base64 sha512 for npm"""
    folder: str

    @property
    def label(self) -> str:
        """What the cache calls it: a file name."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"

    @abstractmethod
    def download(self, directory: Path) -> Path:
        """Get the archive into `directory` by the registry's client; -> its path."""

    @abstractmethod
    def unpack(self, archive: Path, target: Path) -> None:
        """Put the files of `folder` into `target`, flat."""


@dataclass(frozen=True)
class Wheel(Package):
    """From PyPI, for its native libraries; the Python that runs us need not suit it."""

    def download(self, directory: Path) -> Path:
        wanted = directory / "wanted.txt"
        wanted.write_text(f"{self.name}=={self.version} --hash=sha256:{self.digest}\n")
        seen = sys.stderr.isatty()  # then pip's own progress bar is shown
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
        command += [] if seen else ["--quiet"]
        command += ["--no-deps", "--only-binary=:all:", "--python-version", "3.12", "--require-hashes"]
        _run([*command, "--dest", str(directory), "-r", str(wanted)], directory, seen)
        return next(directory.glob("*.whl"))

    def unpack(self, archive: Path, target: Path) -> None:
        with zipfile.ZipFile(archive) as wheel:
            for member in wheel.infolist():
                path = Path(member.filename)
                if path.parent == Path(self.folder) and not member.is_dir():
                    with wheel.open(member) as source, (target / path.name).open("wb") as copy:
                        shutil.copyfileobj(source, copy)


@dataclass(frozen=True)
class NpmPackage(Package):
    """From the npm registry."""

    def download(self, directory: Path) -> Path:
        _run(["npm", "pack", "--silent", f"{self.name}@{self.version}"], directory)
        archive = next(directory.glob("*.tgz"))
        with archive.open("rb") as file:
            digest = base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
        if digest != self.digest:
            raise DownloadError(f"{self.name}@{self.version} has sha512 {digest}, not {self.digest}")
        return archive

    def unpack(self, archive: Path, target: Path) -> None:
        with tarfile.open(archive) as package:
            for member in package:
                path = Path(member.name)
                source = package.extractfile(member) if path.parent == Path(self.folder) else None
                if source is not None:
                    with source, (target / path.name).open("wb") as copy:
                        shutil.copyfileobj(source, copy)


LLAMA_CUDA_12 = Wheel(
    "cyllama-cuda12",
    "0.7.0",
    "9591e5eea596a44a2a8a9546fc95515e52fadffc81bb8b50f1c6003df36689e5",
    "cyllama_cuda12.libs",
)
"""A whole llama.cpp b11669 (ggml 0.27.0) built for CUDA 12; 95 MB to download, 220 MB unpacked."""


def fetch(package: Package, cache: Path, say: Callable[[str], None] = lambda text: None) -> Path:
    """The folder below `cache` that holds the package's libraries, downloaded if it isn't there yet.

    Several processes may ask at once; one downloads. Raises DownloadError.
    """
    target = cache / package.label
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{package.label}.lock"):
        if not target.is_dir():
            say(f"downloading {package.name} {package.version}")
            with tempfile.TemporaryDirectory(dir=cache, prefix=f"{package.label}.") as scratch:
                partial = Path(scratch) / "unpacked"
                partial.mkdir()
                package.unpack(package.download(Path(scratch)), partial)
                if not any(partial.iterdir()):
                    raise DownloadError(f"{package.name} {package.version} has nothing in {package.folder}")
                partial.replace(target)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str], directory: Path, seen: bool = False) -> None:
    """Run a registry's client; with `seen` what it says stands on our stderr while it works."""
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdout=sys.stderr if seen else subprocess.PIPE,
            stderr=None if seen else subprocess.PIPE,
            text=True,
            check=False,
        )
    except OSError as error:
        raise DownloadError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        said = "" if seen else done.stderr.strip() or done.stdout.strip()
        last = said.splitlines()[-1] if said else "see above" if seen else "no output"
        raise DownloadError(f"`{' '.join(command[:4])} ...` failed ({done.returncode}): {last}")
