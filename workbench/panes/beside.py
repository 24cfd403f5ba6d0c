"""Two runs side by side: what differs on top, first divergence first, and the aligned calls under it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from sessions import SessionError
from sessions.decode import CallDecoder
from sessions.diff import Comparison, Divergence, compare
from sessions.diff.beside import Beside, BesideLine
from workbench import trouble
from workbench.errors import ShimbenchError
from workbench.panes.call_cells import call_parts
from workbench.panes.format import count_text, elide
from workbench.panes.frame import Rule, Tab
from workbench.panes.header import Bar
from workbench.panes.later import later
from workbench.panes.lines import LineView
from workbench.panes.parts import Ink, Part, column, parts_text
from workbench.panes.prompt import Prompt
from workbench.panes.text_lines import TextLine, TextLines
from workbench.views.demangle import with_demangled

if TYPE_CHECKING:
    from sessions import Session
    from workbench.app import ShimbenchApp

Opener = Callable[[], tuple["Session", int | None]]
_KEYS = (
    ("n N", "differences"), ("Tab", "other part"), ("Enter", "go there"), ("Esc", "close"),
)  # fmt: skip
_KEPT = 20_000  # divergences of a thread that are marked in the tree


@dataclass(frozen=True)
class Found:
    """A comparison with the lines it is shown as, and what was diagnosed on one side alone."""

    comparison: Comparison
    beside: Beside
    diagnosed: tuple[list[str], list[str]]


def find(open_a: Opener, open_b: Opener) -> Found:
    """Compare two runs. SessionError, ShimbenchError when they can't be."""
    from workbench.commands.diff import diagnoses_only

    (a, run_a), (b, run_b) = open_a(), open_b()
    comparison = compare(a, b, run_a, run_b, limit=_KEPT)
    return Found(comparison, Beside(comparison), diagnoses_only(comparison))


class DifferencesList(TextLines):
    """Each way in which B is not as A, in the order of time; then names and diagnoses of one side alone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.go", "Go there", show=False),
        Binding("n", "screen.step(1)", "Next difference", show=False),
        Binding("N", "screen.step(-1)", "Previous difference", show=False),
    ]
    empty = "comparing …"

    def show(self, found: Found) -> None:
        """List them."""
        comparison = found.comparison
        lines = [self._line(each) for each in comparison.divergences]
        for title, (gone, new) in (
            ("asked for", comparison.asked_only),
            ("without an answer", comparison.missing_only),
            ("diagnosed", found.diagnosed),
        ):
            for which, names in (("no longer", gone), ("newly", new)):
                lines += [TextLine([(f" {which} {title}: ", "warn"), (name, "name")]) for name in names]
        self.empty = "no difference"
        self.set_lines(lines)

    @staticmethod
    def _line(each: Divergence) -> TextLine:
        more = f" ({each.calls} calls)" if each.calls > 1 else ""
        more += f", {each.repeats} times" if each.repeats > 1 else ""
        row = each.a if each.a is not None else each.b
        place = f"call {row + 1}" if row is not None else ""
        parts = [column(f" {each.at_ns / 1e9:9.3f} s", 13, "dim"), column(place, 14, "accent")]
        detail = f"  {each.detail}" if each.detail else ""
        said: list[Part] = [(f"{each.kind}{more}", "error"), (f" in {each.role}", "dim"), (detail, "plain")]
        return TextLine([*parts, *said], each)


class BesideView(LineView):
    """The aligned calls; what differs is red, what one side alone has stands alone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.open", "Open", show=False),
        Binding("n", "screen.step(1)", "Next difference", show=False),
        Binding("N", "screen.step(-1)", "Previous difference", show=False),
    ]

    def __init__(self, *, id: str = "beside-calls") -> None:
        super().__init__(id=id)
        self.beside: Beside | None = None
        self._decoders: tuple[CallDecoder, CallDecoder] | None = None

    def show(self, found: Found) -> None:
        """Show its lines."""
        self.beside = found.beside
        schemas = found.comparison.a.session.schema, found.comparison.b.session.schema
        self._decoders = CallDecoder(schemas[0]), CallDecoder(schemas[1])
        self.lines_changed()

    def count(self) -> int:
        """As many as both runs have, aligned."""
        return len(self.beside) if self.beside is not None else 0

    def line_key(self, index: int) -> Hashable:
        """A comparison stands still."""
        return index

    def line(self, index: int) -> BesideLine | None:
        """What a line is about."""
        return self.beside.line(index) if self.beside is not None and index < self.count() else None

    def draw(self, index: int, width: int) -> list[Part]:
        """A head, or two calls."""
        line = self.line(index)
        if line is None:
            return []
        if line.kind != "call":
            return [(f" {line.text}" if line.kind == "process" else f"   {line.text}",
                     "head" if line.kind == "process" else "dim")]  # fmt: skip
        room = max((min(width, 400) - 3) // 2, 20)
        sign = "<" if line.b is None else ">" if line.a is None else "≠" if line.differs else " "
        left, right = self._side(0, line.a, line, room), self._side(1, line.b, line, room)
        return [*left, (f" {sign} ", "fatal" if line.differs else "rule"), *right]

    def _side(self, number: int, row: int | None, line: BesideLine, room: int) -> list[Part]:
        if row is None or self.beside is None or self._decoders is None:
            return [(" " * room, "plain")]
        side = (self.beside.found.a, self.beside.found.b)[number]
        nesting = side.session.calls.row(row).nesting
        ink: Ink = "error" if line.differs else "plain"
        call = self._decoders[number].call(side.session, row)
        call = replace(
            call, arguments=[replace(each, text=with_demangled(each.text)) for each in call.arguments]
        )
        indent, width = "  " * min(nesting, 6), room - 10
        *given, arrow, result, out = call_parts(call, ink, width - len(indent))
        came = parts_text([arrow, result])  # is what differs most often: it stays readable
        text = elide(indent + parts_text(given), width - len(came)) + came + out[0]
        number_part = column(str(row + 1), 8, "number", right=True)
        return [number_part, ("  ", "plain"), column(text, width, ink)]


class BesideScreen(ModalScreen[object]):
    """Dismissed with a row of the session that is open in the workbench, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Close", show=False),
        Binding("right_square_bracket", "step(1)", "Next difference", show=False),
        Binding("left_square_bracket", "step(-1)", "Previous difference", show=False),
    ]

    def __init__(self, title: str, open_a: Opener, open_b: Opener) -> None:
        super().__init__()
        self.heading = title
        self.found: Found | None = None
        self.problem = ""
        self.differences = DifferencesList(id="beside-differences")
        self.calls = BesideView()
        self._openers = open_a, open_b

    def compose(self) -> ComposeResult:
        """What differs, the calls, the detail of the one under the cursor."""
        yield Rule([Tab("", "COMPARE", "beside")], "┌", "┐", id="beside-rule")
        yield self.differences
        yield Rule([Tab("", "A", "beside")], "├", "┤", id="beside-sides")
        yield self.calls
        yield Bar(id="beside-detail")
        yield Bar(id="beside-keys")
        yield Prompt()

    def on_mount(self) -> None:
        """Compare in a thread: two runs of a million calls take seconds."""
        self.query_one("#beside-rule", Rule).show(info=self.heading)
        keys: list[Part] = []
        for key, words in _KEYS:
            keys += [(key, "accent"), (f" {words}  ", "dim")]
        self.query_one("#beside-keys", Bar).show(keys)
        self.differences.focus()
        threading.Thread(target=self._find, name="compare", daemon=True).start()
        later(self, 0.05, self._look)

    def _find(self) -> None:
        try:
            self.found = find(*self._openers)
        except (SessionError, ShimbenchError, OSError) as error:
            self.problem = str(error) or repr(error)
        except Exception as error:
            self.problem = trouble.keep(error, "compare")

    def _look(self) -> None:
        if self.problem:
            self.differences.empty = self.problem
            self.differences.refresh()
        elif self.found is None:
            later(self, 0.05, self._look)
        else:
            self._show(self.found)

    def _show(self, found: Found) -> None:
        comparison = found.comparison
        counts = ", ".join(f"{count_text(count)} x {kind}" for kind, count in comparison.counts.most_common())
        self.query_one("#beside-rule", Rule).show(notes=counts or "no difference")
        a, b = (f"{side.session.path.name} run {side.run}, {count_text(side.calls())} calls"
                for side in (comparison.a, comparison.b))  # fmt: skip
        self.query_one("#beside-sides", Rule).show(info=f"{a}   |   B  {b}")
        self.differences.show(found)
        self.calls.show(found)
        if len(found.beside.differences):
            self.calls.move_to(int(found.beside.differences[0]), by_user=False, centre=True)
        self._detail()

    def action_other(self) -> None:
        """From what differs to the calls, and back."""
        (self.differences if self.calls.has_focus else self.calls).focus()

    def action_step(self, step: int) -> None:
        """To the next (1) or previous line that differs, round at the ends."""
        if self.found is None or not len(self.found.beside.differences):
            return
        lines, at = self.found.beside.differences, self.calls.cursor
        beyond = lines[lines > at] if step > 0 else lines[lines < at]
        if not len(beyond):
            beyond = lines
        self.calls.move_to(int(beyond[0] if step > 0 else beyond[-1]), by_user=False, centre=True)
        self._detail()

    def action_go(self) -> None:
        """From a difference to the line where it stands."""
        each = self.differences.selected
        index = self.found.beside.index_of(each) if self.found and isinstance(each, Divergence) else None
        if index is not None:
            self.calls.focus()
            self.calls.move_to(index, by_user=False, centre=True)
            self._detail()

    def action_open(self) -> None:
        """Close, and go to this call in the workbench, if its session is the one open there."""
        line = self.calls.line(self.calls.cursor)
        if self.found is None or line is None:
            return
        here = getattr(self.app, "session", None)
        for side, row in ((self.found.comparison.b, line.b), (self.found.comparison.a, line.a)):
            if row is not None and here is not None and side.session.path == here.path:
                self.dismiss(row)
                return
        self.notify("neither side is the session that is open here", severity="warning")

    def on_line_view_moved(self, message: LineView.Moved) -> None:
        """The detail is that of the line under the cursor."""
        message.stop()
        self._detail()

    def on_line_view_chosen(self, message: LineView.Chosen) -> None:
        """A double click is Enter."""
        message.stop()
        if message.view is self.calls:
            self.action_open()
        else:
            self.action_go()

    def _detail(self) -> None:
        line = self.calls.line(self.calls.cursor)
        each = line.divergence if line is not None else None
        parts: list[Part] = []
        if each is not None:
            parts = [(each.kind, "error"), (f"  {each.detail}", "plain"), (f"  in {each.role}", "dim")]
        elif line is not None and line.differs:
            parts = [("only in " + ("A" if line.b is None else "B"), "error")]
        self.query_one("#beside-detail", Bar).show(parts)


def show_beside(app: ShimbenchApp, a: str, b: str) -> None:
    """Two runs, each SESSION[:RUN], over the panes of `app`; Enter on a call of its session goes there."""
    from workbench.commands.diff import side_of

    def chosen(row: object) -> None:
        if isinstance(row, int):
            app.jumps.to_call(str(row + 1))

    app.push_screen(BesideScreen(f"{a}  {b}", partial(side_of, a), partial(side_of, b)), chosen)
