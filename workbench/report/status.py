"""status.md: what works, the first wall with its evidence, what was tried, what is needed next."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.report.facts import FunctionUse, ReportFacts

_MODES = {
    "gpu": "GPU mode is reached.",
    "cpu": "GPU mode is not reached: the target runs on the CPU.",
    "load-failed": "A GPU is found, and loading the model fails.",
    "not-executed": "Launches are accepted and not executed: no GPU mode.",
    "unknown": "Whether GPU mode is reached is not known.",
}


def status_text(facts: ReportFacts, brief: bool = False) -> str:
    """Markdown. `brief`: to be pasted into a thread, without long lists."""
    return "\n".join(_lines(facts, brief)).rstrip() + "\n"


def _lines(facts: ReportFacts, brief: bool) -> Iterator[str]:
    session = facts.session
    newest = facts.runs[-1] if facts.runs else None
    yield f"# Status: {_MODES.get(facts.gpu_mode, facts.gpu_mode)}"
    yield ""
    where = f"Run {newest.run} of {len(facts.runs)}" if newest else "No run"
    yield (
        f"{where}; {len(session.calls)} calls of {len(session.processes)} processes recorded, "
        f"{session.lost} lost."
    )
    yield ""
    yield from _wall(facts)
    yield from _works(facts, brief)
    yield from _tried(facts)
    yield from _next(facts)
    yield "## Versions"
    yield ""
    for name, value in facts.versions.items():
        yield f"- {name}: {value}"


def _wall(facts: ReportFacts) -> Iterator[str]:
    walls = [each for each in facts.explanation.diagnoses if each.consequence_of is None]
    yield "## The first wall"
    yield ""
    if not walls:
        yield "No rule found one." + (" The last that failed:" if facts.explanation.unexplained else "")
        for piece in facts.explanation.unexplained:
            yield f"- {piece.text}"
        yield ""
        return
    for number, wall in enumerate(walls):
        if number == 1:
            yield "Others that stand by themselves:"
            yield ""
        yield f"**{wall.what}** ({wall.certainty})"
        yield ""
        yield f"- cause: {wall.cause}"
        for piece in wall.evidence:
            yield f"- evidence: {piece.text}"
        follow = [each for each in facts.explanation.diagnoses if each.consequence_of == wall.rule]
        for each in follow:
            yield f"- follows from it: {each.what}"
        yield ""


def _works(facts: ReportFacts, brief: bool) -> Iterator[str]:
    works = [use for use in facts.functions if use.works]
    fails = [use for use in facts.functions if not use.works]
    missing = [row for row in facts.coverage if row.asked and not row.answered]
    yield "## What works"
    yield ""
    yield (
        f"{len(works)} functions were called and succeeded, {len(fails)} only failed; "
        f"{len(missing)} names were asked for and not answered."
    )
    yield ""
    if not brief:
        yield from (f"- {_use(use)}" for use in works)
        yield ""
    if fails:
        yield "Only failed:"
        yield ""
        yield from (f"- {_use(use)}" for use in fails)
        yield ""
    fatal = [row for row in missing if row.effect.startswith("fatal")]
    if fatal:
        yield "Not answered, and fatal for who asked:"
        yield ""
        yield from (f"- `{row.name}`: {row.effect}" for row in fatal)
        yield ""


def _use(use: FunctionUse) -> str:
    results = ", ".join(f"{count} x {result}" for result, count in use.results[:4])
    return f"`{use.name}` {results}"


def _tried(facts: ReportFacts) -> Iterator[str]:
    yield "## What was tried"
    yield ""
    for run in facts.runs:
        wall = f"; first wall: {run.wall}" if run.wall else ""
        outcome = f"; {run.outcome}" if run.outcome else ""
        yield (
            f"- run {run.run} ({run.reason or 'started'}): {run.gpu_mode}, {run.calls} calls, "
            f"{run.failed} failed, {run.ended}{outcome}{wall}"
        )
        changed = [line[6:] for line in run.diff.splitlines() if line.startswith("+++ b/")]
        if changed:
            added = sum(line.startswith("+") and not line.startswith("+++") for line in run.diff.splitlines())
            gone = sum(line.startswith("-") and not line.startswith("---") for line in run.diff.splitlines())
            yield f"  - edited before it: {', '.join(changed)} (+{added} -{gone} lines)"
    for build in facts.builds:
        if not build.get("ok"):
            yield f"- build {build.get('build')} failed: {_first_error(build)}"
    yield ""


def _first_error(build: dict[str, object]) -> str:
    diagnostics = build.get("diagnostics")
    if isinstance(diagnostics, list):
        for each in diagnostics:
            if isinstance(each, dict) and each.get("severity") in ("error", "fatal error"):
                return f"{each.get('path')}:{each.get('line')}: {each.get('message')}"
    return str(build.get("problem") or "see the log")


def _next(facts: ReportFacts) -> Iterator[str]:
    fixes = [each.fix for each in facts.explanation.diagnoses if each.fix and each.consequence_of is None]
    if fixes:
        yield "## What is needed next"
        yield ""
        yield from (f"- {fix}" for fix in dict.fromkeys(fixes))
        yield ""
