"""What a replay came to, in lines and as an object for --json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sessions import Session
from sessions.decode import CallDecoder
from sessions.diff.sides import role_of
from workbench.commands.common import size
from workbench.replay.minimise import Prefix
from workbench.replay.perform import Performance, Replay
from workbench.replay.stage import Stage
from workbench.views.demangle import with_demangled

_REASONS_SHOWN = 12
_GRAVE = ("crashed", "hung", "returned", "other end", "not begun")
"""Kinds of differences that are shown whatever the limit."""


def lines_of(session: Session, replay: Replay, stage: Stage, limit: int) -> list[str]:
    """What was performed and left out, then the first `limit` differences."""
    performances = replay.performances
    lines = [_head(session, replay, stage)]
    if len(performances) > 1:
        lines += _table(session, performances)
    lines += _left_out(session, performances)
    lines += _remarks(performances)
    if replay.same:
        outputs = sum(done.verdict.outputs for done in performances)
        results = sum(done.verdict.performed for done in performances)
        lines.append(f"as recorded: {results} results, {outputs} buffers")
    else:
        lines.append(", ".join(f"{count} x {kind}" for kind, count in replay.counts.most_common()))
    return [*lines, *_differences(session, replay, limit)]


def _head(session: Session, replay: Replay, stage: Stage) -> str:
    performances = replay.performances
    performed = sum(done.verdict.performed for done in performances)
    if len(performances) == 1:
        (done,) = performances
        threads = _count(len(done.plan.thread_ids), "thread", "threads")
        whose = f" of pid {_pid(session, done)} in {threads}"
    else:
        whose = f" of {len(performances)} processes"
    took = sum(map(_seconds, performances))
    return f"{performed} of {replay.calls} calls{whose} on {stage.title}, {took:.3f} s"


def _table(session: Session, performances: list[Performance]) -> Iterator[str]:
    """A line a process."""
    for done in performances:
        process = session.processes[done.plan.process]
        said = ", ".join(f"{count} x {kind}" for kind, count in done.verdict.counts.most_common())
        yield (
            f"  pid {process.pid:<8} {done.verdict.performed:>7} of {len(done.plan.rows):<7} calls "
            f"{_seconds(done):>8.3f} s  {said or 'as recorded':<28}  {role_of(process)}"
        )


def _left_out(session: Session, performances: list[Performance]) -> Iterator[str]:
    left_out = sum((done.plan.left_out for done in performances), Counter[str]())
    missing = sum((done.plan.missing for done in performances), Counter[str]())
    absent = sum(done.plan.missing_bytes for done in performances)
    yield from session.damage
    if not any(done.plan.recorded_buffers for done in performances) and any(
        done.plan.lacking for done in performances
    ):
        yield (
            "recorded without buffers: no module, no launch and no copy's content can be performed as it was,"
            " and no output compared (`shimbench run --buffers` records them)"
        )
    shown = [(why, count) for why, count in left_out.most_common() if count]
    for why, count in shown[:_REASONS_SHOWN]:
        yield f"not performed: {count} x {why}"
    if len(shown) > _REASONS_SHOWN:
        rest = sum(count for _, count in shown[_REASONS_SHOWN:])
        yield f"not performed: {rest} more, for {len(shown) - _REASONS_SHOWN} other reasons (--json)"
    for why, count in missing.most_common():
        yield f"missing: {count} inputs ({size(absent)} in all, zeros instead): {why}"


_REMARKS: tuple[tuple[Callable[[Performance], int], str], ...] = (
    (lambda done: done.plan.lost, "calls were lost when it was recorded: what needs them goes wrong"),
    (lambda done: done.plan.guessed, "launches with parameters of guessed sizes: the shim had not told them"),
    (lambda done: done.plan.callbacks, "callbacks: nothing of the program's is called"),
    (lambda done: done.results.unknown, "handles that no recorded call had made, passed on as they were"),
    (lambda done: done.verdict.skipped, "calls left out: they need what a failed one was to make"),
    (lambda done: done.verdict.not_reached, "calls not come to"),
    (lambda done: done.verdict.cut_off, "calls were cut off when somebody ended their process"),
    (lambda done: done.verdict.outputs_missing, "outputs not compared: one side does not have them"),
)  # fmt: skip


def _remarks(performances: list[Performance]) -> Iterator[str]:
    for count_of, text in _REMARKS:
        count = sum(map(count_of, performances))
        if count:
            yield f"{count} {text}"
    for done in performances:
        for expected, count in done.verdict.again.items():
            at = done.results.under_way[0]
            more = f" and {count - 1} more" if count > 1 else ""
            yield f"call {int(done.plan.rows[at]) + 1}{more} {expected.value}, as recorded ({_ended(done)})"


def _ended(done: Performance) -> str:
    ending = done.ending
    if ending.hung:
        return "hung"
    return f"signal {ending.signal}" if ending.signal else f"status {ending.status}"


@dataclass
class _Told:
    """What is said of calls of one function, in however many processes; `row` is the first such call."""

    kind: str
    detail: str
    row: int | None
    pids: list[int]
    repeats: int


def _differences(session: Session, replay: Replay, limit: int) -> Iterator[str]:
    """The first ones in recorded order, those of no call behind the others; the same is said once."""
    recorded = CallDecoder(session.schema)
    several = len(replay.performances) > 1
    told = _folded(session, replay)
    grave = [one for one in told[max(limit, 0) :] if one.kind in _GRAVE]
    shown = told[: max(limit, 0)] + grave
    for one in shown:
        more = f", {one.repeats} times" if one.repeats > 1 else ""
        whose = f" in {len(one.pids)} processes" if len(one.pids) > 1 else f" in pid {one.pids[0]}"
        yield ""
        yield with_demangled(f"~ {one.kind}{more}{whose if several else ''}: {one.detail}")
        if one.row is not None:
            yield with_demangled(f"    {one.row + 1:>8}  {recorded.text(session, one.row)}")
    left = sum(replay.counts.values()) - sum(one.repeats for one in shown)
    if left > 0:
        yield f"\nand {left} more (--limit)"


def _folded(session: Session, replay: Replay) -> list[_Told]:
    every = [(one, done) for done in replay.performances for one in done.verdict.differences]
    every.sort(key=lambda pair: pair[0].a if pair[0].a is not None else 1 << 62)
    told: dict[tuple[object, ...], _Told] = {}
    for one, done in every:
        function = None if one.a is None else session.calls.row(one.a).function
        known = told.setdefault((one.kind, function, one.detail), _Told(one.kind, one.detail, one.a, [], 0))
        known.repeats += one.repeats
        if _pid(session, done) not in known.pids:
            known.pids.append(_pid(session, done))
    return list(told.values())


def _pid(session: Session, done: Performance) -> int:
    return session.processes[done.plan.process].pid


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _seconds(done: Performance) -> float:
    began, ended = done.results.began, done.results.ended
    if not (began > 0).any() or not ended.any():
        return 0.0
    return float(ended.max() - began[began > 0].min()) / 1e9


def as_json(session: Session, replay: Replay, stage: Stage, prefix: Prefix | None) -> dict[str, Any]:
    """Sums over the processes, then each by itself."""
    parts = [_process_as_json(session, done) for done in replay.performances]
    summed = (
        "calls", "threads", "performed", "skipped", "not_reached", "cut_off", "outputs", "outputs_missing",
        "missing_bytes", "lost",
    )  # fmt: skip
    counted = ("left_out", "missing", "lacking", "counts")
    ended = next((part["ended"] for part in parts if any(part["ended"].values())), parts[0]["ended"])
    return {
        "session": str(session.path),
        "shim": stage.title,
        **{name: sum(part[name] for part in parts) for name in summed},
        **{name: dict(sum((Counter(part[name]) for part in parts), Counter())) for name in counted},
        "same": replay.same,
        "differences": [one for part in parts for one in part["differences"]],
        "ended": ended,
        "seconds": sum(part["seconds"] for part in parts),
        "processes": parts,
        "prefix": None if prefix is None else prefix.as_json(),
    }


def _process_as_json(session: Session, done: Performance) -> dict[str, Any]:
    verdict, plan, recorded = done.verdict, done.plan, CallDecoder(session.schema)
    process = session.processes[plan.process]
    return {
        "pid": process.pid,
        "index": process.index,
        "role": role_of(process),
        "program": PurePosixPath(process.exe).name,
        "calls": len(plan.rows),
        "threads": len(plan.thread_ids),
        "performed": verdict.performed,
        "skipped": verdict.skipped,
        "not_reached": verdict.not_reached,
        "cut_off": verdict.cut_off,
        "left_out": {why: count for why, count in plan.left_out.items() if count},
        "missing": dict(plan.missing),
        "missing_bytes": plan.missing_bytes,
        "lacking": dict(plan.lacking),
        "lost": plan.lost,
        "outputs": verdict.outputs,
        "outputs_missing": verdict.outputs_missing,
        "same": verdict.same,
        "counts": dict(verdict.counts),
        "differences": [
            {
                "kind": one.kind,
                "pid": process.pid,
                "a": None if one.a is None else one.a + 1,
                "b": None if one.b is None else one.b + 1,
                "call": None if one.a is None else recorded.text(session, one.a),
                "detail": one.detail,
                "repeats": one.repeats,
            }
            for one in verdict.differences
        ],
        "ended": {"signal": done.ending.signal, "hung": done.ending.hung, "status": done.ending.status},
        "seconds": _seconds(done),
    }
