"""The coverage pane: who asked for which name and how, and what became of it; what is fatal first."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from workbench.panes.format import count_text
from workbench.panes.outcomes import short_result
from workbench.panes.parts import Ink, Part, column
from workbench.panes.text_lines import TextLine, TextLines

if TYPE_CHECKING:
    from workbench.views.coverage import Coverage, CoverageRow

_GROUPS = (
    ("missing", "not answered", "error"),
    ("refused", "answered, returned NOT_SUPPORTED", "warn"),
    ("called", "answered and called", "ok"),
    ("idle", "answered, never called", "dim"),
    ("harmless", "not answered, harmless", "dim"),
)
_FOLDED = {"idle", "harmless"}
_EFFECTS: dict[str, tuple[str, Ink]] = {
    "fatal-at-init": ("fatal at init", "fatal"),
    "fatal-later": ("fatal later", "error"),
    "unknown": ("not answered", "warn"),
    "harmless": ("harmless", "dim"),
}


class CoveragePane(TextLines):
    """One line a name; Enter opens who asked, or a folded group."""

    where: ClassVar[str] = "coverage"
    empty = "no name has been asked for yet"

    def __init__(self, coverage: Coverage, *, id: str = "coverage") -> None:
        super().__init__(id=id)
        self.coverage = coverage
        self.open: set[str] = set()  # names and groups shown in full
        self.coming = ""  # said instead, while the state at a moment is not known yet

    def show_rows(self) -> None:
        """Draw what the view knows now."""
        if self.coming:
            self.set_lines([TextLine([(self.coming, "warn")])])
            return
        groups: dict[str, list[CoverageRow]] = {key: [] for key, _, _ in _GROUPS}
        for row in self.coverage.rows():
            groups[_group(row)].append(row)
        lines: list[TextLine] = []
        for key, title, ink in _GROUPS:
            rows = groups[key]
            if not rows:
                continue
            if key in _FOLDED:
                opened = key in self.open
                mark = "▾" if opened else "…"
                words = title.split(", ")[-1] if key == "harmless" else title
                lines.append(
                    TextLine(
                        [
                            (f"{mark} {count_text(len(rows))} {words}", "dim"),
                            ("" if opened else ", folded", "dim"),
                        ],
                        key,
                    )
                )
                if not opened:
                    continue
            for row in rows:
                lines += self._row_lines(row, ink)
        self.set_lines(lines)

    def _row_lines(self, row: CoverageRow, ink: Ink) -> list[TextLine]:
        missing = not row.answered
        effect, effect_ink = _EFFECTS.get(row.effect, (row.effect, "warn"))
        fatal = missing and row.effect.startswith("fatal")
        parts: list[Part] = [
            ("! " if fatal else "  ", "fatal"),
            (f"{row.name}  ", "fatal" if fatal else "name"),
        ]
        if missing:
            parts.append((f"{effect}  ", effect_ink))
        else:
            if row.performed is False:
                parts.append(("not performed  ", "warn"))
            parts.append(_calls_text(row.calls))
            if row.last_result:
                fine = row.last_result.endswith("SUCCESS")
                ink = "ok" if fine else "warn" if "NOT_S" in row.last_result else "error"
                parts += [("last ", "dim"), (f"{short_result(row.last_result)}  ", ink)]
        askers = list(dict.fromkeys(asked.by for asked in row.asked))
        if askers:
            parts.append((f"asked by {', '.join(askers[:2])}", "plain" if missing else "dim"))
            if len(askers) > 2:
                parts.append((f" and {len(askers) - 2} more", "dim"))
        lines = [TextLine(parts, row.name)]
        if row.name in self.open:
            for asked in row.asked:
                version = f" version {asked.version}" if asked.version else ""
                flags = f" flags {asked.flags}" if asked.flags else ""
                answer = f"answered with {asked.answered}" if asked.answered else "not answered"
                lines.append(
                    TextLine(
                        [
                            ("    ", "plain"),
                            column(asked.by, 24, "dim"),
                            (f" {asked.how}{version}{flags}", "plain"),
                            (f"  {count_text(asked.count)} x  ", "dim"),
                            (answer, "ok" if asked.answered else "error"),
                        ],
                        row.name,
                    )
                )
        return lines

    def toggle(self) -> bool:
        """Open or close what is under the cursor."""
        subject = self.selected
        if not isinstance(subject, str):
            return False
        self.open ^= {subject}
        self.show_rows()
        return True

    def status(self) -> str:
        """How many names were asked for, and how many of them fatally in vain."""
        rows = self.coverage.rows()
        fatal = sum(not row.answered and row.effect.startswith("fatal") for row in rows)
        return f"{fatal} fatal of {count_text(len(rows))}" if rows else ""


def _calls_text(calls: int) -> Part:
    if not calls:
        return ("not called  ", "dim")
    return (f"{count_text(calls)} call{'' if calls == 1 else 's'}  ", "plain")


def _group(row: CoverageRow) -> str:
    if not row.answered:
        return "harmless" if row.effect == "harmless" else "missing"
    if not row.calls:
        return "idle"
    return "refused" if row.performed is False or "NOT_SUPPORTED" in (row.last_result or "") else "called"
