"""What real servers of Ollama printed (excerpts of recordings of 0.33): the rules that read lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from steps import call

from sessions.format import Pseudo
from sessions.testing import SessionBuilder
from workbench.diagnosis import explain

RECORDINGS = Path(__file__).parent / "recordings"
EXPECTED = {
    "cc-7.0-not-in-archs": ["capability-not-in-archs"],
    "each-process-2s-slower": ["slow-load"],
    "each-process-12s-slower-gpu-lost": ["slow-load"],
    "no-libcuda": ["library-not-found"],
    "gpu-found-by-ld-preload": [],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_real_server_printed_is_understood(builder: SessionBuilder, name: str) -> None:
    call(builder, int(Pseudo.LOAD))
    for line in (RECORDINGS / f"ollama-0.33-{name}.log").read_bytes().splitlines():
        builder.line(line)
    builder.exit(0, signal=15)
    builder.event("run-end", run=1, exit_code=None, signal=15, reason="quit")
    found = explain(builder.open())
    assert [diagnosis.rule for diagnosis in found.diagnoses] == EXPECTED[name]
    assert found.unexplained == []
