"""What calls did not do though they succeeded, and where the time of a start went."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from steps import SECOND, call, number, only

from sessions.part import Part
from sessions.testing import SessionBuilder, out_item
from workbench.diagnosis import diagnose, explain
from workbench.diagnosis.waits import KERNELS, WaitTimes

NOT_REFRESHED = 'level=WARN source=sched.go msg="unable to refresh free memory, using old values"'


def decode(builder: SessionBuilder, wait_ns: int, tokens: int = 5) -> None:
    """Tokens of twenty kernels each, and a wait for them of that length."""
    at = SECOND
    for _ in range(tokens):
        for _ in range(20):
            call(builder, "cuLaunchKernel", args=(1,), time=at, duration=60)
            at += 500
        call(builder, "cuMemcpyDtoHAsync_v2", args=(1, 2, 64, 0), time=at, duration=80)
        call(builder, "cuStreamSynchronize", args=(0,), time=at + 300, duration=wait_ns)
        at += wait_ns + 100_000


def test_waits_that_end_before_any_device_could_have_computed_give_idle_kernels_away(
    builder: SessionBuilder,
) -> None:
    decode(builder, 60)
    found = only(builder)
    assert (found.rule, found.certainty) == ("success-without-effect", "likely")
    assert "5 of 5 waits" in found.evidence[0].text


@pytest.mark.parametrize("wait_ns", [1_500, 20_000, 1_000_000])
def test_waits_of_a_device_that_computes_say_nothing(builder: SessionBuilder, wait_ns: int) -> None:
    decode(builder, wait_ns)
    assert diagnose(builder.open()) == []


def test_a_wait_long_after_the_launches_may_be_short(builder: SessionBuilder) -> None:
    for token in range(9):
        for kernel in range(20):
            call(builder, "cuLaunchKernel", args=(1,), time=token * SECOND + kernel * 500, duration=60)
        call(builder, "cuStreamSynchronize", args=(0,), time=token * SECOND + SECOND // 2, duration=60)
    assert diagnose(builder.open()) == []


def test_a_kernel_of_ours_that_wrote_nothing_proves_it_and_one_that_computed_clears_it(
    builder: SessionBuilder,
) -> None:
    decode(builder, 60)
    builder.event("kernel-probe", run=1, outcome="nothing", text="a kernel of ours ... wrote nothing")
    found = only(builder)
    assert (found.rule, found.certainty) == ("success-without-effect", "proved")
    builder.event(
        "kernel-probe", run=1, outcome="computed", text="a kernel of ours computed 64 numbers right"
    )
    assert diagnose(builder.open()) == []


def test_a_kernel_of_ours_that_could_not_be_tried_says_nothing(builder: SessionBuilder) -> None:
    call(builder, "cuInit", args=(0,))
    builder.event("kernel-probe", run=1, outcome="failed", text="cuLibraryLoadData returned 801")
    assert diagnose(builder.open()) == []


def test_tokens_that_are_not_the_cpus_are_possibly_of_kernels_that_compute_something_else(
    builder: SessionBuilder,
) -> None:
    decode(builder, 1_000_000)
    text = "token 3 differs from the CPU backend's"
    builder.event("exercise", run=1, ok=True, same=False, expectation=text)
    found = only(builder)
    assert (found.rule, found.certainty) == ("success-without-effect", "possible")
    assert [piece.text for piece in found.evidence] == [text]


def test_a_discovery_that_failed_for_a_reason_nobody_knows_is_shown_as_it_was_printed(
    builder: SessionBuilder,
) -> None:
    server = builder.process(["ollama", "serve"])
    text = 'level=INFO msg="failure during llama-server GPU discovery" error="llama-server: exit status 127"'
    builder.line(text, process=server)
    found = explain(builder.open())
    assert found.diagnoses == []
    assert [piece.text for piece in found.unexplained] == [f"log 1: {text}"]


class Columns:
    """Calls of one process, all successful: (function, time, duration)."""

    def __init__(self, rows: list[tuple[int, int, int]]) -> None:
        self._columns = {
            "function": np.array([row[0] for row in rows], np.uint16),
            "time": np.array([row[1] for row in rows], np.int64),
            "duration": np.array([row[2] for row in rows], np.uint64),
            "process": np.zeros(len(rows), np.uint16),
            "result": np.zeros(len(rows), np.int64),
        }

    def columns(self, start: int, stop: int, names: tuple[str, ...]) -> dict[str, np.ndarray[Any, Any]]:
        return {name: self._columns[name][start:stop] for name in names}

    def part(self, start: int, stop: int) -> Part:
        return Part(self, start, stop)  # type: ignore[arg-type]


steps = st.lists(
    st.tuples(st.sampled_from([1, 2, 3, 4]), st.integers(0, 2_000), st.integers(0, 4_000)), max_size=60
)


@given(steps, st.integers(1, 59))
def test_waits_are_counted_alike_in_however_many_batches_they_come(
    made: list[tuple[int, int, int]], cut: int
) -> None:
    at, rows = 0, []
    for kind, took, pause in made:
        rows.append((kind, at, took))
        at += took + pause
    calls = Columns(rows)
    kinds = np.arange(8, dtype=np.int8)
    whole, parts = WaitTimes(kinds), WaitTimes(kinds)
    whole.take(calls.part(0, len(rows)))
    for start, stop in ((0, min(cut, len(rows))), (min(cut, len(rows)), len(rows))):
        parts.take(calls.part(start, stop))
    assert parts.all() == whole.all()
    for waited in whole.all().values():
        assert waited.prompt <= waited.waits <= sum(row[0] == 3 for row in rows)
        assert waited.launches < KERNELS * (len(rows) + 1)


def test_a_load_made_slow_by_many_short_calls_names_their_function(builder: SessionBuilder) -> None:
    server = builder.process(["ollama", "serve"])
    environment = {"CUDA_VISIBLE_DEVICES": "0"}
    process = builder.process(["llama-server", "--list-devices"], env=environment, parent=server, time=SECOND)
    for place in range(300):
        call(
            builder,
            "cuGetProcAddress_v2",
            process=process,
            time=2 * SECOND + place * 5_000_000,
            duration=5_000_000,
        )
    call(builder, "cuInit", process=process, args=(0,), time=4 * SECOND, duration=200_000_000)
    fields = {"lived_seconds": 1.0, "cpu_seconds": 0.1, "queued_seconds": 0.05}
    builder.event("pace", run=1, process=process, **fields)
    builder.line(NOT_REFRESHED, process=process)
    found = only(builder)
    assert (found.rule, found.certainty) == ("slow-load", "proved")
    assert "cuGetProcAddress_v2 took 1.5 s of it in 300 calls; cuInit took 0.2 s" in found.cause
    assert "before its first call 1.0 s" in found.cause and "in no call 0.5 s" in found.cause
    assert "slept 0.8 s: it waits" in found.cause


def test_what_a_model_spends_after_its_first_kernel_is_no_slow_start(builder: SessionBuilder) -> None:
    call(builder, "cuInit", args=(0,), time=SECOND, duration=SECOND)
    call(builder, "cuLaunchKernel", args=(1,), time=3 * SECOND)
    for place in range(100):
        call(
            builder,
            "cuMemAlloc_v2",
            args=(1, 1),
            time=(4 + place) * SECOND,
            duration=90_000_000,
            items=[out_item(0, b"\1" * 8)],
        )
    assert diagnose(builder.open()) == []


def test_cpu_mode_follows_from_a_device_that_is_dropped(builder: SessionBuilder) -> None:
    number(builder, "cuDeviceGetCount", 1)
    number(builder, "cuDeviceTotalMem_v2", 0, size=8)
    builder.line('msg="inference compute" id=cpu library=cpu compute="" name=cpu')
    found = diagnose(builder.open())
    assert [(each.rule, each.consequence_of) for each in found] == [
        ("no-memory", None),
        ("cpu-mode", "no-memory"),
    ]


def test_one_symbol_that_several_processes_lack_is_told_once(builder: SessionBuilder) -> None:
    wants = "load_backend: failed to load /lib/libggml-cuda.so: undefined symbol: cuMemCreate"
    for stamp in ("0.00.077.951 E ", "0.00.011.010 E ", ""):
        process = builder.process(["llama-server"])
        builder.line(stamp + wants, process=process)
    found = only(builder)
    assert (found.rule, found.processes) == ("link-time-symbol-missing", 3)
