"""Breakpoints as the workbench has them: set and cleared, what they stopped, and gdb on top of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from workbench.filter.breakpoint import Breakpoint, compile_breakpoint
from workbench.filter.errors import FilterError
from workbench.panes.format import elide
from workbench.panes.parts import Part
from workbench.panes.stacks import no_debugger
from workbench.tap.collector import CollectorError
from workbench.views.stops import Stop, Stops

if TYPE_CHECKING:
    from sessions import Process, Session
    from workbench.app import ShimbenchApp

SAVED = "this is a saved session: nothing runs"


class Breaks:
    """The breakpoints of this workbench and the calls they stopped; `app` is a ShimbenchApp."""

    def __init__(self, app: ShimbenchApp) -> None:
        self.app = app
        self.set: dict[str, Breakpoint] = {}

    @property
    def session(self) -> Session:
        """The session of the app."""
        return self.app.session

    @property
    def stops(self) -> Stops:
        """What is stopped now."""
        return self.app.calls.stops

    # What the cursor is on

    def _selected(self) -> tuple[int, int] | None:
        """Function and process of the selected call."""
        flying = self.app.calls.selected_in_flight()
        if flying is not None:
            return flying.function, flying.process
        number = self.app.calls.selected_row()
        if number is None:
            return None
        row = self.session.calls.row(number)
        return row.function, row.process

    def _selected_stop(self) -> Stop | None:
        flying = self.app.calls.selected_in_flight()
        return self.stops.of((flying.process, flying.thread, flying.sequence)) if flying else None

    def _process(self) -> Process | None:
        """The process of the selected call if it lives, else that of the oldest stopped one."""
        selected = self._selected()
        stopped = [stop.process for stop in self.stops.now()]
        for index in (*([selected[1]] if selected else []), *stopped):
            process = self.session.processes[index]
            if process.ended_ns is None:
                return process
        return None

    # Why not

    def no_breakpoint(self) -> str | None:
        """Why no breakpoint can be set on the selected call."""
        if self.app.loop is None:
            return SAVED
        selected = self._selected()
        if selected is None:
            return "no call is selected: 1, then j and k; or :break GLOB"
        if selected[0] not in self.session.schema.functions:
            return "only calls of functions that the API model knows can stop"
        return None

    def not_live(self) -> str | None:
        """Why breakpoints mean nothing here."""
        return SAVED if self.app.loop is None else None

    def none_set(self) -> str | None:
        """Why there is nothing to clear."""
        return self.not_live() or (None if self.set else "no breakpoint is set: B sets one")

    def none_stopped(self) -> str | None:
        """Why nothing can be continued."""
        return self.not_live() or (None if self.stops.now() else "no call is stopped: B sets a breakpoint")

    def no_gdb(self) -> str | None:
        """Why `D` can do nothing here."""
        if self.app.loop is None:
            return SAVED
        process = self._process()
        if process is None:
            return "the process of the selected call has ended; select a call of one that lives"
        return no_debugger() or no_attach(process.pid)

    # What the keys do

    def toggle_selected(self) -> None:
        """Set a breakpoint on the selected call's function, or clear the one that stands on it."""
        selected = self._selected()
        if selected is not None:
            self.toggle(self.session.schema.function_name(selected[0]))

    def toggle(self, text: str) -> bool:
        """Set the breakpoint, or clear it when it is set; False when it means nothing, which is said."""
        try:
            wanted = compile_breakpoint(text, self.session.schema)
            new = dict(self.set)
            cleared = new.pop(wanted.text, None)
            if cleared is None:
                new[wanted.text] = wanted
            self._tell(new)
        except FilterError as error:
            self.app.notify(f"breakpoint, column {error.column}: {error.message}", severity="error")
            return False
        except CollectorError as error:
            self.app.notify(str(error), severity="error")
            return False
        where = "" if len(wanted.rows) == 1 else f", {len(wanted.rows)} functions"
        self.app.notify(f"breakpoint {'cleared' if cleared else 'set'}: {wanted.text}{where}")
        return True

    def clear(self) -> None:
        """Clear all of them; what they stopped stays stopped until it is continued."""
        self._tell({})
        self.app.notify("all breakpoints are cleared")

    def _tell(self, breakpoints: dict[str, Breakpoint]) -> None:
        """A later breakpoint on a function takes the place of an earlier one on it."""
        assert self.app.loop is not None
        rows = {row.function: row for each in breakpoints.values() for row in each.rows}
        self.app.loop.collector.set_breakpoints(rows.values())
        self.set = breakpoints

    def resume(self) -> None:
        """Let the selected stopped call go on; with none selected, all of them."""
        assert self.app.loop is not None
        stop = self._selected_stop()
        try:
            self.app.loop.collector.release(None if stop is None else stop.identity)
        except CollectorError as error:
            self.app.notify(str(error), severity="error")

    def attach_gdb(self) -> None:
        """gdb on the terminal, the screen given over to it."""
        process = self._process()
        if process is None:
            return
        self.app.outside.lend(lambda: run_gdb(process.pid, self.app.root))

    # What is said

    def sentence(self, stop: Stop) -> str:
        """`stopped at cuMemAlloc_v2 in llama-server 1234`, with the result it stopped for."""
        process = self.session.processes[stop.process]
        name = PurePosixPath(process.exe or "?").name
        words = f"stopped at {self.session.schema.function_name(stop.function)} in {name} {process.pid}"
        if stop.result is None:
            return words
        function = self.session.schema.functions.get(stop.function)
        enum = function.result if function is not None else "CUresult"
        return f"{words} -> {self.session.schema.enum_name(enum, stop.result) or stop.result}"

    def header(self, width: int) -> list[Part]:
        """What the header says while calls are stopped; nothing when none is."""
        stopped = self.stops.now()
        if not stopped:
            return []
        more = f", and {len(stopped) - 1} more" if len(stopped) > 1 else ""
        keys = "  c continues  D gdb   "
        words = elide(self.sentence(stopped[0]), max(width - len(more) - len(keys) - 2, 20))
        return [(words.upper()[:7] + words[7:] + more, "fatal"), (keys, "dim")]


def no_attach(pid: int) -> str | None:
    """Why a debugger can't attach to a process; None when it can."""
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))  # asks the kernel what attaching asks
    except FileNotFoundError:
        return f"{pid} has ended"
    except PermissionError:
        scope = Path("/proc/sys/kernel/yama/ptrace_scope")
        value = scope.read_text().strip() if scope.is_file() else "0"
        if value == "0":
            return f"the kernel does not let you attach to {pid}: run shimbench as its user, or as root"
        return (
            f"the kernel does not let you attach to {pid} (kernel.yama.ptrace_scope is {value}): "
            "sudo sysctl kernel.yama.ptrace_scope=0"
        )
    return None


def run_gdb(pid: int, root: Path) -> str | None:
    """gdb on the terminal, attached to a process, until it is left; what went wrong."""
    try:
        done = subprocess.run(["gdb", "-q", "-p", str(pid)], cwd=root)
    except OSError as error:
        return f"gdb: {error.strerror}"
    return None if done.returncode == 0 else f"gdb ended with {done.returncode}"
