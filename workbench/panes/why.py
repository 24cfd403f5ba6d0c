"""The WHY pane: what failed, the cause, the evidence and the fix, as the diagnosis states them.

It is never cut: its height follows its text. One wall is shown at a time, the first on the road unless
`turn_to` went on; what merely follows from it is folded under it with a count.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from workbench.panes.parts import Ink, Inked, Part, wrapped

if TYPE_CHECKING:
    from workbench.diagnosis import Diagnosis, Evidence, Explanation


@dataclass(frozen=True)
class Target:
    """Where a piece of evidence lies: a call's row index, a line of the log, or a name in coverage."""

    kind: Literal["call", "log", "name"]
    number: int
    name: str = ""


@dataclass(frozen=True)
class WhySentence:
    """One sentence and where it comes from."""

    parts: tuple[Part, ...]
    target: Target | None = None


@dataclass(frozen=True)
class Wall:
    """All that is said of one thing that failed, with the places where `w` goes, in order."""

    title: str
    sentences: tuple[WhySentence, ...]
    targets: tuple[Target, ...]


NOTHING = Wall("", (WhySentence((("nothing has run yet", "dim"),)),), ())
_INKS: dict[str, Ink] = {"proved": "fatal", "likely": "error", "possible": "warn"}


def walls_of(explanation: Explanation | None) -> list[Wall]:
    """What to show, one by one; never empty."""
    if explanation is None:
        return [NOTHING]
    walls = explanation.walls
    if walls:
        return [_wall(wall, number, explanation) for number, wall in enumerate(walls)]
    if explanation.unexplained:
        head = WhySentence((("no rule matches; the last that may matter: ", "dim"),))
        pieces = tuple(_piece(piece, "error") for piece in explanation.unexplained)
        targets = tuple(target for piece in explanation.unexplained if (target := target_of(piece)))
        return [Wall("not explained", (head, *pieces), targets)]
    if explanation.doing:
        piece = explanation.doing[0]
        found = target_of(piece)
        return [Wall("", (_piece(piece, "dim"),), (found,) if found else ())]
    return [NOTHING]


def target_of(piece: Evidence) -> Target | None:
    """Where a piece of evidence lies."""
    if piece.call is not None:
        return Target("call", piece.call)
    if piece.log is not None:
        return Target("log", piece.log)
    return Target("name", 0, piece.name) if piece.name else None


def _piece(piece: Evidence, ink: Ink) -> WhySentence:
    return WhySentence(((piece.text, ink),), target_of(piece))


def _wall(wall: Diagnosis, number: int, explanation: Explanation) -> Wall:
    walls = explanation.walls
    met = f" [{wall.processes} processes]" if wall.processes > 1 else ""
    targets = tuple(target for piece in wall.evidence if (target := target_of(piece)))
    sentences = [
        WhySentence(
            ((wall.cause, _INKS[wall.certainty]), (f" -> {wall.what}{met}", "plain")), (targets or (None,))[0]
        )
    ]
    if wall.evidence:
        # "call 443" must not break across rows.
        places = ", ".join(
            piece.place.replace(" ", "\u00a0") if target_of(piece) else piece.place for piece in wall.evidence
        )
        sentences.append(WhySentence((("evidence: ", "dim"), (places, "accent")), (targets or (None,))[0]))
    if wall.fix:
        sentences.append(WhySentence((("fix: ", "dim"), (wall.fix, "ok"))))
    if wall.note:
        sentences.append(WhySentence((("note: ", "dim"), (wall.note, "warn"))))
    behind = (
        [each for each in explanation.diagnoses if each.consequence_of is not None] if number == 0 else []
    )
    if behind:
        rules = Counter(each.rule for each in behind)
        names = ", ".join(f"{count} x {rule}" if count > 1 else rule for rule, count in rules.items())
        sentences.append(WhySentence(((f"+ {len(behind)} that may follow from it: {names}", "dim"),)))
    others = [each.cause for each in walls[number + 1 :]]
    if others:
        sentences.append(WhySentence(((f"+ {len(others)} more by itself: {others[0]}", "dim"),)))
    return Wall(f"{number + 1} of {len(walls)}, {wall.certainty}", tuple(sentences), targets)


class WhyPane(Inked, Widget):
    """Sentences, wrapped in full; a click on one goes where it comes from."""

    DEFAULT_CSS = "WhyPane { height: auto; width: 1fr; }"

    @dataclass
    class Clicked(Message):
        """A click on a piece of evidence."""

        target: Target

    def __init__(self, *, id: str = "why") -> None:
        super().__init__(id=id)
        self.walls: list[Wall] = [NOTHING]
        self.at = 0

    @property
    def wall(self) -> Wall:
        """The one shown."""
        return self.walls[min(self.at, len(self.walls) - 1)]

    @property
    def title(self) -> str:
        """`1 of 2, proved`."""
        return self.wall.title

    @property
    def targets(self) -> list[Target]:
        """Where `w` goes, in order: through the evidence of every wall."""
        return [target for wall in self.walls for target in wall.targets]

    def turn_to(self, number: int) -> None:
        """Show the wall that the target of this number belongs to."""
        for place, wall in enumerate(self.walls):
            if number < len(wall.targets):
                self._change(self.walls, place)
                return
            number -= len(wall.targets)

    def show(self, walls: list[Wall]) -> None:
        """Replace what it says; it goes back to the first wall when that is another one."""
        if walls != self.walls:
            same = [wall.targets for wall in walls] == [wall.targets for wall in self.walls]
            self._change(walls, self.at if same else 0)  # of one that hangs, the age alone changes

    def _change(self, walls: list[Wall], at: int) -> None:
        before = len(self._rows(self.size.width))
        self.walls, self.at = walls, min(at, len(walls) - 1)
        self.refresh(layout=before != len(self._rows(self.size.width)))

    def _rows(self, width: int) -> list[tuple[list[Part], WhySentence]]:
        return [
            (row, piece)
            for piece in self.wall.sentences
            for row in wrapped([(" ", "plain"), *piece.parts], width, 3, words=True)
        ]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as the text takes."""
        return len(self._rows(max(width, 10)))

    def render_line(self, y: int) -> Strip:
        """One row of it."""
        width = self.size.width
        rows = self._rows(max(width, 10))
        segments: list[Segment] = self.segments(rows[y][0]) if y < len(rows) else []
        return Strip(segments).adjust_cell_length(width).apply_style(self.rich_style)

    def on_click(self, event: events.Click) -> None:
        """Go where the sentence comes from."""
        rows = self._rows(max(self.size.width, 10))
        if event.y < len(rows) and (target := rows[event.y][1].target) is not None:
            self.post_message(self.Clicked(target))
