"""The folder of one run: stamped taps, the libraries beside them, and the environment that leads there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from workbench.config import plain_name
from workbench.tap.stamp import NotLoadableError, StampReport, stamp

#: Libraries that a tap stands in front of.
TAPPED = ("libcuda.so.1", "libnvidia-ml.so.1")

#: What a consumer's own folder may hold a copy of, which its RUNPATH finds first: given by LD_PRELOAD.
PRELOADED = ("libcudart.so", "libcublasLt.so", "libcublas.so")


class NativePaths(Protocol):
    """The part of workbench.native.NativePaths needed here: the folder of the tap's templates."""

    @property
    def tap(self) -> Path: ...


def make_run_directory(
    run_dir: Path,
    native_paths: NativePaths,
    libraries: Mapping[str, Path],
    socket: Path,
    tee: bool = True,
    inherited: Mapping[str, str] | None = None,
    reports: dict[str, StampReport] | None = None,
    preload_too: Collection[str] = (),
    originals: Mapping[Path, str] | None = None,
) -> dict[str, str]:
    """Fills ``run_dir`` and returns what a target's environment gets: LD_LIBRARY_PATH and LD_PRELOAD, put
    before the values of ``inherited`` (the environment the target would have had). What LD_PRELOAD there
    names of ``libraries`` is replaced by ours, one for one.

    ``libraries`` maps sonames to absolute paths. What stands in ``TAPPED`` gets a tap, anything else a link.
    A shim that no loader would take is linked bare, so that it fails as it would. ``reports`` receives what
    each tap exports. ``preload_too``: sonames to be given by LD_PRELOAD beside the path.
    ``originals``: files that are one of ``libraries`` under another name, resolved, with its soname.
    """
    tap, lib = run_dir / "tap", run_dir / "lib"
    tap.mkdir(parents=True, exist_ok=True)
    lib.mkdir(exist_ok=True)
    for name in ("libshimbench-recorder.so", "libshimbench-preload.so"):
        shutil.copy2(native_paths.tap / name, tap / name)
    conf = [f"socket={socket}", f"tee={int(tee)}", *_name_of(socket)]
    preload = [tap / "libshimbench-preload.so"]
    preload += [_folder(name, tap, lib) / name for name in libraries if name in preload_too]
    for soname, path in libraries.items():
        if soname in TAPPED and _place_tap(tap, native_paths.tap, soname, path, reports):
            conf.append(f"shim.{soname}={path}")
            continue
        link = _folder(soname, tap, lib) / soname
        _link(link, path)
        if soname.startswith(PRELOADED) and link not in preload:
            preload.append(link)
    _link_plain_names(tap, libraries)
    (tap / "shimbench.conf").write_text("\n".join(conf) + "\n")
    inherited = inherited or {}
    return {
        "LD_LIBRARY_PATH": _joined([tap, lib], inherited.get("LD_LIBRARY_PATH")),
        "LD_PRELOAD": _preloads(
            preload, inherited, {name: _folder(name, tap, lib) / name for name in libraries}, originals or {}
        ),
    }


def make_bare_directory(
    run_dir: Path,
    libraries: Mapping[str, Path],
    inherited: Mapping[str, str] | None = None,
    preload_too: Collection[str] = (),
    originals: Mapping[Path, str] | None = None,
) -> dict[str, str]:
    """The same without any of ours (``--no-tap``): links to the libraries, and what leads to them."""
    lib = run_dir / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    preload = []
    for soname, path in libraries.items():
        link = lib / soname
        _link(link, path)
        if soname.startswith(PRELOADED) or soname in preload_too:
            preload.append(link)
    _link_plain_names(lib, libraries)
    inherited = inherited or {}
    environment = {"LD_LIBRARY_PATH": _joined([lib], inherited.get("LD_LIBRARY_PATH"))}
    if preload or inherited.get("LD_PRELOAD"):
        environment["LD_PRELOAD"] = _preloads(
            preload, inherited, {name: lib / name for name in libraries}, originals or {}
        )
    return environment


def _name_of(socket: Path) -> list[str]:
    """By which who can't reach the socket's file finds it as well; the collector makes the same name."""
    try:
        file = socket.stat()
    except OSError:
        return []
    return [f"name=shimbench-{file.st_dev:x}-{file.st_ino}"]


def _link(link: Path, target: Path | str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _link_plain_names(folder: Path, libraries: Collection[str]) -> None:
    for soname in TAPPED:
        if soname in libraries and plain_name(soname) not in libraries:
            _link(folder / plain_name(soname), soname)


def _place_tap(
    folder: Path, templates: Path, soname: str, shim: Path, reports: dict[str, StampReport] | None
) -> bool:
    try:
        report = stamp(templates / soname, shim, folder / soname)
    except (NotLoadableError, OSError):
        return False
    if reports is not None:
        reports[soname] = report
    return True


def _joined(paths: list[Path], inherited: str | None) -> str:
    return ":".join([*map(str, paths), *([inherited] if inherited else [])])


def _folder(soname: str, tap: Path, lib: Path) -> Path:
    return tap if soname in TAPPED else lib


def _preloads(
    ours: list[Path],
    inherited: Mapping[str, str],
    provided: Mapping[str, Path],
    originals: Mapping[Path, str],
) -> str:
    """Ours, then what was preloaded anyway, where each library that we give in its stead is replaced."""
    words = [str(path) for path in ours]
    for entry in re.split(r"[:\s]+", inherited.get("LD_PRELOAD", "")):
        if not entry:
            continue
        path = Path(entry)
        instead = provided.get(originals.get(path.resolve()) or _soname(path))
        word = entry if instead is None else str(instead)
        if word not in words:
            words.append(word)
    return ":".join(words)


def _soname(path: Path) -> str:
    """What a library calls itself; its file's name when it can't be read."""
    try:
        with path.open("rb") as stream:
            for section in ELFFile(stream).iter_sections():
                if isinstance(section, DynamicSection):
                    for tag in section.iter_tags("DT_SONAME"):
                        return str(vars(tag)["soname"])
    except (OSError, ELFError):
        pass
    return path.name
