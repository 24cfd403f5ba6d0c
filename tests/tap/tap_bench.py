"""Compiling the tap's test programs, and running them with and without the tap."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tap_registry import Registry

from tests.patience import PATIENCE_SECONDS
from workbench.native import NativePaths
from workbench.tap.rundir import make_bare_directory, make_run_directory
from workbench.tap.stamp import StampReport

SOURCES = Path(__file__).parent / "native"


@dataclass
class Compiler:
    """Compiles the C sources of this folder, each variant once."""

    folder: Path
    made: dict[tuple[str, ...], Path] = field(default_factory=dict)

    def program(self, source: str, *options: str) -> Path:
        """An executable from one source."""
        return self._make(source, "", ["-pthread"], options)

    def shim(self, source: str, *options: str, soname: str = "libcuda.so.1") -> Path:
        """A shared object from one source."""
        return self._make(source, ".so", ["-shared", "-fPIC", f"-Wl,-soname,{soname}"], options)

    def _make(self, source: str, suffix: str, fixed: list[str], options: tuple[str, ...]) -> Path:
        key = (source, *fixed, *options)
        if key not in self.made:
            out = self.folder / f"{Path(source).stem}-{len(self.made)}{suffix}"
            command = ["cc", "-std=gnu11", "-O1", "-g", *fixed, str(SOURCES / source), "-o", str(out)]
            subprocess.run([*command, *options, "-ldl"], check=True)
            self.made[key] = out
        return self.made[key]


@dataclass
class Bench:
    """One test's run directory and registry."""

    folder: Path
    native: NativePaths
    registry: Registry
    reports: dict[str, StampReport] = field(default_factory=dict)

    def environment(self, libraries: dict[str, Path], tee: bool = False, **more: str) -> dict[str, str]:
        """The environment of a target under the tap; ``more`` is what the user's own holds besides."""
        inherited = {**os.environ, **more}
        added = make_run_directory(
            self.folder / "run", self.native, libraries, self.registry.path, tee, inherited, self.reports
        )
        return {**inherited, **added}

    def bare_environment(self, libraries: dict[str, Path], **more: str) -> dict[str, str]:
        """The same without the tap."""
        inherited = {**os.environ, **more}
        return {**inherited, **make_bare_directory(self.folder / "bare", libraries, inherited)}

    def run(
        self, libraries: dict[str, Path], command: list[str], **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command under the tap to its end."""
        return _run(command, self.environment(libraries, **more))

    def run_bare(
        self, libraries: dict[str, Path], command: list[str], **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command without the tap to its end."""
        return _run(command, self.bare_environment(libraries, **more))


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
