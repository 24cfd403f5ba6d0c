"""Each operation of real ggml on the software GPU against ggml's own CPU backend, within ggml's tolerances.

A selection by default; SHIMBENCH_OPS=all compares the whole matrix of tests/real/ggml_ops.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.real.conftest import Consumer
from tests.real.ggml_ops.__main__ import GROUPS
from workbench.native import NativePaths

DEVICES = [
    ("llama_13", "8.0"),
    ("llama_13", "7.5"),
    ("llama_13", "9.0"),
    ("llama_12", "8.0"),
    ("llama_12", "7.5"),
]
"""consumers and what they take a device for: npm's has kernels for 7.5, 8.0 and 9.0, cyllama's for 7.5"""


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(("consumer", "capability"), DEVICES)
def test_operations_give_what_the_cpu_backend_gives(
    request: pytest.FixtureRequest,
    native_paths: NativePaths,
    start_shim_host: Callable[..., dict[str, str]],
    consumer: str,
    capability: str,
    group: str,
) -> None:
    llama: Consumer = request.getfixturevalue(consumer)
    host = start_shim_host("--device", "soft", "--compute-capability", capability)
    everything = ["--all"] if os.environ.get("SHIMBENCH_OPS") == "all" else []
    command = [sys.executable, "-m", "tests.real.ggml_ops", "--libs", str(llama.libraries), "--group", group]
    done = subprocess.run(
        [*command, "--json", *everything],
        env={**os.environ, **llama.under_shim(native_paths), **host},
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.stdout, f"it ended with {done.returncode}:\n{done.stderr[-3000:]}"
    cases = json.loads(done.stdout)["cases"]
    unsupported = [case for case in cases if case["error"] is None]
    print(*(f"{case['case']}: {case['text']}" for case in unsupported), sep="\n")
    assert [case for case in cases if case["failed"]] == []
    assert len(unsupported) < len(cases) / 2
    assert all(case["text"].startswith("CUDA does not") for case in unsupported)
