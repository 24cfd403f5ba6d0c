"""A source over the panes, as it is now or as a run was built of it, at one of its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from workbench.panes.overlays import Overlay
from workbench.panes.parts import Part
from workbench.panes.source_text import source_lines
from workbench.panes.text_lines import TextLine
from workbench.views.sources import Source

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp

_GUTTER = 8


class SourceViewer(Overlay):
    """All lines of a source; `line` counts from 1."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("o", "edit", "Open in the editor", show=False)]
    keys: ClassVar[str] = "o editor  / search  y copy  Esc close"

    if TYPE_CHECKING:
        app: ShimbenchApp

    def __init__(self, source: Source, line: int) -> None:
        rows = source_lines(source.path, source.name)
        lines = [TextLine(_numbered(number, row, line), number) for number, row in enumerate(rows, 1)]
        text = "\n".join("".join(part for part, _ in row) for row in rows)
        super().__init__(f"{source}", lines, text, indent=_GUTTER, at=line - 1)
        self.source = source

    def action_edit(self) -> None:
        """$EDITOR at the line under the cursor, in the file as it is now."""
        source, selected = self.source, self.content.selected
        path = source.path if source.run is None else self.app.root / source.name
        if not path.is_file():
            self.notify(f"{path} is there no more", severity="warning")
            return
        self.app.outside.edit(path, selected if isinstance(selected, int) else 1)


def _numbered(number: int, row: list[Part], wanted: int) -> list[Part]:
    mark = number == wanted
    return [(f" {'>' if mark else ' '}{number:4d} ", "accent" if mark else "dim"), *row]
