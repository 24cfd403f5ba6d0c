"""A plan made of a session that says anything: calls are left out with a reason, and nothing else happens."""

from __future__ import annotations

import json
import struct
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sessions import SessionError
from sessions.blobs import Item
from sessions.buffers import Buffer, BufferState
from sessions.format import ItemKind
from sessions.replay import make_plan
from sessions.testing import SessionBuilder
from workbench.native import NativePaths

FUNCTIONS = (
    "cuMemcpyHtoD_v2", "cuLaunchKernel", "cuLaunchKernelEx", "cuModuleLoadData", "cuMemAlloc_v2",
    "cuMemcpyDtoH_v2",
    "cuLibraryLoadData", "cuMemcpy2D_v2", "cuGetProcAddress_v2", "cuStreamBeginCapture_v2", "cuMemHostAlloc",
    "cuMemHostRegister_v2", "cuGraphAddKernelNode_v2", "cuModuleGetGlobal_v2", "cuDeviceGetName",
)  # fmt: skip

words = st.integers(0, (1 << 64) - 1) | st.integers(0, 5000)
buffers = st.builds(
    lambda argument, number, length, state, output: Buffer(argument, number, length, state, output).item(),
    st.integers(0, 11), st.integers(0, 3), words, st.sampled_from(BufferState), st.booleans(),
)  # fmt: skip
items = st.builds(
    lambda kind, index, data, more: Item(kind, index, data, len(data) + more),
    st.sampled_from([kind for kind in ItemKind if kind not in (ItemKind.END, ItemKind.BUFFER)]),
    st.integers(0, 12), st.binary(max_size=200), st.integers(0, 1 << 20),
)  # fmt: skip
arguments = st.lists(words, min_size=9, max_size=9).map(
    lambda values: Item(ItemKind.ARGS, 3, struct.pack("<9Q", *values), 72)
)
calls = st.lists(
    st.tuples(
        st.sampled_from(FUNCTIONS),
        st.tuples(words, words, words),
        st.lists(items | buffers | arguments, max_size=5),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@cache
def model(path: Path) -> dict[str, Any]:
    """model.json, of those functions alone: it is written with every example."""
    whole: dict[str, Any] = json.loads(path.read_text())
    whole["functions"] = [function for function in whole["functions"] if function["name"] in FUNCTIONS]
    return whole | {"enums": {}, "ladders": {}, "absence": {}, "tables": {}}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=calls)
@example(  # a buffer that the session does not hold
    calls=[
        ("cuMemcpyHtoD_v2", (0, 0, 0), []),
        ("cuMemcpy2D_v2", (1, 0, 0), [
            Item(ItemKind.ARGS, 0, b"", 0), Buffer(0, 1, 0, BufferState.KEPT, False).item(),
        ]),
    ]
)  # fmt: skip
def test_whatever_a_session_says_a_plan_is_made_or_refused(
    calls: list[tuple[str, tuple[int, int, int], list[Item]]],
    tmp_path_factory: pytest.TempPathFactory,
    native_paths: NativePaths,
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    with SessionBuilder(folder / "s", model(native_paths.model)) as builder:
        process = builder.process(["target"])
        for name, head, given_items in calls:
            builder.call(name, process=process, args=head, items=given_items)
        session = builder.open()
    try:
        plan = make_plan(session, process, folder / "plan")
    except SessionError as error:
        assert "no call to perform again" in str(error)
        return
    left_out = sum(plan.left_out.values())
    assert len(plan.rows) + left_out == len(calls)
    assert (folder / "plan").stat().st_size >= 72
