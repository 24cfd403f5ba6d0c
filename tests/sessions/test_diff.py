"""Two runs compared: what differs is found where it first differs, what can't be compared is not."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions import Item, ItemKind, Pseudo, Session, SessionError
from sessions.diff import compare
from sessions.diff.align import align
from sessions.testing import SessionBuilder, out_item, resolved_item, string_item

Program = Callable[[SessionBuilder, int], None]


@pytest.fixture
def record(tmp_path: Path, model: dict[str, Any]) -> Callable[[str, Program], Session]:
    def write(name: str, program: Program) -> Session:
        with SessionBuilder(tmp_path / name, model) as builder:
            builder.process(["/opt/bin/llama-server", "--model", f"/tmp/{name}.gguf"])
            program(builder, 0)
            builder.exit(0)
        return Session(tmp_path / name)

    return write


def allocate(builder: SessionBuilder, address: int, size: int = 4096, result: int = 0) -> None:
    builder.call(
        "cuMemAlloc_v2",
        args=(0x7FFE0000 + address, size),
        result=result,
        items=[out_item(0, struct.pack("<Q", address))],
    )


def count_devices(builder: SessionBuilder, count: int) -> None:
    builder.call("cuDeviceGetCount", args=(0x1000,), items=[out_item(0, struct.pack("<i", count))])


@given(st.lists(st.integers(0, 5), max_size=60), st.lists(st.integers(0, 5), max_size=60))
def test_blocks_cover_both_sequences_and_are_equal_where_they_say_so(a: list[int], b: list[int]) -> None:
    at = bt = 0
    for block in align(np.array(a, np.int64), np.array(b, np.int64)):
        assert (block.a, block.b) == (at, bt)
        assert (block.a_end, block.b_end) > (at, bt) and block.a_end >= at and block.b_end >= bt
        if block.same:
            assert a[at : block.a_end] == b[bt : block.b_end] != []
        at, bt = block.a_end, block.b_end
    assert (at, bt) == (len(a), len(b))


@given(st.lists(st.integers(0, 30), min_size=20, max_size=300), st.data())
def test_calls_left_out_of_a_long_sequence_are_what_is_missing(keys: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(keys) - 1))
    stop = data.draw(st.integers(start + 1, min(start + 40, len(keys))))
    shorter = keys[:start] + keys[stop:]
    blocks = list(align(np.array(keys, np.int64), np.array(shorter, np.int64)))
    same = sum(block.a_end - block.a for block in blocks if block.same)
    extra = sum(block.b_end - block.b for block in blocks if not block.same)
    assert same >= len(shorter) - extra and same + extra == len(shorter)
    if len(set(keys)) == len(keys):
        assert same == len(shorter)


def test_runs_that_differ_in_addresses_and_times_alone_are_the_same(
    record: Callable[[str, Program], Session],
) -> None:
    def program(offset: int) -> Program:
        def calls(builder: SessionBuilder, _: int) -> None:
            builder.call("cuInit", args=(0,), duration=1000 + offset)
            allocate(builder, 0x10000 + offset)
            builder.call("cuEventElapsedTime", args=(1,), items=[out_item(0, struct.pack("<f", offset))])

        return calls

    found = compare(record("a", program(0)), record("b", program(512)))
    assert found.same and found.divergences == []
    assert {row.function for row in found.durations} >= {"cuInit", "cuMemAlloc_v2"}


def test_the_first_divergence_comes_first_with_its_calls(record: Callable[[str, Program], Session]) -> None:
    def good(builder: SessionBuilder, _: int) -> None:
        builder.call("cuInit", args=(0,))
        count_devices(builder, 1)
        allocate(builder, 0x100)
        builder.call("cuCtxSynchronize")

    def bad(builder: SessionBuilder, _: int) -> None:
        builder.call("cuInit", args=(0,))
        count_devices(builder, 0)
        allocate(builder, 0x200, result=2)

    found = compare(record("a", good), record("b", bad))
    assert [(d.kind, d.a, d.b) for d in found.divergences] == [
        ("other output", 1, 1),
        ("other result", 2, 2),
        ("missing call", 3, None),
    ]
    assert found.divergences[0].detail == "*count: 1, now 0"
    assert found.divergences[1].detail == "CUDA_SUCCESS, now CUDA_ERROR_OUT_OF_MEMORY"


def test_arguments_that_are_numbers_are_compared(record: Callable[[str, Program], Session]) -> None:
    found = compare(
        record("a", lambda builder, _: allocate(builder, 1, size=4096)),
        record("b", lambda builder, _: allocate(builder, 2, size=8192)),
    )
    assert [(d.kind, d.detail) for d in found.divergences] == [("other argument", "bytesize: 4096, now 8192")]
    again = compare(found.a.session, found.b.session, ignored=("cuMemAlloc*.bytesize",))
    assert again.same


def test_bytes_between_the_members_of_a_struct_are_not_compared(
    record: Callable[[str, Program], Session], model: dict[str, Any]
) -> None:
    def updated(padding: int, outcome: int = 0) -> Program:
        data = struct.pack("<iIQQ", outcome, padding, 0x1000 + padding, 0x2000)
        return lambda builder, _: (
            builder.call("cuGraphExecUpdate_v2", args=(1, 2, 3), items=[out_item(2, data)]) and None
        )

    assert compare(record("a", updated(0x55A0)), record("b", updated(0x560E))).same
    assert not compare(record("c", updated(0)), record("d", updated(0, 1))).same


def test_the_same_difference_again_and_again_is_said_once(record: Callable[[str, Program], Session]) -> None:
    def counting(count: int) -> Program:
        return lambda builder, _: [count_devices(builder, count) for _ in range(50)] and None

    found = compare(record("a", counting(1)), record("b", counting(2)))
    assert [divergence.repeats for divergence in found.divergences] == [50]
    assert found.counts == {"other output": 50}


def test_names_newly_asked_for_are_told(record: Callable[[str, Program], Session]) -> None:
    def asking(*names: str) -> Program:
        def calls(builder: SessionBuilder, _: int) -> None:
            for name in names:
                builder.call("cuGetProcAddress_v2", args=(1, 2, 12090), items=[string_item(0, name)])

        return calls

    found = compare(record("a", asking("cuInit", "cuMemAlloc")), record("b", asking("cuInit", "cuGraphNew")))
    assert found.asked_only == (["cuMemAlloc"], ["cuGraphNew"])
    assert [divergence.kind for divergence in found.divergences] == ["missing call", "extra call"]


def test_slots_of_export_tables_newly_called_are_told(record: Callable[[str, Program], Session]) -> None:
    table = bytes.fromhex("d4082055bde66d4b8d34ba123c66e1f2")

    def calling(*slots: int) -> Program:
        def calls(builder: SessionBuilder, _: int) -> None:
            for slot in slots:
                item = Item(ItemKind.TABLE, 0, table, 16)
                builder.call(int(Pseudo.TABLE_SLOT), args=(slot, 1), items=[item])

        return calls

    found = compare(record("a", calling(1, 3)), record("b", calling(1, 3, 7)))
    assert found.asked_only == ([], ["slot d4082055[7]"])


def test_names_that_get_no_answer_any_more_are_told(record: Callable[[str, Program], Session]) -> None:
    def asking(address: int) -> Program:
        def calls(builder: SessionBuilder, _: int) -> None:
            for name, found in (("cuInit", 0x7F0000001000), ("cuMemAlloc", address)):
                items = [string_item(0, name), resolved_item(1 if found else 0, found)]
                builder.call("cuGetProcAddress_v2", args=(1, 2, 12090), items=items)

        return calls

    found = compare(record("a", asking(0x7F0000002000)), record("b", asking(0)))
    assert found.missing_only == ([], ["cuMemAlloc"]) and found.asked_only == ([], [])


def test_processes_are_paired_by_what_they_do(tmp_path: Path, model: dict[str, Any]) -> None:
    def tree(name: str, roles: Sequence[str]) -> Session:
        with SessionBuilder(tmp_path / name, model) as builder:
            for role in roles:
                index = builder.process([f"/{name}/llama-server", role, "--port", str(len(role) + len(name))])
                builder.call("cuInit", args=(0,), process=index)
        return Session(tmp_path / name)

    found = compare(
        tree("a", ["--list-devices", "--offline", "--model"]), tree("bb", ["--model", "--list-devices"])
    )
    assert [(d.kind, d.role) for d in found.divergences] == [
        ("missing process", "llama-server --offline --port")
    ]


def test_another_model_of_the_api_compares_by_name(tmp_path: Path, model: dict[str, Any]) -> None:
    newer = json.loads(json.dumps(model))
    newer["functions"].insert(0, {"id": 0xE000, "name": "cuBrandNew", "params": []})
    for row in newer["functions"][1:]:
        row["id"] += 7
    sessions = []
    for name, schema in (("a", model), ("b", newer)):
        with SessionBuilder(tmp_path / name, schema) as builder:
            builder.process()
            builder.call("cuInit", args=(0,))
            count_devices(builder, 1)
        sessions.append(Session(tmp_path / name))
    assert compare(*sessions).same


def test_a_run_that_is_not_there_is_an_error(record: Callable[[str, Program], Session]) -> None:
    session = record("a", lambda builder, _: None)
    with pytest.raises(SessionError, match="there is no run 7"):
        compare(session, session, 1, 7)


def test_calls_of_a_goroutine_are_one_sequence_on_whatever_threads_it_was(
    record: Callable[[str, Program], Session],
) -> None:
    def on(*threads: int) -> Program:
        def calls(builder: SessionBuilder, _: int) -> None:
            names = ["cuInit", "cuDeviceGetAttribute", "cuDriverGetVersion", "cuCtxSynchronize"]
            for name, thread in zip(names, threads, strict=False):
                builder.call(name, thread=thread)

        return calls

    assert compare(record("a", on(7, 7, 7, 7)), record("b", on(7, 7, 9, 9))).same
    assert compare(record("c", on(7, 9, 7, 9)), record("d", on(7, 7, 9, 9))).same
    found = compare(record("e", on(7, 7, 7)), record("f", on(7, 9, 9, 9)))
    assert [(each.kind, each.b, each.calls) for each in found.divergences] == [("extra call", 3, 1)]


def test_threads_whose_calls_overlap_stay_threads(record: Callable[[str, Program], Session]) -> None:
    def program(second: int) -> Program:
        def calls(builder: SessionBuilder, _: int) -> None:
            for number in range(4):
                thread = 8 if number % 2 else second
                builder.call("cuInit", args=(0,), thread=thread, time=1000 * number, duration=1500)

        return calls

    found = compare(record("a", program(7)), record("b", program(8)))
    assert sorted(each.kind for each in found.divergences) == ["extra call", "missing thread"]


def test_threads_that_begin_in_another_order_are_paired_by_what_they_call(
    record: Callable[[str, Program], Session],
) -> None:
    def order(*names: str) -> Program:
        def calls(builder: SessionBuilder, _: int) -> None:
            for step in range(3):
                for number, name in enumerate(names):
                    began = 1000 * step + 100 * number
                    builder.call(name, thread=10 + number, time=began, duration=2000)

        return calls

    a, b = order("cuInit", "cuCtxSynchronize"), order("cuCtxSynchronize", "cuInit")
    assert compare(record("a", a), record("b", b)).same


def test_processes_of_one_role_are_paired_by_their_words_and_calls_before_their_order(
    tmp_path: Path, model: dict[str, Any]
) -> None:
    def tree(name: str, *members: tuple[str, str]) -> Session:
        with SessionBuilder(tmp_path / name, model) as builder:
            for port, (library, function) in enumerate(members):
                words = ["/opt/server", "--lib-dir", f"/{name}/{library}", "--port", str(port)]
                builder.call(function, process=builder.process(words))
        return Session(tmp_path / name)

    a = tree("a", ("cuda_v12", "cuInit"), ("cuda_v13", "cuInit"), ("cuda_v13", "cuCtxSynchronize"))
    b = tree("b", ("cuda_v13", "cuCtxSynchronize"), ("cuda_v13", "cuInit"), ("cuda_v12", "cuInit"))
    assert compare(a, b).same
    found = compare(a, tree("c", ("cuda_v13", "cuCtxSynchronize"), ("cuda_v12", "cuInit")))
    assert [(each.kind, each.role) for each in found.divergences] == [
        ("missing process", "server --lib-dir --port #2")
    ]


def test_asking_whether_a_stream_is_ready_is_a_matter_of_time(
    record: Callable[[str, Program], Session],
) -> None:
    def polling(*results: int) -> Program:
        return lambda builder, _: (
            [builder.call("cuStreamQuery", args=(1,), result=r) for r in results] and None
        )

    assert compare(record("a", polling(600, 600, 0)), record("b", polling(0))).same
    assert not compare(record("c", polling(600, 0)), record("d", polling(600, 700))).same


def test_what_was_not_recorded_is_said_ahead_of_what_is_missing(
    record: Callable[[str, Program], Session], tmp_path: Path, model: dict[str, Any]
) -> None:
    with SessionBuilder(tmp_path / "torn", model) as builder:
        builder.process(["/opt/bin/llama-server"])
        builder.call("cuInit", args=(0,))
        builder.event("lost", process=0, why="ring", count=3)
        builder.abandon()
    whole = record("whole", lambda builder, _: builder.call("cuInit", args=(0,)) and None)
    found = compare(whole, Session(tmp_path / "torn"))
    assert found.a.gaps() == []
    assert found.b.gaps()[:2] == [
        "3 calls of pid 4000 were lost",
        "it was never finished: its writer was killed",
    ]
