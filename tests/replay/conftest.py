"""A program on the driver API, recorded under our own shim and the software GPU, and replays of that."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from sessions import Session, open_session
from tests.patience import PATIENCE_SECONDS
from workbench import cli
from workbench.native import NativePaths

HERE = Path(__file__).parent


@dataclass
class Desk:
    """Runs shimbench in a directory of its own."""

    folder: Path
    program: Path

    def shimbench(self, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """`shimbench WORDS ...` here, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "workbench.cli", *map(str, words)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(HERE.parent.parent), **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def record(
        self,
        *words: object,
        buffers: str | None = "64M",
        name: str = "recorded",
        options: tuple[str, ...] = (),
        **environment: str,
    ) -> Path:
        """The session of the program called with `words`."""
        path = self.folder / f"{name}.shimsession"
        asked = [*options, *([f"--buffers={buffers}"] if buffers else [])]
        command = ["run", "--session", path, *asked, "--timeout", 60, "--", self.program, *words]
        self.shimbench(*command, **environment)
        return path

    def here(self, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """The same in this process: most of what a replay takes is loading Python otherwise."""
        command, said, told = [*map(str, words)], io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, environment),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(told),
        ):
            try:
                status = cli.main(command)
            except SystemExit as usage:
                status = int(usage.code or 0)
        return subprocess.CompletedProcess(command, status, said.getvalue(), told.getvalue())

    def replay(self, session: Path, *options: object, **environment: str) -> tuple[int, dict[str, Any]]:
        """Exit status and the JSON object of a replay."""
        done = self.here("replay", session, "--json", *options, **environment)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/replay/native/program.c, compiled."""
    path = tmp_path_factory.mktemp("replay-program") / "program"
    options = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
    subprocess.run(["cc", *options, "-o", str(path), str(HERE / "native" / "program.c")], check=True)
    return path


@pytest.fixture
def desk(tmp_path: Path, program: Path) -> Desk:
    """Where a test records and replays."""
    return Desk(tmp_path, program)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, program: Path) -> Callable[..., Path]:
    """The session of a call of the program with these words, made once."""
    made: dict[tuple[object, ...], Path] = {}

    def session(*words: object) -> Path:
        if words not in made:
            made[words] = Desk(tmp_path_factory.mktemp("recorded"), program).record(*words)
        return made[words]

    return session


OtherShim = Callable[[int], Path]


@pytest.fixture(scope="session")
def other_shim(tmp_path_factory: pytest.TempPathFactory, native_paths: NativePaths) -> OtherShim:
    """tests/replay/native/otherwise.c with a fault, by its number; 0: with none."""
    made: dict[int, Path] = {}

    def library(fault: int) -> Path:
        if fault not in made:
            path = tmp_path_factory.mktemp(f"other{fault}") / "libcuda.so.1"
            options = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
            options += ["-fvisibility=hidden", f"-DFAULT={fault}", "-Wl,-soname,libcuda.so.1"]
            options.append(f'-DREAL="{native_paths.lib / "libcuda.so.1"}"')
            source = HERE / "native" / "otherwise.c"
            subprocess.run(["cc", *options, "-o", str(path), str(source), "-ldl"], check=True)
            made[fault] = path
        return made[fault]

    return library


def calls_of(session: Session, name: str) -> list[int]:
    """The rows of a function's calls."""
    number = session.schema.function_id(name)
    column = session.calls.columns(0, len(session.calls), ["function"])["function"]
    return [row for row, function in enumerate(column.tolist()) if function == number]


def opened(path: Path) -> Session:
    """The session at `path`."""
    return open_session(path)
