"""Programs that use the shim's libraries: Python in a process of its own, with ctypes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from workbench import native

PRELUDE = """\
import ctypes, os
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p, create_string_buffer
cuda = ctypes.CDLL("libcuda.so.1")
"""


@pytest.fixture
def run_python(
    native_paths: native.NativePaths, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python with the shim's libraries in its search path; `cuda` is libcuda.so.1 there.

    Without `environment` no host is found.
    """

    def run(
        script: str,
        environment: Mapping[str, str] | None = None,
        before: str = "",
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(before) + textwrap.dedent(script)],
            env={
                **os.environ,
                "SHIMBENCH_HOST": f"unix:{tmp_path}/nobody.sock",
                "LD_LIBRARY_PATH": str(native_paths.lib),
                **(environment or {}),
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    return run


@pytest.fixture
def answers(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., list[str]]:
    """Run Python as `run_python` does and give the lines it printed; a failure is shown."""

    def ask(script: str, environment: Mapping[str, str] | None = None, before: str = "") -> list[str]:
        done = run_python(script, environment, before)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return ask
