"""What the page and the status text have to say alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.report.facts import ReportFacts

MODES = {
    "gpu": "GPU mode",
    "cpu": "CPU mode",
    "load-failed": "GPU found, loading the model fails",
    "not-executed": "GPU, kernels not executed",
    "unknown": "mode not known",
}
_SENTENCES = {
    "gpu": "GPU mode is reached",
    "cpu": "GPU mode is not reached: the target runs on the CPU",
    "load-failed": "A GPU is found, and loading the model fails",
    "not-executed": "Launches are accepted and not executed: no GPU mode",
    "unknown": "Whether GPU mode is reached is not known",
}
EFFECTS = {
    "fatal-at-init": "fatal when the runtime starts",
    "fatal-later": "fatal where it is used",
}


def headline(facts: ReportFacts) -> str:
    """The mode; where it can't be known because a wall came before, the wall."""
    walls = facts.explanation.walls
    if facts.gpu_mode.mode == "unknown" and walls:
        return walls[0].what
    return _SENTENCES.get(facts.gpu_mode.mode, facts.gpu_mode.mode)


def scope(facts: ReportFacts) -> str:
    """`Run 3 of 3 of this session; ...`."""
    session, runs = facts.session, facts.runs
    what = f"Run {runs[-1].run}, the last of {len(runs)}" if len(runs) > 1 else f"{len(runs) or 'No'} run"
    bars = len(facts.timeline.bars)
    processes = f"{bars} process{'' if bars == 1 else 'es'}"
    figures = f": {processes}, {runs[-1].figures}" if runs else ""
    return f"{what}{figures}. Recorded in all: {len(session.calls)} calls and lookups, {session.lost} lost."


def signs(facts: ReportFacts) -> list[str]:
    """Without a wall: what failed last, or goes on, and what shows the mode."""
    explanation = facts.explanation
    said = [piece.text for piece in explanation.unexplained or explanation.doing]
    shown = [piece.text for piece in facts.gpu_mode.evidence]
    return said + [text for text in dict.fromkeys(shown) if not any(text in each for each in said)]


def road(facts: ReportFacts) -> str:
    """How far the newest run came: `load ok > symbols ok > tables FAILED > init - ...`."""
    states = {"failed": "FAILED"}
    return " > ".join(f"{stage.name} {states.get(stage.state, stage.state)}" for stage in facts.stages)


def missing(facts: ReportFacts) -> tuple[list[tuple[str, str, str]], list[str], list[str]]:
    """Names asked for and not answered: those that matter with what their absence does and who asked, those
    of which it is not known what it does, and the harmless ones."""
    rows = [row for row in facts.coverage if row.asked and not row.answered]
    grave = [
        (row.name, EFFECTS.get(row.effect, row.effect), ", ".join(sorted({each.by for each in row.asked})))
        for row in rows
        if row.effect in EFFECTS
    ]
    unknown = [row.name for row in rows if row.effect not in (*EFFECTS, "harmless")]
    return grave, unknown, [row.name for row in rows if row.effect == "harmless"]


def edited(diff: str) -> str:
    """`device.c, memory.c (+2 -1 lines)`; "" of no diff."""
    lines = diff.splitlines()
    names = [line[6:] for line in lines if line.startswith("+++ b/")]
    added = sum(line.startswith("+") and not line.startswith("+++") for line in lines)
    gone = sum(line.startswith("-") and not line.startswith("---") for line in lines)
    return f"{', '.join(names)} (+{added} -{gone} lines)" if names else ""
