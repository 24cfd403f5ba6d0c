"""Targets and shims for the tap's tests, compiled once, and a run under the test's own collector."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tap_bench import Bench, Compiler
from tap_registry import Record, Registry

from workbench.native import NativePaths


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    """The compiler of this folder's sources."""
    return Compiler(tmp_path_factory.mktemp("tap-native"))


@pytest.fixture(scope="session")
def shim(compiler: Compiler) -> Path:
    """The fake driver, whole."""
    return compiler.shim("fakeshim.c")


@pytest.fixture(scope="session")
def target(compiler: Compiler) -> str:
    """The program that calls it."""
    return str(compiler.program("target.c"))


@pytest.fixture
def bench(tmp_path: Path, native_paths: NativePaths) -> Iterator[Bench]:
    """A run directory and a registry of its own."""
    registry = Registry(tmp_path / "s")
    yield Bench(tmp_path, native_paths, registry)
    registry.close()


@pytest.fixture(scope="session")
def names(native_paths: NativePaths) -> Callable[[Record], str]:
    """A record's function by name; those that are no call of the model by their number in hex."""
    model = json.loads(native_paths.model.read_text())
    by_id = {function["id"]: function["name"] for function in model["functions"]}
    return lambda record: by_id.get(record.function, hex(record.function))


@pytest.fixture(scope="session", params=[("cuda_runtime", "libcudart.so.12"), ("cu13", "libcudart.so.13")])
def cudart(request: pytest.FixtureRequest) -> str:
    """NVIDIA's own runtime, of both majors, from the packages that the headers come from."""
    folder, name = request.param
    package = importlib.util.find_spec("nvidia")
    assert package is not None and package.submodule_search_locations
    for location in package.submodule_search_locations:
        path = Path(location) / folder / "lib" / name
        if path.exists():
            return str(path)
    raise FileNotFoundError(f"{name}: the environment holds what requirements.lock names")
