"""What a replay narrows down: the launch after which two devices differ, and the prefix that still fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.replay.conftest import Desk, OtherShim, calls_of, opened


def test_compare_names_the_launch_that_only_one_of_two_performed(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    session = recorded("saxpy", 4)
    status, said = desk.replay(
        session, "--library", other_shim(5), "--compare", "soft", "--expect", "recorded"
    )
    found = said["divergence"]
    third = calls_of(opened(session), "cuLaunchKernel")[2] + 1
    assert (status, found["call"], found["kernel"]) == (3, third, "saxpy")
    assert found["parameters"][2] == "parameter 2 at +16, 4 bytes: 0x3f000000"
    # After two of three launches element 1 is 1 + 2 * 0.5 * 0.25, where it should be 1 + 3 * 0.5 * 0.25.
    assert found["memory"]["bytes"] == 4000 and "(floats 1.25 1.375)" in found["detail"]


def test_compare_finds_nothing_between_equal_devices(desk: Desk, recorded: Callable[..., Path]) -> None:
    for words in (("graph",), ("threads", 3)):
        status, said = desk.replay(recorded(*words), "--compare", "soft")
        assert (status, said["same"], said["divergence"]) == (0, True, None)


def test_compare_passes_over_what_only_asks(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    """What two shims say of themselves may differ: that is replay's business, not that of memory."""
    session = recorded("calls", 20)
    assert desk.replay(session, "--library", other_shim(10))[1]["counts"] == {"other result": 10}
    status, said = desk.replay(session, "--library", other_shim(10), "--compare", "soft")
    assert (status, said["divergence"]) == (0, None)


def test_compare_names_a_graph_by_its_launch(desk: Desk, recorded: Callable[..., Path]) -> None:
    session = recorded("graph")
    status, said = desk.replay(session, "--compare", "count-only")
    first = calls_of(opened(session), "cuGraphLaunch")[0] + 1
    assert (status, said["divergence"]["call"], said["divergence"]["kernel"]) == (1, first, None)


def test_the_shortest_prefix_that_crashes_is_a_session_of_its_own(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    session, small = recorded("saxpy", 4), desk.folder / "small"
    third = calls_of(opened(session), "cuLaunchKernel")[2] + 1
    _, said = desk.replay(session, "--library", other_shim(2), "--minimise", "-o", small)
    assert (said["prefix"]["until"], said["prefix"]["session"]) == (third, str(small))
    status, again = desk.replay(small, "--library", other_shim(2))
    assert (status, again["calls"]) == (1, said["prefix"]["calls"])
    assert [(one["kind"], one["a"]) for one in again["differences"]] == [("crashed", third)]
    assert desk.replay(small, "--expect", "recorded")[0] == 0


def test_a_prefix_holds_no_content_that_only_later_calls_were_given(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    """The second allocation fails; what is copied after that is none of the prefix."""
    session, small = recorded("wide"), desk.folder / "small"
    _, said = desk.replay(session, "--library", other_shim(4), "--minimise", "-o", small)
    second = calls_of(opened(session), "cuMemAlloc_v2")[1]
    assert said["prefix"]["until"] == second + 1
    copied = calls_of(opened(session), "cuMemcpyHtoD_v2")[0]
    assert copied > second and len(opened(session).buffers) > len(opened(small).buffers) == 1


def test_a_crash_is_minimised_before_other_results(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    """A result differs early on; what matters is that it ends in a crash."""
    session = recorded("saxpy", 4)
    _, said = desk.replay(session, "--library", other_shim(11), "--minimise")
    assert [one["kind"] for one in said["differences"]] == ["other result", "crashed"]
    assert said["prefix"]["until"] == calls_of(opened(session), "cuLaunchKernel")[2] + 1


def test_the_shortest_prefix_of_a_wrong_result_includes_who_waited_for_it(
    desk: Desk, recorded: Callable[..., Path], other_shim: OtherShim
) -> None:
    session = opened(recorded("pinned"))
    _, said = desk.replay(session.path, "--library", other_shim(1), "--minimise")
    # The copy is begun by one call and seen when the next one has waited.
    assert said["prefix"]["until"] == calls_of(session, "cuStreamSynchronize")[1] + 1


def test_nothing_is_minimised_where_nothing_fails(desk: Desk, recorded: Callable[..., Path]) -> None:
    status, said = desk.replay(recorded("saxpy", 3), "--minimise")
    assert (status, said["prefix"]["until"], said["prefix"]["attempts"]) == (0, None, 0)
