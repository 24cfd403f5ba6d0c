"""The timeline of a moment: counts that were kept on the way, and what was under way then."""

from __future__ import annotations

import pytest

from sessions.moment import Moment, cut_at, moment_of_call
from sessions.testing import SessionBuilder
from workbench.views import timeline_tracker
from workbench.views.timeline_tracker import TimelineTracker, timeline_of


@pytest.fixture
def busy(builder: SessionBuilder) -> SessionBuilder:
    """Two processes that make a hundred calls, some failed, and one that lasts for all of it."""
    other = builder.process(["/opt/bin/other"], pid=4300, run=1)
    builder.call("cuStreamSynchronize", time=1_000, duration=900_000, thread=7, result=700)
    for number in range(100):
        time_ns = 2_000 + 5_000 * number
        process = other if number % 3 == 0 else 0
        result = 2 if number % 10 == 9 else 0
        builder.call("cuMemAlloc_v2", time=time_ns, duration=4_000, process=process, result=result)
        if number % 20 == 0:
            builder.line("ggml_cuda_init: found 1 CUDA devices", process=process, time=time_ns)
    return builder


def test_a_moment_s_timeline_is_what_a_look_at_the_moment_alone_gives(
    busy: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline_tracker, "STEP", 4)
    monkeypatch.setattr(timeline_tracker, "KEPT_EVERY", 8)
    session, tracker = busy.open(), TimelineTracker()
    tracker.update(session)
    late = 0
    for row in range(len(session.calls)):
        moment = moment_of_call(session, row)
        late += len(moment.cut.late) > 0
        assert tracker.at(moment) == timeline_of(moment), row
    assert late > 50
    assert tracker.at(Moment(session, cut_at(session, 0))).bars[0].calls == 0


def test_it_is_counted_by_and_by_only_as_far_as_is_asked(busy: SessionBuilder) -> None:
    session, tracker = busy.open(), TimelineTracker()
    tracker.update(session, 10)
    assert tracker.scanned == 10
    assert sum(bar.calls for bar in tracker.timeline().bars) == 10
    tracker.update(session)
    assert tracker.timeline() == timeline_of(session)
