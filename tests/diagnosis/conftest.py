"""Sessions made by hand over the real API model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessions.testing import SessionBuilder


@pytest.fixture
def builder(tmp_path: Path, model: dict[str, Any]) -> Iterator[SessionBuilder]:
    """A session with a run and one process, whose calls come from libcudart.so.13."""
    made = SessionBuilder(tmp_path / "session", model)
    made.event("run", run=1, reason="start", command=["target"], shim="/shim/libcuda.so.1", ours=False)
    made.process(["target"], pid=4121, run=1, modules=[("/opt/libcudart.so.13", 0x10000000, 0x10100000)])
    yield made
    made.finish()
