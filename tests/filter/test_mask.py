"""Filters over a session: which calls pass."""

from __future__ import annotations

import pytest

from sessions import Session
from workbench.filter import complete, parse


def passing(session: Session, text: str) -> list[int]:
    """Displayed numbers of the calls that pass."""
    mask = parse(text).mask(session, 0, len(session.calls))
    return [row + 1 for row in mask.nonzero()[0].tolist()]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("cuMem*", [2, 3]),
        ("cumem", [2, 3]),
        ("fn:cuInit", [1]),
        ("ok", [1, 3, 5, 7]),
        ("error", [2, 4, 6]),
        ("!ok", [2, 4, 6, 8]),
        ("unreturned", [8]),
        ("pid:100", [1, 2, 3]),
        ("process:llama*", [4, 5, 6, 7, 8]),
        ("run:2 nested", [7]),
        ("thread:101", [2, 3]),
        ("caller:libcudart", [1, 4, 5, 6, 7]),
        ("caller:libggml*", [2, 3]),
        ("dur:>1ms", [1]),
        ("dur:900ns-1100ns thread:101", [2, 3]),
        ("result:CUDA_ERROR_*", [2]),
        ("result:*NO_PERMISSION or result:3", [6]),
        ("result:NVML_ERROR_INVALID_ARGUMENT", []),
        ("lib:nvml", [6]),
        ("call:2-3", [2, 3]),
        ("call:>6", [7, 8]),
        ("arg:0x7f00", [3]),
        ("text:fancy", [5]),
        ('text:"not found"', [4]),
        ("text:4096 or text:fancy", [2, 5]),
        ("dlsym", [4]),
        ("(cuInit or cuDeviceGet*) and not pid:100", [5, 7]),
        ("cuInit|cuMem* !error", [1, 3]),
        ("not (ok or error)", [8]),
        ("nesting:1", [7]),
    ],
)
def test_which_calls_pass(session: Session, text: str, numbers: list[int]) -> None:
    assert passing(session, text) == numbers


def test_a_part_of_a_session_gives_the_same_answers(session: Session) -> None:
    call_filter = parse("cuMem* or text:fancy")
    whole = call_filter.mask(session, 0, len(session.calls)).tolist()
    parts = [call_filter.mask(session, row, row + 1).tolist()[0] for row in range(len(session.calls))]
    assert parts == whole


def test_completion_knows_the_session_s_own_names(session: Session) -> None:
    assert [c.text for c in complete("pid:", 4, session)] == ["100", "200"]
    assert [c.text for c in complete("caller:cudart", 13, session)] == ["libcudart.so.13"]
    assert complete("cuInit", 6, session)[0].text == "cuInit"
    found = [c.text for c in complete("result:CUDA_ERROR_NOT", 21, session)]
    assert "CUDA_ERROR_NOT_SUPPORTED" in found
