"""A real llama.cpp's decoding, recorded with buffers: performed again without it, with the same outcome."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sessions import open_session
from sessions.replay import processes_with_calls
from tests.real.conftest import Consumer, Recorder
from workbench import native
from workbench.replay.compare import first_divergence
from workbench.replay.perform import Performance, Wish, perform
from workbench.replay.stage import Stage, stage_of


@pytest.fixture
def session(recorder: Recorder, llama: Consumer, tiny_model: Path, native_paths: native.NativePaths) -> Path:
    """Four tokens of the tiny model, on our shim and the software GPU."""
    command = llama.command(native_paths, "--model", tiny_model, "--tokens", 4)
    recorded = recorder.run(command, buffers=True, environment=llama.environment)
    assert recorded.status == 0
    return recorded.session_path


def wish_for(path: Path) -> Wish:
    session = open_session(path)
    return Wish(session, tuple(processes_with_calls(session)), patience=120)


def performed(wish: Wish, stage: Stage, scratch: Path) -> Performance:
    (done,) = perform(wish, stage, scratch).performances
    return done


def test_a_model_run_replays_with_equal_results_and_logits(session: Path, tmp_path: Path) -> None:
    wish = wish_for(session)
    done = performed(wish, stage_of(tmp_path), tmp_path)
    assert done.verdict.same, done.verdict.differences[:3]
    assert done.verdict.performed == len(done.plan.rows) > 2000
    assert (
        done.verdict.outputs == 5 and done.verdict.outputs_missing == 0
    )  # the prompt's logits, four tokens'
    assert not done.plan.missing and done.plan.guessed == 0 and done.results.unknown == 0
    reasons = {why.partition(",")[0] for why, count in done.plan.left_out.items() if count}
    assert reasons == {"through a private export table", "a lookup or the loading of a library"}


def test_a_device_that_performs_no_kernel_differs_after_the_first_launch(
    session: Path, tmp_path: Path
) -> None:
    wish = wish_for(session)
    found = first_divergence(
        wish, stage_of(tmp_path, device="count-only"), stage_of(tmp_path, device="soft"), tmp_path
    )
    assert found is not None and found.kernel
    calls = wish.session.calls
    launch = wish.session.schema.function_id("cuLaunchKernel")
    functions = calls.columns(0, len(calls), ["function"])["function"]
    assert found.call - 1 == int((functions == launch).argmax())


def test_a_shim_of_another_make_is_held_against_the_recording(
    session: Path, foreign_shim: Callable[..., Path], tmp_path: Path
) -> None:
    wish = wish_for(session)
    done = performed(wish, stage_of(foreign_shim()), tmp_path)
    assert not done.verdict.same
    assert done.verdict.differences[0].a is not None
