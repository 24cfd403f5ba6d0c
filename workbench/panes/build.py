"""The build pane: how the builds went, diagnostics with the source around them, the compiler's output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.panes.format import count_text
from workbench.panes.parts import Ink, Part
from workbench.panes.sgr import styled_parts
from workbench.panes.source_text import source_around
from workbench.panes.text_lines import TextLine, TextLines

if TYPE_CHECKING:
    from sessions import Session

_AROUND = 2  # source lines shown above and below a diagnostic
_OUTPUT_LIMIT = 2000  # lines of build output shown here; the log pane has all


@dataclass(frozen=True)
class SourcePlace:
    """A line of a source file: what `o` opens in the editor."""

    path: str
    line: int
    column: int = 0


class BuildPane(TextLines):
    """The newest build first: state, diagnostics, output."""

    where: ClassVar[str] = "build"
    empty = "nothing has been built in this session"

    def __init__(self, session: Session, root: Path, *, id: str = "build") -> None:
        super().__init__(id=id)
        self.session = session
        self.root = root
        self._known: tuple[int, int, bool] | None = None

    def show_rows(self, building: bool = False) -> None:
        """Draw what the session knows now."""
        builds = [event.fields for event in self.session.events if event.kind == "build"]
        key = (len(builds), len(self.session.log), building)
        if key == self._known:
            return
        self._known = key
        lines: list[TextLine] = [TextLine([("building …", "warn")])] if building else []
        if building:
            after = int(builds[-1].get("log_start", 0)) if builds else 0
            lines += self._output(after)
        for number, build in enumerate(reversed(builds)):
            lines += self._build(build, in_full=number == 0)
        self.set_lines(lines)

    def _build(self, build: dict[str, Any], in_full: bool) -> list[TextLine]:
        ok = bool(build.get("ok"))
        parts: list[Part] = [
            (f"build {build.get('build', '?')} ", "head"),
            ("ok" if ok else "FAILED", "ok" if ok else "fatal"),
            (f"  {float(build.get('seconds') or 0):.1f} s  ", "dim"),
        ]
        if build.get("store_id"):
            parts.append((f"{str(build['store_id'])[:4]}  ", "accent"))
        parts.append((str(build.get("command", "")), "plain"))
        lines = [TextLine(parts)]
        if not in_full:
            return lines
        for diagnostic in build.get("diagnostics") or []:
            lines += self._diagnostic(diagnostic)
        if build.get("log_start") is not None:
            lines += self._output(int(build["log_start"]))
        return lines

    def _diagnostic(self, diagnostic: dict[str, Any]) -> list[TextLine]:
        place = SourcePlace(
            str(diagnostic["path"]), int(diagnostic["line"]), int(diagnostic.get("column") or 0)
        )
        severity = str(diagnostic.get("severity", "error"))
        ink: Ink = "error" if "error" in severity else "warn" if severity == "warning" else "dim"
        where = f"{place.path}:{place.line}" + (f":{place.column}" if place.column else "")
        lines = [
            TextLine([(where, "name"), (f": {severity}: ", ink), (str(diagnostic["message"]), "head")], place)
        ]
        path = Path(place.path) if Path(place.path).is_absolute() else self.root / place.path
        for number, source in source_around(path, place.line, _AROUND):
            mark = ">" if number == place.line else " "
            lines.append(
                TextLine(
                    [(f" {mark}{number:5d} │ ", ink if mark == ">" else "dim"), *source],
                    SourcePlace(place.path, number),
                )
            )
            if number == place.line and place.column:
                before = "".join(text for text, _ in source)[: place.column - 1]
                pad = "".join("\t" if character == "\t" else " " for character in before).expandtabs(8)
                lines.append(TextLine([("       │ ", "dim"), (pad + "^", ink)], place))
        return lines

    def _output(self, log_start: int) -> list[TextLine]:
        lines = [TextLine([]), TextLine([("output", "accent")])]
        taken = 0
        for line in self.session.log.lines(log_start, len(self.session.log)):
            if line.role != "build" and line.stream != "build":
                continue
            lines.append(
                TextLine([(text, style if style else "plain") for text, style in styled_parts(line.text)])
            )
            taken += 1
            if taken == _OUTPUT_LIMIT:
                lines.append(TextLine([(f"… more in the log pane, line {count_text(log_start)}", "dim")]))
                break
        return lines if taken else []

    def status(self) -> str:
        """How the newest build went."""
        builds = [event.fields for event in self.session.events if event.kind == "build"]
        if not builds:
            return ""
        diagnostics = builds[-1].get("diagnostics") or []
        errors = sum("error" in str(diagnostic.get("severity")) for diagnostic in diagnostics)
        return "ok" if builds[-1].get("ok") else f"FAILED, {errors} errors"

    def selected_place(self) -> SourcePlace | None:
        """The source line under the cursor, else the first diagnostic's."""
        subject = self.selected
        if isinstance(subject, SourcePlace):
            return subject
        return next((line.subject for line in self.lines if isinstance(line.subject, SourcePlace)), None)
