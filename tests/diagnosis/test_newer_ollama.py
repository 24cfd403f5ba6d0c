"""An Ollama newer than the rules were checked with: said, and what rests on Ollama is less sure."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions.testing import SessionBuilder
from workbench.diagnosis import explain
from workbench.native import NativePaths

SKIPPING = (
    'time=t level=INFO source=llama_server.go:299 msg="skipping CUDA device — compute capability not in '
    'compiled architectures" device="A GPU" cc=700 archs="[750 800 860]"'
)


@pytest.mark.parametrize(
    ("version", "certainty"), [("0.33.2", "proved"), ("0.40.0", "likely"), (None, "proved")]
)
def test_what_rests_on_ollama_is_less_sure_under_one_the_rules_do_not_know(
    tmp_path: Path, native_paths: NativePaths, version: str | None, certainty: str
) -> None:
    builder = SessionBuilder(tmp_path / "session", native_paths.model.read_bytes())
    builder.event("run", run=1, command=["ollama", "serve"], libraries={})
    builder.event("target", version=version)
    server = builder.process(["/usr/bin/ollama", "serve"], run=1)
    builder.line(SKIPPING, process=server)
    found = explain(builder.open())
    (diagnosis,) = [each for each in found.diagnoses if each.rule == "capability-not-in-archs"]
    assert diagnosis.certainty == certainty
    sentence = "Ollama 0.40.0 not known, rules checked to 0.33"
    assert (sentence in found.notes) == (version == "0.40.0")
    assert (diagnosis.note == sentence) == (version == "0.40.0")
