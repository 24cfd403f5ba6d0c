"""The diagnosis of a session that is being written: what it says, when, and how much it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from sessions import format
from sessions.testing import SessionBuilder
from tests.patience import wait_until
from workbench.diagnosis.gather import KEPT_FIRST, KEPT_LAST, Gatherer
from workbench.diagnosis.live import LiveDiagnosis, Report
from workbench.panes.why import walls_of
from workbench.views.stages import NAMES, Stage, with_walls

SECOND = 1_000_000_000


@pytest.fixture
def live(builder: SessionBuilder) -> Iterator[LiveDiagnosis]:
    builder.publish()
    watch = LiveDiagnosis(builder.path)
    watch.start()
    yield watch
    watch.stop()


def wait_for(watch: LiveDiagnosis, condition: Callable[[Report], object]) -> Report:
    wait_until(lambda: watch.report.problem or condition(watch.report), "the report")
    assert not watch.report.problem, watch.report.problem
    return watch.report


def rules(report: Report) -> list[str]:
    return [found.rule for found in report.explanation.diagnoses] if report.explanation else []


def test_a_failure_is_told_while_the_session_is_written(builder: SessionBuilder, live: LiveDiagnosis) -> None:
    report = wait_for(live, lambda report: report.explanation)
    assert report.explanation is not None and report.explanation.diagnoses == []
    assert "made no call" in report.explanation.doing[0].text
    builder.call("cuInit", args=(0,), result=100)
    builder.publish()
    assert rules(wait_for(live, rules)) == ["init-fails"]


def test_a_call_that_grows_old_is_told_though_nothing_is_recorded(
    builder: SessionBuilder, live: LiveDiagnosis
) -> None:
    builder.in_flight("cuInit", age=SECOND // 10)
    builder.publish()
    wait_for(live, lambda report: report.explanation)
    builder.in_flight("cuInit", age=9 * SECOND)
    builder.publish()
    assert rules(wait_for(live, rules)) == ["call-hangs"]


def test_a_new_run_forgets_what_the_one_before_showed(builder: SessionBuilder, live: LiveDiagnosis) -> None:
    builder.call("cuInit", args=(0,), result=100)
    builder.publish()
    wait_for(live, rules)
    builder.event("run", run=2, reason="save", command=["target"], shim="/shim/libcuda.so.1", ours=False)
    second = builder.process(["target"], run=2)
    builder.call("cuInit", process=second, args=(0,))
    builder.publish()
    report = wait_for(live, lambda report: report.explanation and report.explanation.run == 2)
    assert rules(report) == []


def test_the_rules_do_not_run_again_for_calls_that_no_rule_speaks_of(
    builder: SessionBuilder, live: LiveDiagnosis
) -> None:
    builder.call("cuInit", args=(0,), result=100)
    builder.publish()
    runs = wait_for(live, rules).runs
    for _ in range(3):
        many(builder, "cuStreamQuery", 1000)
        rows = len(builder.open().calls)
        wait_for(live, lambda report, rows=rows: report.seen[0] == rows)
    assert live.report.runs <= runs + 1


def many(builder: SessionBuilder, name: str, count: int, result: int = 0) -> None:
    rows = np.zeros(count, dtype=format.CALL_ROW)
    rows["function"] = builder.function(name)
    rows["thread"], rows["result"] = 4121, result
    rows["sequence"] = np.arange(1, count + 1)
    rows["time"] = np.arange(count) * 1000
    builder.calls(rows)
    builder.publish()


def test_however_many_calls_fail_only_the_first_and_the_last_are_kept(builder: SessionBuilder) -> None:
    gatherer = Gatherer()
    for _ in range(5):
        many(builder, "cuStreamQuery", 50_000, result=600)
        gatherer.update(builder.open())
    failed = gatherer.facts().failed
    assert len(failed) == KEPT_FIRST + KEPT_LAST
    assert (failed[0].row, failed[-1].row) == (0, 249_999)


def test_what_is_gathered_bit_by_bit_is_what_is_gathered_at_once(builder: SessionBuilder) -> None:
    gatherer = Gatherer()
    session = builder.open()
    for number in range(40):
        builder.call("cuMemGetInfo_v2", thread=number % 3, args=(1, 2), result=801 * (number % 2))
        builder.publish()
        session.refresh()
        gatherer.update(session)
    whole = Gatherer()
    whole.update(session)
    first, second = gatherer.facts(), whole.facts()
    assert first.calls == second.calls
    assert (first.last_rows, first.last_by_thread) == (second.last_rows, second.last_by_thread)


def test_the_wall_stands_first_and_what_follows_is_folded_under_it(
    builder: SessionBuilder, live: LiveDiagnosis
) -> None:
    builder.call("cuInit", args=(0,), result=100)
    builder.call("cuMemCreate", args=(1, 4096), result=801)
    builder.publish()
    report = wait_for(live, lambda report: len(rules(report)) == 2)
    [wall] = walls_of(report.explanation)
    assert wall.title == "1 of 1, proved"
    texts = ["".join(text for text, _ in sentence.parts) for sentence in wall.sentences]
    assert "CUDA_ERROR_NO_DEVICE" in texts[0]
    assert texts[1].startswith("evidence: call\u00a01")
    assert texts[-1] == "+ 1 that may follow from it: context-call-fails"
    assert [(target.kind, target.number) for target in wall.targets] == [("call", 0)]


def test_the_road_ends_at_the_wall_of_the_diagnosis(builder: SessionBuilder, live: LiveDiagnosis) -> None:
    builder.call("cuInit", args=(0,), result=100)
    builder.publish()
    report = wait_for(live, rules)
    assert report.explanation is not None
    road = with_walls([Stage(name, "-") for name in NAMES], report.explanation.walls)
    assert [stage.state for stage in road] == ["ok", "ok", "ok", "failed", "-", "-", "-"]
