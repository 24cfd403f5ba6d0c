"""Breakpoints in the filter language: what the tap can check is taken, what it can't is refused with why."""

from __future__ import annotations

import json

import pytest

from sessions import Schema
from workbench.filter import BreakKind, BreakRow, FilterError, compile_breakpoint


def _function(number: int, name: str, library: str, result: str) -> dict[str, object]:
    return {"id": number, "name": name, "library": library, "result": result, "params": []}


SCHEMA = Schema.from_json(
    json.dumps(
        {
            "functions": [
                _function(1, "cuMemFree", "cuda", "CUresult"),
                _function(2, "cuMemFreeHost", "cuda", "CUresult"),
                _function(3, "cuInit", "cuda", "CUresult"),
                _function(4, "nvmlErrorString", "nvml", "const char *"),
                _function(5, "nvmlInit_v2", "nvml", "nvmlReturn_t"),
            ],
            "enums": {
                "CUresult": {"CUDA_SUCCESS": 0, "CUDA_ERROR_INVALID_VALUE": 1, "CUDA_ERROR_OUT_OF_MEMORY": 2},
                "nvmlReturn_t": {"NVML_SUCCESS": 0, "NVML_ERROR_UNKNOWN": 999},
            },
        }
    ).encode(),
    "test",
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("cuInit", [BreakRow(3, BreakKind.CALL)]),
        ("cuMemFree", [BreakRow(1, BreakKind.CALL)]),
        ("cuMemFree*", [BreakRow(1, BreakKind.CALL), BreakRow(2, BreakKind.CALL)]),
        ("cuMem* !fn:*Host @3", [BreakRow(1, BreakKind.CALL, nth=3)]),
        ("cuInit !ok", [BreakRow(3, BreakKind.ERROR)]),
        ("not error and cuInit", [BreakRow(3, BreakKind.OK)]),
        ("lib:nvml error", [BreakRow(5, BreakKind.ERROR)]),
        ("cuInit result:CUDA_ERROR_OUT_OF_MEMORY", [BreakRow(3, BreakKind.RESULT, 2)]),
        ("cuInit !result:CUDA_SUCCESS@2", [BreakRow(3, BreakKind.NOT_RESULT, 0, 2)]),
        ("cuInit result:CUDA_ERROR_*", [BreakRow(3, BreakKind.ERROR)]),
        ("cuInit result:2", [BreakRow(3, BreakKind.RESULT, 2)]),
    ],
)
def test_a_condition_becomes_a_row_for_each_function(text: str, rows: list[BreakRow]) -> None:
    assert list(compile_breakpoint(text, SCHEMA).rows) == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cuInit dur:>1ms", "can't ask for dur:"),
        ("cuInit or cuMemFree", "one condition"),
        ("cuWibble", "no function"),
        ("error", "which function"),
        ("cuInit nested", "can't ask for nested"),
        ("cuInit result:CUDA_ERROR_WIBBLE", "none of these functions returns that"),
        ("cuInit result:*A*", "several results"),
        ("nvmlErrorString error", "none of these functions"),
        ("cuInit wat:1", "there is no term wat:"),
        ("cuInit @0", "from 1"),
        ("", "which function"),
    ],
)
def test_what_a_stopping_call_can_not_know_is_refused(text: str, words: str) -> None:
    with pytest.raises(FilterError, match=words):
        compile_breakpoint(text, SCHEMA)
