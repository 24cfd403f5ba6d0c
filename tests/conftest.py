"""What every room's tests share: where the native parts are, and small programs built from C."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.patience import wait_until
from workbench import native, trouble

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(autouse=True)
def own_errors_end_what_they_are_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workbench keeps an error of its own and goes on: here it must not."""
    monkeypatch.setattr(trouble, "raised", True)


@pytest.fixture(scope="session")
def native_paths() -> native.NativePaths:
    """The build tree under test (SHIMBENCH_BUILD names another than build/)."""
    return native.paths()


@pytest.fixture(scope="session")
def model(native_paths: native.NativePaths) -> dict[str, Any]:
    """The built API model."""
    parsed: dict[str, Any] = json.loads(native_paths.model.read_bytes())
    return parsed


@pytest.fixture(scope="session")
def target_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each tests/fixtures/targets/NAME.c as the program NAME."""
    folder = tmp_path_factory.mktemp("targets")
    for source in sorted((FIXTURES / "targets").glob("*.c")):
        options = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
        program = folder / source.stem
        subprocess.run(["cc", *options, "-o", str(program), str(source), "-ldl"], check=True)
    return folder


@pytest.fixture
def start_shim_host(
    native_paths: native.NativePaths, tmp_path: Path
) -> Iterator[Callable[..., dict[str, str]]]:
    """Start shimbench-host with the options given; what our shim's environment must then say."""
    hosts: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> dict[str, str]:
        path = tmp_path / f"shim-host-{len(hosts)}.sock"
        with (tmp_path / f"shim-host-{len(hosts)}.log").open("wb") as log:
            hosts.append(subprocess.Popen([native_paths.host, "--socket", path, *options], stderr=log))
        wait_until(lambda: path.exists() or hosts[-1].poll() is not None, "shimbench-host listens")
        assert hosts[-1].poll() is None, "shimbench-host ended"
        return {"SHIMBENCH_HOST": f"unix:{path}"}

    yield start
    for host in hosts:
        host.terminate()
        host.wait()


@pytest.fixture
def shim_host(start_shim_host: Callable[..., dict[str, str]]) -> dict[str, str]:
    """A shimbench-host with its defaults: the environment by which our shim finds it."""
    return start_shim_host()
