"""The report's time line and its processes as bars: no script, and readable on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from workbench.report.facts import ReportFacts
from workbench.report.tallies import asking_functions

_BINS = 100
_WIDTH = 400  # of a drawing, in units of which a phone shows about as many as it has pixels
_BATCH = 1 << 20
_ENDINGS = {"ok": "ok", "on-purpose": "ok", "alive": "ok", "failed": "bad", "unknown": "warn"}
_COLOURS = {"ok": "#4c9f50", "bad": "#d0463b", "warn": "#c99a2e"}
MOST_BARS = 60


def time_line(facts: ReportFacts) -> str:
    """Calls over the time of the session as an SVG, with runs, builds that failed, and marks."""
    counts, errors, end = _binned(facts)
    tallest = max(float(np.log1p(counts).max()), 1.0)
    step = _WIDTH / _BINS
    parts = [f'<svg viewBox="0 0 {_WIDTH} 122" role="img" aria-label="calls over time">']
    for place in range(_BINS):
        for number, colour, what in (
            (counts[place], "#6b8fd6", "calls"),
            (errors[place], _COLOURS["bad"], "calls with an error"),
        ):
            if number:
                height = 84 * float(np.log1p(number)) / tallest
                parts.append(
                    f'<rect x="{place * step:g}" y="{100 - height:.1f}" width="{step - 0.6:g}" '
                    f'height="{height:.1f}" fill="{colour}"><title>{int(number)} {what}</title></rect>'
                )
    parts += _events(facts, end)
    parts.append(
        f'<text x="0" y="116" font-size="11">0 s</text><text x="{_WIDTH}" y="116" font-size="11" '
        f'text-anchor="end">{end / 1e9:.1f} s</text></svg>'
    )
    return "".join(parts)


def _binned(facts: ReportFacts) -> tuple[np.ndarray, np.ndarray, int]:
    """Calls and failed calls by the part of the session's time they were made in, and its end in ns."""
    calls = facts.session.calls
    end = max([event.time_ns for event in facts.session.events] + [1])
    counts, errors = np.zeros(_BINS), np.zeros(_BINS)
    asking = asking_functions(facts.session)
    starts = range(0, len(calls), _BATCH)
    for start in starts:
        end = max(end, int(calls.columns(start, min(start + _BATCH, len(calls)), ("time",))["time"].max()))
    for start in starts:
        columns = calls.columns(start, min(start + _BATCH, len(calls)), ("time", "result", "function"))
        bins = np.clip(columns["time"].astype(np.float64) * _BINS // (end + 1), 0, _BINS - 1).astype(np.int64)
        counts += np.bincount(bins, minlength=_BINS)
        failed = (columns["result"] != 0) & ~np.isin(columns["function"], asking)
        errors += np.bincount(bins[failed], minlength=_BINS)
    return counts, errors, end


def _events(facts: ReportFacts, end: int) -> Iterator[str]:
    written = -1000.0  # where the last name stands: they must not run into each other
    for event in facts.session.events:
        if event.kind not in ("run", "build", "mark"):
            continue
        x = _WIDTH * event.time_ns / end
        bad = event.kind == "build" and not event.fields.get("ok")
        if event.kind == "build" and not bad:
            continue
        colour = _COLOURS["bad"] if bad else "currentColor"
        name = f"run {event.fields.get('run')}" if event.kind == "run" else event.kind
        yield (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="103" stroke="{colour}" stroke-dasharray="3">'
            f"<title>{escape(name)}</title></line>"
        )
        if event.kind == "run" and x - written > 36:
            right = x > _WIDTH - 40
            anchor = ' text-anchor="end"' if right else ""
            at = x - 3 if right else x + 3
            yield f'<text x="{at:.1f}" y="11" font-size="11"{anchor}>{escape(name)}</text>'
            written = x


def processes(facts: ReportFacts) -> Iterator[str]:
    """Each process of the newest run: who, what became of it, and when it lived as a bar."""
    start = facts.timeline.start_ns
    span = max(facts.timeline.now_ns - start, 1)
    for bar in facts.timeline.bars[:MOST_BARS]:
        left = 100 * (bar.start_ns - start) / span
        width = max(100 * ((bar.end_ns or facts.timeline.now_ns) - bar.start_ns) / span, 0.5)
        left = min(left, 100 - width)
        colour = _COLOURS[_ENDINGS.get(bar.ending_kind, "warn")]
        result = f"; {bar.result.text}" if bar.result else ""
        yield (
            f'<div class="process">{escape(bar.label)} {bar.pid} '
            f'<span class="dim">{bar.calls} calls; {escape(bar.ending + result)}</span>'
            f'<div class="life"><i style="margin-left:{left:.2f}%;width:{width:.2f}%;background:{colour}">'
            "</i></div></div>"
        )
    more = len(facts.timeline.bars) - MOST_BARS
    if more > 0:
        yield f"<p>and {more} more</p>"
