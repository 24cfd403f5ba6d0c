"""What every room's tests share: where the native parts are, and small programs built from C."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from workbench import native

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def native_paths() -> native.NativePaths:
    """The build tree under test (SHIMBENCH_BUILD names another than build/)."""
    return native.paths()


@pytest.fixture(scope="session")
def target_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each tests/fixtures/targets/NAME.c as the program NAME."""
    folder = tmp_path_factory.mktemp("targets")
    for source in sorted((FIXTURES / "targets").glob("*.c")):
        options = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
        program = folder / source.stem
        subprocess.run(["cc", *options, "-o", str(program), str(source), "-ldl"], check=True)
    return folder
