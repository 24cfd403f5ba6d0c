"""The processes pane: the target's tree, commands, environment that matters, libraries really mapped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from workbench.panes.format import count_text, duration_text, ended_words
from workbench.panes.parts import Ink, Part
from workbench.panes.text_lines import TextLine, TextLines

if TYPE_CHECKING:
    from sessions import Process, Session


class ProcessesPane(TextLines):
    """A tree a run; Enter opens a process in full."""

    where: ClassVar[str] = "processes"
    empty = "no process has been started yet"

    def __init__(self, session: Session, *, id: str = "processes") -> None:
        super().__init__(id=id)
        self.session = session
        self.open: set[int] = set()

    def show_rows(self) -> None:
        """Draw what the session knows now, the newest run first."""
        children: dict[int, list[Process]] = {}
        known = {process.index for process in self.session.processes}
        for process in self.session.processes:
            parent = process.parent_index if process.parent_index in known else -1
            children.setdefault(parent, []).append(process)
        lines: list[TextLine] = []
        run: int | None = None
        roots = sorted(children.get(-1, []), key=lambda process: (-process.run, process.index))
        for root in roots:
            if root.run != run:
                run = root.run
                lines.append(TextLine([(f"run {run}", "head")]))
            lines += self._tree(root, children, "", 0)
        self.set_lines(lines)

    def _tree(
        self, process: Process, children: dict[int, list[Process]], indent: str, depth: int
    ) -> list[TextLine]:
        name = process.exe.rsplit("/", 1)[-1] or "?"
        ending, ink = how_it_ended(process)
        parts: list[Part] = [(indent, "rule"), (f"{process.pid} ", "number"), (f"{name}  ", "name")]
        if process.role not in ("", "target"):
            parts.append((f"{process.role}  ", "accent"))
        parts.append((ending, ink))
        if process.lost:
            parts.append((f"  {count_text(process.lost)} calls LOST", "fatal"))
        lines = [TextLine(parts, process.index)]
        under = indent.replace("├─", "│ ").replace("└─", "  ") + "   "
        if process.unrecorded:
            advice = f"; {process.advice}" if process.advice else ""
            words = f"NOT RECORDED: {process.unrecorded}{advice}"
            lines.append(TextLine([(under, "rule"), (words, "warn")], process.index))
        command = " ".join(self._short(word) for word in process.argv)
        lines.append(TextLine([(under, "rule"), (command, "dim")], process.index))
        for soname, path in mapped_libraries(process):
            lines.append(
                TextLine(
                    [(under, "rule"), (f"{soname} ", "accent"), (self._short(path), "plain")], process.index
                )
            )
        if process.index in self.open:
            lines.append(
                TextLine([(under, "rule"), (f"in {self._short(process.cwd)}", "dim")], process.index)
            )
            for key, value in sorted(process.env.items()):
                lines.append(
                    TextLine([(under, "rule"), (f"{key}=", "accent"), (value, "plain")], process.index)
                )
        following = children.get(process.index, [])
        trunk = indent.replace("├─", "│ ").replace("└─", "  ")
        for number, child in enumerate(following):
            branch = "└─" if number == len(following) - 1 else "├─"
            lines += self._tree(child, children, f"{trunk}{branch}", depth + 1)
        return lines

    def _short(self, path: str) -> str:
        """A path with `session` for this session's folder and `~` for home."""
        for folder, name in ((str(self.session.path.resolve()), "session"), (str(Path.home()), "~")):
            if path == folder or path.startswith(folder + "/"):
                return name + path[len(folder) :]
        return path

    def toggle(self) -> bool:
        """Open or close the process under the cursor: directory and environment."""
        subject = self.selected
        if not isinstance(subject, int):
            return False
        self.open ^= {subject}
        self.show_rows()
        return True

    def status(self) -> str:
        """How many there are, and how many are alive."""
        alive = sum(process.ended_ns is None for process in self.session.processes)
        return f"{len(self.session.processes)}, {alive} alive" if self.session.processes else ""


def mapped_libraries(process: Process) -> list[tuple[str, str]]:
    """(soname, path) of each driver, NVML or cuBLAS library a process really mapped."""
    found: dict[tuple[str, str], None] = {}
    for mapping in process.maps:
        name = mapping.soname or mapping.path.rsplit("/", 1)[-1]
        if name.startswith(("libcuda.so", "libnvidia-ml.so", "libcublas", "libcudart.so")):
            found[(name, mapping.path)] = None
    return sorted(found)


def how_it_ended(process: Process) -> tuple[str, Ink]:
    """Alive, an exit status, or the signal that killed it."""
    if process.ended_ns is None:
        return "alive", "ok"
    after = f" after {duration_text(process.ended_ns - process.started_ns)}"
    if process.ended_for:
        return f"{ended_words(process.ended_for)}{after}", "dim"
    if process.signal:
        return f"killed by {signal_name(process.signal)}{after}", "error"
    if process.exit_code is None:
        return f"ended{after}", "dim"
    return f"exit {process.exit_code}{after}", "error" if process.exit_code else "dim"


def signal_name(number: int) -> str:
    """SIGKILL for 9."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
