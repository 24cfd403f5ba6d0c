"""Sessions made by hand over the real API model, for the tests of views, filters and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from target_libraries import MODULES

from sessions.testing import SessionBuilder


@pytest.fixture
def builder(tmp_path: Path, model: dict[str, Any]) -> Iterator[SessionBuilder]:
    """An empty session with one process, whose libraries are MODULES."""
    made = SessionBuilder(tmp_path / "session", model)
    made.event("run", run=1, reason="start", command=["target"], shim="/shim/libcuda.so.1", ours=False)
    made.process(["/opt/bin/target", "--flag"], pid=4121, run=1, modules=MODULES)
    yield made
    made.finish()


@pytest.fixture(scope="session")
def identify(model: dict[str, Any]) -> Callable[[str], int]:
    """The number of a function by its name."""
    numbers = {row["name"]: row["id"] for row in model["functions"]}
    return numbers.__getitem__
