"""What an edit changed is said in the words of who made it."""

from __future__ import annotations

from workbench.views.since import RunFacts, changes

NO_DEVICE = ("cuInit", "CUDA_ERROR_NO_DEVICE")


def test_nothing_is_said_where_nothing_changed() -> None:
    facts = RunFacts(1, {"cuInit": 3}, {NO_DEVICE: 1}, "cpu")
    assert changes(facts, facts) == []


def test_the_way_out_of_the_fallback_is_told() -> None:
    before = RunFacts(1, {"cuInit": 3}, {NO_DEVICE: 3}, "cpu", {"ok": False}, {"probe": "failed"})
    after = RunFacts(
        2,
        {"cuInit": 1, "cuDeviceGetCount": 1},
        {},
        "gpu",
        {"ok": True, "tokens": 8},
        {"probe": "ok", "discovery": "ok", "tokens": "ok"},
    )
    assert changes(before, after) == [
        "GPU mode",
        "discovery reached (before: none)",
        "the exercise succeeds now",
        "cuDeviceGetCount called for the first time",
        "cuInit no longer fails with CUDA_ERROR_NO_DEVICE",
        "3 errors fewer",
    ]


def test_a_step_back_is_told_as_well() -> None:
    names = {f"cuF{number}": 1 for number in range(5)}
    before = RunFacts(1, {"cuInit": 1, **names}, {}, "gpu", {"ok": True, "tokens": 8})
    failed = {"ok": False, "error": "HTTP 500"}
    after = RunFacts(2, {"cuInit": 1}, {NO_DEVICE: 1}, "cpu", failed, ending="signal 11")
    assert changes(before, after) == [
        "CPU fallback",
        "the exercise fails: HTTP 500",
        "cuF0, cuF1, cuF2 and 2 more no longer called",
        "cuInit fails now: CUDA_ERROR_NO_DEVICE",
        "1 error more",
        "killed by signal 11",
    ]


def test_a_slower_first_token_is_told_and_a_wobble_is_not() -> None:
    def run(seconds: float) -> RunFacts:
        return RunFacts(1, exercise={"ok": True, "tokens": 8, "first_token_seconds": seconds})

    assert changes(run(0.2), run(0.21)) == []
    assert changes(run(0.2), run(0.5)) == ["first token after 0.50 s (before: 0.20 s)"]


def test_a_gpu_whose_loads_fail_is_said_in_words() -> None:
    before, after = RunFacts(1, {}, {}, "gpu"), RunFacts(2, {}, {}, "load-failed")
    assert changes(before, after) == ["a GPU is found, and loading the model fails"]
