"""status.md: what works, the first wall with its evidence, what was tried, what is needed next."""

from __future__ import annotations

import re
from collections.abc import Iterator

from workbench.report.facts import ReportFacts, RunFacts
from workbench.report.words import MODES, edited, headline, missing, road, scope, signs

_DIFF_LINES = 60
"""Longer diffs are named only; sources.diff has them."""


def status_text(facts: ReportFacts, brief: bool = False) -> str:
    """Markdown. `brief`: to be pasted into a thread, without long lists."""
    return "\n".join(_lines(facts, brief)).rstrip() + "\n"


def _lines(facts: ReportFacts, brief: bool) -> Iterator[str]:
    yield f"# Status: {headline(facts)}"
    yield ""
    yield scope(facts)
    yield ""
    yield f"How far it came: {road(facts)}"
    yield ""
    yield from _wall(facts)
    yield from _works(facts, brief)
    yield from _tried(facts, brief)
    yield from _next(facts)
    yield "## Versions"
    yield ""
    for name, value in facts.versions.items():
        yield f"- {name}: {value}"


def _wall(facts: ReportFacts) -> Iterator[str]:
    explanation = facts.explanation
    if not explanation.walls:
        yield "## No wall was found"
        yield ""
        if explanation.unexplained:
            yield "What failed last, and no rule explains:"
            yield ""
        yield from (f"- {text}" for text in signs(facts))
        yield ""
        return
    yield "## The first wall"
    yield ""
    for number, wall in enumerate(explanation.walls):
        if number == 1:
            yield "Others that stand by themselves:"
            yield ""
        met = f", in {wall.processes} processes" if wall.processes > 1 else ""
        yield f"**{wall.what}** ({wall.certainty}{met})"
        yield ""
        yield f"- cause: {wall.cause}"
        if wall.note:
            yield f"- note: {wall.note}"
        for piece in wall.evidence:
            yield f"- evidence: {piece.text}"
        for each in explanation.diagnoses:
            if each.consequence_of == wall.rule:
                yield f"- follows from it: {each.what}"
        yield ""
    for note in explanation.notes:
        yield f"Note: {note}"
        yield ""


def _works(facts: ReportFacts, brief: bool) -> Iterator[str]:
    always = [use for use in facts.functions if use.always_works]
    sometimes = [use for use in facts.functions if use.works and not use.always_works]
    never = [use for use in facts.functions if not use.works]
    grave, unknown, harmless = missing(facts)
    yield "## What works"
    yield ""
    yield (
        f"Functions that succeeded each time: {len(always)}, not each time: {len(sometimes)}, "
        f"never: {len(never)}. Names asked for and not answered: {len(grave + unknown + harmless)}, of these "
        f"harmless: {len(harmless)}."
    )
    yield ""
    if always and not brief:
        yield "Each time: " + ", ".join(f"`{use.name}` {use.calls} x {use.results[0][0]}" for use in always)
        yield ""
    for title, uses in (("Not each time:", sometimes), ("Never:", never)):
        if uses:
            yield title
            yield ""
            yield from (f"- `{use.name}`: {use.said}" for use in uses)
            yield ""
    if grave:
        yield "Asked for and not answered:"
        yield ""
        yield from (f"- `{name}`: {effect}; asked for by {by}" for name, effect, by in grave)
        yield ""
    if unknown and not brief:
        yield "Not answered, and what follows is not known: " + ", ".join(f"`{name}`" for name in unknown)
        yield ""


def _tried(facts: ReportFacts, brief: bool) -> Iterator[str]:
    yield "## What was tried"
    yield ""
    for run in facts.runs:
        yield from _run(facts, run, brief)
    for build in facts.builds:
        if not build.get("ok"):
            yield f"- build {build.get('build')} failed: {first_error(build)}"
    yield ""


def _run(facts: ReportFacts, run: RunFacts, brief: bool) -> Iterator[str]:
    outcome = f"; {run.outcome}" if run.outcome else ""
    wall = f"; first wall: {run.wall}" if run.wall else ""
    mode = MODES.get(run.gpu_mode, run.gpu_mode)
    yield f"- run {run.run} ({run.reason or 'started'}): {mode}; {run.figures}; {run.ended}{outcome}{wall}"
    if changed := edited(run.diff):
        yield f"  - edited before it: {changed}"
    if changes := facts.changes(run):
        yield f"  - against the run before: {changes}"
    lines = run.diff.splitlines()
    if lines and not brief and len(lines) <= _DIFF_LINES:
        fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", run.diff))])
        yield ""
        yield f"  {fence}diff"
        yield from (f"  {line}" for line in lines)
        yield f"  {fence}"
        yield ""
    elif lines:
        yield "  - the diff is in sources.diff" if not brief else "  - the diff is in the report"


def first_error(build: dict[str, object]) -> str:
    """What a compiler said first of a build that failed."""
    diagnostics = build.get("diagnostics")
    if isinstance(diagnostics, list):
        for each in diagnostics:
            if isinstance(each, dict) and each.get("severity") in ("error", "fatal error"):
                return f"{each.get('path')}:{each.get('line')}: {each.get('message')}"
    return str(build.get("problem") or "see the log")


def _next(facts: ReportFacts) -> Iterator[str]:
    fixes = [wall.fix for wall in facts.explanation.walls if wall.fix]
    if fixes:
        yield "## What is needed next"
        yield ""
        yield from (f"- {fix}" for fix in dict.fromkeys(fixes))
        yield ""
