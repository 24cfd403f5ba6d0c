"""Recorded calls are performed again: on our shim with the same outcome, on others with theirs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.replay.conftest import Desk, OtherShim, calls_of, opened

PROGRAMS = [("saxpy", 3), ("wide",), ("pinned",), ("graph",), ("threads", 3), ("poll",)]


@pytest.mark.parametrize("words", PROGRAMS, ids=lambda words: words[0])
def test_a_recording_replays_as_it_was_recorded(
    desk: Desk, recorded: Callable[..., Path], words: tuple[object, ...]
) -> None:
    status, said = desk.replay(recorded(*words), "--expect", "recorded")
    assert (status, said["same"], said["counts"], said["missing"]) == (0, True, {}, {})
    assert said["performed"] == said["calls"] > 15 and said["outputs"] >= 1
    assert set(said["left_out"]) == {"a lookup or the loading of a library, which the player does by itself"}


@pytest.mark.parametrize("words", PROGRAMS, ids=lambda words: words[0])
def test_handles_and_addresses_of_another_shim_are_put_in_their_place(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim, words: tuple[object, ...]
) -> None:
    kept = desk.folder / "replayed"
    status, said = desk.replay(recorded(*words), "--library", other_shim(0), "--session-to", kept)
    assert (status, said["same"], said["skipped"]) == (0, True, 0), said["differences"]
    session, replayed = opened(recorded(*words)), opened(kept)
    alloc = calls_of(session, "cuMemAlloc_v2") + calls_of(session, "cuMemHostAlloc")
    again = calls_of(replayed, "cuMemAlloc_v2") + calls_of(replayed, "cuMemHostAlloc")
    for mine, other in zip(alloc, again, strict=True):
        assert session.calls.payload(mine)[-1].data != replayed.calls.payload(other)[-1].data


def test_a_wrong_output_is_named_with_its_call_and_its_place(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    status, said = desk.replay(recorded("pinned"), "--library", other_shim(1), "--expect", "recorded")
    assert (status, said["counts"]) == (3, {"other output": 1})
    (difference,) = said["differences"]
    assert difference["a"] == calls_of(opened(recorded("pinned")), "cuMemcpyDtoHAsync_v2")[1] + 1
    assert difference["detail"].startswith("*dstHost: 1 of 4096 bytes differ, first at 2048: ")


def test_a_crash_is_told_with_its_call(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    status, said = desk.replay(recorded("saxpy", 4), "--library", other_shim(2))
    third = calls_of(opened(recorded("saxpy", 4)), "cuLaunchKernel")[2] + 1
    assert (status, said["ended"]["signal"]) == (1, signal.SIGSEGV)
    assert [(one["kind"], one["a"]) for one in said["differences"]] == [("crashed", third)]
    assert said["not_reached"] > 0


def test_a_hang_ends_and_is_told_with_its_call(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    status, said = desk.replay(recorded("saxpy", 4), "--library", other_shim(3), "--timeout", 1)
    third = calls_of(opened(recorded("saxpy", 4)), "cuLaunchKernel")[2] + 1
    assert (status, said["ended"]["hung"]) == (1, True)
    assert [(one["kind"], one["a"]) for one in said["differences"]] == [("hung", third)]


def test_what_a_failed_call_was_to_make_is_not_made_up(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    status, said = desk.replay(recorded("saxpy", 4), "--library", other_shim(4))
    second = calls_of(opened(recorded("saxpy", 4)), "cuMemAlloc_v2")[1] + 1
    first = said["differences"][0]
    assert (status, first["kind"], first["a"]) == (1, "other result", second)
    assert first["detail"] == "CUDA_SUCCESS, now CUDA_ERROR_OUT_OF_MEMORY"
    # The copies to and from it, its launches, and its end: none is performed on memory that isn't there.
    assert said["skipped"] >= 6 and said["counts"] == {"other result": 1}


def test_a_recorded_crash_is_expected_to_come_again(desk: Desk) -> None:
    for words in ("crash", "wild"):
        session = desk.record(words, name=words)
        status, said = desk.replay(session, "--expect", "recorded")
        assert (status, said["same"], said["ended"]["signal"]) == (0, True, signal.SIGSEGV), words


def test_without_buffers_it_says_what_is_missing(desk: Desk) -> None:
    status, said = desk.replay(desk.record("saxpy", buffers=None))
    assert (status, said["outputs"]) == (0, 0)  # what is left has the same results; no output was recorded
    # Its image is missing, so it has no functions either, and nothing to launch.
    assert said["left_out"]["cuModuleGetFunction: it needs what a call had made that is left out"] == 2
    assert "cuLaunchKernel: it needs what a call had made that is left out" in said["left_out"]
    assert "cuModuleLoadData: a module's image was not recorded" in said["left_out"]
    assert said["missing"] == {"it was not recorded: `shimbench run --buffers` does": 2}


def test_until_ends_behind_that_call(desk: Desk, recorded: Callable[..., Path]) -> None:
    session = recorded("saxpy", 3)
    load = calls_of(opened(session), "cuModuleLoadData")[0] + 1
    status, said = desk.replay(session, "--until", load)
    assert (status, said["calls"], said["performed"]) == (0, 5, 5)


def test_usage_errors_have_status_2(desk: Desk, recorded: Callable[..., Path]) -> None:
    session = recorded("saxpy", 3)
    for words, text in (
        (("--process", 4000), "no such process"),
        (("--until", 0), "call number from 1"),
        (("--library", "nowhere.so"), "there is no such file"),
        (("--compare", "nothing"), "neither soft, count-only, driver, nor a directory, nor a library"),
    ):
        done = desk.here("replay", session, *words)
        assert done.returncode == 2 and text in done.stderr
    assert desk.here("replay", desk.folder / "none").returncode == 2


def test_a_library_that_does_not_load_is_no_difference_but_an_error(
    desk: Desk, recorded: Callable[..., Path]
) -> None:
    text = desk.folder / "libcuda.so.1"
    text.write_text("no library")
    done = desk.here("replay", recorded("saxpy", 3), "--library", text)
    assert done.returncode == 2 and "the replay could not begin" in done.stderr


def test_parameters_of_guessed_sizes_are_those_that_the_shim_tells_of(
    desk: Desk, other_shim: OtherShim, shim_host: dict[str, str]
) -> None:
    """That shim does not say how a kernel's parameters lie, ours does; what lies beside is no address."""
    driver = {**shim_host, "LD_LIBRARY_PATH": str(other_shim(9).parent)}
    session = desk.record("beside", options=("--driver",), **driver)
    done = desk.shimbench("replay", session, "--expect", "recorded")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 launches with parameters of guessed sizes" in done.stdout and "1 buffers" in done.stdout
    status, said = desk.replay(session, "--library", other_shim(9))
    assert (status, said["same"], said["outputs"]) == (0, True, 1)


def test_what_the_tap_asks_of_a_shim_is_no_lost_call(
    desk: Desk, other_shim: OtherShim, shim_host: dict[str, str]
) -> None:
    """That shim looks names up inside of the question for a kernel's parameters."""
    driver = {**shim_host, "LD_LIBRARY_PATH": str(other_shim(0).parent)}
    session = opened(desk.record("saxpy", options=("--driver",), **driver))
    assert session.lost == 0 and len(calls_of(session, "cuLaunchKernel")) == 2
