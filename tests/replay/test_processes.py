"""A run of several processes is performed again process by process, and what each came to is told."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.replay.conftest import Desk, OtherShim, calls_of, opened


def test_each_process_of_a_run_is_performed_in_one_of_its_own(
    desk: Desk, recorded: Callable[..., Path]
) -> None:
    kept = desk.folder / "replayed"
    status, said = desk.replay(recorded("family"), "--expect", "recorded", "--session-to", kept)
    assert (status, said["same"], said["missing"]) == (0, True, {})
    assert [part["role"] for part in said["processes"]] == [
        "program saxpy",
        "program saxpy",
        "program calls",
    ]
    assert [part["performed"] for part in said["processes"]] == [part["calls"] for part in said["processes"]]
    assert said["calls"] == sum(part["calls"] for part in said["processes"]) and said["outputs"] == 2
    replayed = opened(kept)
    players = {replayed.calls.row(row).process for row in calls_of(replayed, "cuInit")}
    assert len(players) == 3


def test_one_process_is_chosen_by_its_pid_its_index_or_what_it_does(
    desk: Desk, recorded: Callable[..., Path]
) -> None:
    session = recorded("family")
    _, said = desk.replay(session)
    last = said["processes"][2]
    for word in (last["pid"], last["index"], "calls"):
        status, one = desk.replay(session, "--process", word)
        assert (status, [part["pid"] for part in one["processes"]]) == (0, [last["pid"]])
    _, both = desk.replay(session, "--process", "saxpy")
    assert [part["pid"] for part in both["processes"]] == [part["pid"] for part in said["processes"][:2]]
    done = desk.here("replay", session, "--process", "elsewhere")
    assert done.returncode == 2 and f"{last['pid']} program calls" in done.stderr


def test_a_crash_in_one_process_leaves_the_others_to_be_performed(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    session = recorded("family")
    status, said = desk.replay(session, "--library", other_shim(2))
    third = [row for row in calls_of(opened(session), "cuLaunchKernel")][4] + 1
    assert (status, [part["same"] for part in said["processes"]]) == (1, [True, False, True])
    assert [(one["kind"], one["pid"], one["a"]) for one in said["differences"]] == [
        ("crashed", said["processes"][1]["pid"], third)
    ]


def test_what_ended_a_process_is_shown_whatever_the_limit(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    done = desk.here("replay", recorded("saxpy", 4), "--library", other_shim(2), "--limit", 0)
    assert "~ crashed: signal 11" in done.stdout and "more (--limit)" not in done.stdout


def test_a_hang_is_the_end_of_a_replay(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    _, said = desk.replay(recorded("family"), "--library", other_shim(3), "--timeout", 1)
    assert said["counts"] == {"hung": 1, "not begun": 1}
    assert [part["same"] for part in said["processes"]] == [True, False, False]
    assert said["processes"][2]["not_reached"] == said["processes"][2]["calls"]


def test_a_shim_that_does_not_let_its_process_end_is_no_endless_replay(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    status, said = desk.replay(recorded("saxpy", 2), "--library", other_shim(12), "--timeout", 1)
    (one,) = said["differences"]
    assert (status, one["kind"], one["detail"]) == (1, "hung", "the process did not end in time")
    assert said["performed"] == said["calls"]


def test_the_process_that_fails_is_minimised_alone(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    session, small = recorded("family"), desk.folder / "small"
    _, said = desk.replay(session, "--library", other_shim(2), "--minimise", "-o", small)
    assert said["prefix"]["pid"] == said["processes"][1]["pid"]
    assert said["prefix"]["calls"] < said["processes"][1]["calls"]
    status, again = desk.replay(small, "--library", other_shim(2))
    assert (status, again["calls"], len(again["processes"])) == (1, said["prefix"]["calls"], 1)
    assert [one["kind"] for one in again["differences"]] == ["crashed"]


def test_compare_names_the_process_in_which_devices_part(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    session = recorded("family")
    status, said = desk.replay(session, "--library", other_shim(5), "--compare", "soft")
    third = calls_of(opened(session), "cuLaunchKernel")[4]
    pid = opened(session).processes[opened(session).calls.row(third).process].pid
    assert (status, said["divergence"]["call"], said["divergence"]["pid"]) == (1, third + 1, pid)
    assert said["divergence"]["memory"]["bytes"] == 4000


def test_what_the_child_of_a_fork_called_is_performed_by_itself(
    desk: Desk, recorded: Callable[..., Path]
) -> None:
    status, said = desk.replay(recorded("forked"), "--expect", "recorded")
    assert (status, [part["calls"] for part in said["processes"]][1]) == (0, 2)


@pytest.mark.parametrize("fault", [6, 7])
def test_a_shim_that_ends_the_process_is_told_from_one_that_performs(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim, fault: int
) -> None:
    session = recorded("saxpy", 4)
    status, said = desk.replay(session, "--library", other_shim(fault), "--expect", "recorded")
    (one,) = said["differences"]
    if fault == 6:
        third = calls_of(opened(session), "cuLaunchKernel")[2] + 1
        expected = ("crashed", third, "the process ended itself in it, status 6")
    else:
        expected = ("other end", None, "the process ended itself with status 5")
    assert (status, (one["kind"], one["a"], one["detail"])) == (3, expected)


def test_a_stream_that_is_ready_later_is_no_difference(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    status, said = desk.replay(recorded("poll"), "--library", other_shim(8), "--expect", "recorded")
    assert (status, said["counts"], said["outputs"]) == (0, {}, 1)


def test_strict_refuses_what_lacks_inputs_and_lists_them(desk: Desk, recorded: Callable[..., Path]) -> None:
    assert desk.replay(recorded("saxpy", 3), "--strict")[0] == 0
    bare = desk.record("saxpy", buffers=None)
    done = desk.here("replay", bare, "--strict")
    assert done.returncode == 2 and done.stdout == ""
    for line in (
        "1 x cuModuleLoadData: a module's image was not recorded",
        "2 x zeros instead: it was not recorded: `shimbench run --buffers` does",
    ):
        assert line in done.stderr
    said = desk.here("replay", bare).stdout
    assert "recorded without buffers: no module, no launch and no copy's content" in said


def test_the_machines_driver_is_the_one_that_a_program_would_get(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim, shim_host: dict[str, str]
) -> None:
    """A library lies where this machine's loader looks first: it is found as a real driver would be."""
    session = recorded("saxpy", 4)
    for fault, counts in ((0, {}), (2, {"crashed": 1})):
        found = {**shim_host, "LD_LIBRARY_PATH": str(other_shim(fault).parent)}
        status, said = desk.replay(session, "--device", "driver", **found)
        assert (status, said["counts"]) == (int(bool(counts)), counts)
        assert said["shim"] == f"the machine's driver, {other_shim(fault)}"
    status, said = desk.replay(
        session, "--compare", "driver", **shim_host, LD_LIBRARY_PATH=str(other_shim(5).parent)
    )
    assert (status, said["divergence"]["kernel"]) == (1, "saxpy")


def test_a_library_is_a_shim_as_well_as_a_directory(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    status, said = desk.replay(recorded("saxpy", 4), "--shim", other_shim(2))
    assert (status, said["counts"], said["ended"]["signal"]) == (1, {"crashed": 1}, signal.SIGSEGV)


def test_a_session_whose_buffers_were_cut_off_is_performed_as_far_as_it_goes(
    desk: Desk, recorded: Callable[..., Path]
) -> None:
    """Half of its buffers are there: the others are zeros, said to be, and no error of their own."""
    session = Path(shutil.copytree(recorded("pinned"), desk.folder / "cut"))
    size = (session / "buffers.dat").stat().st_size
    with (session / "buffers.dat").open("r+b") as file:
        file.truncate(size // 2)
    status, said = desk.replay(session)
    why = "the session's buffers.dat is cut off or damaged there"
    assert status in (0, 1) and said["missing"].get(why, 0) + said["outputs_missing"] > 0
    assert said["performed"] + said["skipped"] == said["calls"]
    done = desk.here("replay", session, "--strict")
    assert done.returncode == (2 if said["lacking"] else status)
