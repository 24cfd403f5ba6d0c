"""Two runs as lines side by side."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from sessions import Session, open_session
from sessions.diff import compare
from sessions.diff.beside import Beside
from sessions.testing import SessionBuilder, out_item

NAMES = ("cuInit", "cuDeviceGetCount", "cuMemAlloc_v2", "cuMemFree_v2", "cuStreamSynchronize")
COUNT = {"name": "count", "type": "int *", "kind": "pointer", "direction": "out", "pointee": "int",
         "pointee_kind": "int", "pointee_size": 4, "depth": 1}  # fmt: skip
MODEL = {"functions": [{"id": number, "name": name, "result": "CUresult",
                        "params": [COUNT] if name == "cuDeviceGetCount" else [{"name": "a"}]}
                       for number, name in enumerate(NAMES, 1)]}  # fmt: skip


def write(path: Path, calls: list[tuple[str, int, int]], role: str = "server") -> Session:
    """One run of (function, result, what it wrote)."""
    with SessionBuilder(path, MODEL) as builder:
        builder.process([role], run=1)
        for name, result, written in calls:
            items = [out_item(0, struct.pack("<i", written))] if name == "cuDeviceGetCount" else []
            builder.call(name, args=(0x1000,), result=result, items=items)
    return open_session(path)


@pytest.fixture
def beside(tmp_path: Path) -> Beside:
    """B lacks an allocation of A, frees more, and finds no device."""
    tail = [("cuStreamSynchronize", 0, 0)] * 8
    a = [("cuInit", 0, 0), ("cuDeviceGetCount", 0, 1), ("cuMemAlloc_v2", 0, 0), *tail]
    b = [("cuInit", 0, 0), ("cuDeviceGetCount", 0, 0), *tail[:-1], ("cuStreamSynchronize", 700, 0),
         ("cuMemFree_v2", 0, 0), ("cuMemFree_v2", 0, 0)]  # fmt: skip
    return Beside(compare(write(tmp_path / "a", a), write(tmp_path / "b", b)))


def test_every_call_of_both_runs_stands_in_one_line_beside_its_like(beside: Beside) -> None:
    lines = [beside.line(index) for index in range(len(beside))]
    assert [line.kind for line in lines[:2]] == ["process", "thread"]
    assert [line.a for line in lines if line.a is not None] == list(range(11))
    assert [line.b for line in lines if line.b is not None] == list(range(12))
    pairs = [(line.a, line.b) for line in lines if line.kind == "call"]
    assert pairs[:4] == [(0, 0), (1, 1), (2, None), (3, 2)]
    assert pairs[-2:] == [(None, 10), (None, 11)]


def test_the_lines_that_differ_are_known_and_say_in_what(beside: Beside) -> None:
    said = [beside.line(int(index)) for index in beside.differences]
    kinds = [line.divergence.kind if line.divergence else None for line in said]
    assert [(line.a, line.b) for line in said] == [(1, 1), (2, None), (10, 9), (None, 10)]
    assert kinds == ["other output", "missing call", "other result", "extra call"]
    assert all(line.differs for line in said)
    assert sum(beside.line(index).differs for index in range(len(beside))) == 5


def test_a_divergence_leads_to_its_line(beside: Beside) -> None:
    for divergence in beside.found.divergences:
        index = beside.index_of(divergence)
        assert index is not None
        line = beside.line(index)
        assert (line.a, line.b) == (divergence.a, divergence.b)


def test_a_process_of_one_side_alone_stands_alone(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [("cuInit", 0, 0)])
    b = write(tmp_path / "b", [("cuInit", 0, 0)], role="other")
    beside = Beside(compare(a, b))
    lines = [beside.line(index) for index in range(len(beside))]
    assert [(line.kind, line.a, line.b) for line in lines] == [
        ("process", None, None), ("thread", None, None), ("call", 0, None),
        ("process", None, None), ("thread", None, None), ("call", None, 0),
    ]  # fmt: skip
    assert "none" in lines[0].text and "none" in lines[3].text


def test_equal_runs_have_no_difference(tmp_path: Path) -> None:
    calls = [("cuInit", 0, 0), ("cuMemAlloc_v2", 0, 0)]
    beside = Beside(compare(write(tmp_path / "a", calls), write(tmp_path / "b", calls)))
    assert len(beside.differences) == 0 and len(beside) == 4
