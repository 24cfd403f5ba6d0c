"""The folder of one run: stamped taps, the libraries beside them, and the environment that leads there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

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
) -> dict[str, str]:
    """Fills ``run_dir`` and returns what a target's environment gets: LD_LIBRARY_PATH and LD_PRELOAD, put
    before the values of ``inherited`` (the environment the target would have had).

    ``libraries`` maps sonames to absolute paths. What stands in ``TAPPED`` gets a tap, anything else a link.
    A shim that no loader would take is linked bare, so that it fails as it would. ``reports`` receives what
    each tap exports.
    """
    tap, lib = run_dir / "tap", run_dir / "lib"
    tap.mkdir(parents=True, exist_ok=True)
    lib.mkdir(exist_ok=True)
    for name in ("libshimbench-recorder.so", "libshimbench-preload.so"):
        shutil.copy2(native_paths.tap / name, tap / name)
    conf = [f"socket={socket}", f"tee={int(tee)}"]
    preload = [tap / "libshimbench-preload.so"]
    for soname, path in libraries.items():
        if soname in TAPPED and _place_tap(tap, native_paths.tap, soname, path, reports):
            conf.append(f"shim.{soname}={path}")
            continue
        link = (tap if soname in TAPPED else lib) / soname
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        if soname.startswith(PRELOADED):
            preload.append(link)
    (tap / "shimbench.conf").write_text("\n".join(conf) + "\n")
    inherited = inherited or {}
    return {
        "LD_LIBRARY_PATH": _joined([tap, lib], inherited.get("LD_LIBRARY_PATH")),
        "LD_PRELOAD": _joined(preload, inherited.get("LD_PRELOAD")),
    }


def make_bare_directory(
    run_dir: Path, libraries: Mapping[str, Path], inherited: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The same without any of ours (``--no-tap``): links to the libraries, and what leads to them."""
    lib = run_dir / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    preload = []
    for soname, path in libraries.items():
        link = lib / soname
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        if soname.startswith(PRELOADED):
            preload.append(link)
    inherited = inherited or {}
    environment = {"LD_LIBRARY_PATH": _joined([lib], inherited.get("LD_LIBRARY_PATH"))}
    if preload:
        environment["LD_PRELOAD"] = _joined(preload, inherited.get("LD_PRELOAD"))
    return environment


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
