"""How far a run came, from its calls and from what the exercise brought."""

from __future__ import annotations

from sessions.testing import SessionBuilder
from workbench.views.stages import StageTracker

PROBE = ["python", "-I", "-S", "/shimbench/target/kernel_probe.py", "answer.json"]


def states(builder: SessionBuilder) -> dict[str, str]:
    tracker = StageTracker(builder.open())
    tracker.update()
    return {stage.name: stage.state for stage in tracker.stages([])}


def test_launches_bring_tokens_until_the_exercise_says_that_they_are_wrong(builder: SessionBuilder) -> None:
    for name in ("cuInit", "cuDeviceGetCount", "cuLibraryLoadData", "cuLaunchKernel"):
        builder.call(name)
    assert states(builder)["tokens"] == "ok"
    builder.event("rung", run=1, name="tokens", state="failed", text="token 1 is not the CPU backend's")
    assert (states(builder)["model"], states(builder)["tokens"]) == ("ok", "failed")
    builder.event("rung", run=1, name="tokens", state="ok", text="8 tokens")
    assert states(builder)["tokens"] == "ok"


def test_a_kernel_of_ours_is_no_stage_of_the_targets(builder: SessionBuilder) -> None:
    builder.call("cuDeviceGetCount")
    probe = builder.process(PROBE, run=1)
    for name in ("cuInit", "cuLibraryLoadData", "cuLaunchKernel"):
        builder.call(name, process=probe)
    reached = states(builder)
    assert (reached["device"], reached["model"], reached["tokens"]) == ("ok", "-", "-")
