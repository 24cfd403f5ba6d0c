"""The device pane: what the target made of the device, derived from its calls; host figures beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.binding import BindingType

from workbench.panes.actions import bindings
from workbench.panes.format import bytes_text, count_text
from workbench.panes.kernels import HEADS, PTX, KernelLines
from workbench.panes.parts import Ink, Part, column, parts_text
from workbench.panes.ptx_text import coloured
from workbench.panes.text_lines import TextLine, TextLines
from workbench.views.demangle import demangled

if TYPE_CHECKING:
    from sessions import Session
    from workbench.views.device import DeviceState
    from workbench.views.held import ProcessDevice

_BAR = 30
_FEW = 8  # allocations and kernels of a process shown before Enter opens the rest

Host = Mapping[str, Any]


class DevicePane(TextLines):
    """One part a process: memory, allocations, contexts, streams, modules, kernels, graphs. Or its kernels by
    time, and one of them with its PTX."""

    where: ClassVar[str] = "device"
    BINDINGS: ClassVar[list[BindingType]] = bindings("device")
    empty = "no call has touched the device yet"

    def __init__(self, device: DeviceState, session: Session, *, id: str = "device") -> None:
        super().__init__(id=id)
        self.device = device
        self.session = session
        self.open: set[str] = set()
        self.kernels: KernelLines | None = None  # while they are shown
        self._left: list[int] = []  # cursors of what the kernels, and one of them, were opened from
        self.coming = ""  # said instead, while the state at a moment is not known yet

    def show_rows(self) -> None:
        """Draw what the view and the forwarder say now."""
        if self.coming:
            self.set_lines([TextLine([(self.coming, "warn")])])
            return
        if self.kernels is not None:
            self.set_lines(self.kernels.lines(self.session))
            return
        host = self.device.host
        lines: list[TextLine] = []
        if self.device.executes is False:
            lines.append(
                TextLine(
                    [
                        (" KERNELS NOT EXECUTED ", "banner"),
                        (" count-only: launches are only counted", "fatal"),
                    ]
                )
            )
        lines += [
            TextLine([("host disagrees: ", "error"), (text, "plain")]) for text in self.device.disagreements()
        ]
        if isinstance(host.get("device"), dict):
            lines += _host_lines(host)
        for state in self.device.processes.values():
            lines += self._process(state, _client_of(host, self.session.processes[state.process].pid))
        self.set_lines(lines)

    def _process(self, state: ProcessDevice, client: Host | None) -> list[TextLine]:
        process = self.session.processes[state.process]
        name = process.exe.rsplit("/", 1)[-1]
        ended = "  ended, the device has all of it back" if state.ended else ""
        lines = [TextLine([(f"{process.pid} {name}", "head"), (f"  run {process.run}{ended}", "dim")])]
        lines.append(TextLine(memory_bar(state.memory_used, state.memory_total)))
        if client is not None:
            lines.append(_client_line(client))
        counts = [
            ("contexts", len(state.contexts)),
            ("streams", len(state.streams)),
            ("events", len(state.events)),
            ("modules", len(state.modules)),
            ("graphs", len(state.graphs)),
        ]
        parts: list[Part] = [("  ", "plain")]
        for title, amount in counts:
            parts += [(f"{title} ", "dim"), (f"{count_text(amount)}  ", "value" if amount else "dim")]
        if state.pinned:
            parts += [("pinned ", "dim"), (bytes_text(state.pinned), "value")]
        return [*lines, TextLine(parts), *self._allocations(state), *self._kernels(state)]

    def _allocations(self, state: ProcessDevice) -> list[TextLine]:
        ranked = state.allocations
        if not ranked:
            return []
        owners: Counter[str] = Counter()
        for allocation in ranked:
            owners[allocation.owner or "?"] += allocation.size
        total = ", ".join(f"{owner} {bytes_text(size)}" for owner, size in owners.most_common(3))
        count = count_text(len(ranked))
        lines = [TextLine([("  allocations ", "accent"), (f"{count}  ", "value"), (total, "dim")])]
        key = f"allocations {state.process}"
        for allocation in ranked if key in self.open else ranked[:_FEW]:
            lines.append(
                TextLine(
                    [
                        column(bytes_text(allocation.size), 13, "value", right=True),
                        (f"  0x{allocation.address:x}  ", "number"),
                        column(allocation.kind, 9, "dim"),
                        (allocation.owner or "?", "plain"),
                        (f"  call {allocation.call}", "dim"),
                    ],
                    key,
                )
            )
        return lines + self._rest(key, len(ranked))

    def _kernels(self, state: ProcessDevice) -> list[TextLine]:
        ranked = state.kernels
        if not ranked:
            return []
        launches = sum(kernel.launches for kernel in ranked)
        lines = [
            TextLine(
                [
                    ("  kernels ", "accent"),
                    (f"{count_text(len(ranked))}  ", "value"),
                    (f"{count_text(launches)} launches, K shows them by time", "dim"),
                ]
            )
        ]
        key = f"kernels {state.process}"
        for kernel in ranked if key in self.open else ranked[:_FEW]:
            launched = column(count_text(kernel.launches), 13, "value", right=True)
            lines.append(TextLine([launched, (" x  ", "dim"), (demangled(kernel.name), "name")], key))
        return lines + self._rest(key, len(ranked))

    def _rest(self, key: str, amount: int) -> list[TextLine]:
        if amount <= _FEW:
            return []
        words = (
            "Enter folds them"
            if key in self.open
            else f"… {count_text(amount - _FEW)} more, Enter shows them"
        )
        return [TextLine([(f"                 {words}", "dim")], key)]

    def draw(self, index: int, width: int) -> list[Part]:
        """PTX is coloured when it is seen."""
        parts = super().draw(index, width)
        if parts and parts[-1][1] == PTX:
            parts[-1:] = coloured(parts[-1][0])
        return parts

    def line_text(self, index: int) -> str:
        """As it is, without colours."""
        return parts_text(super().draw(index, 0))

    def show_kernels(self) -> None:
        """The kernels by time instead of all the rest."""
        if self.kernels is None:
            self.kernels = KernelLines()
            self._enter()

    def back(self) -> bool:
        """From a kernel to all of them, and from there to the rest; False: nothing was open."""
        if self.kernels is None:
            return False
        if self.kernels.opened is not None:
            self.kernels.opened = None
        elif self.kernels.filter_text:
            self.filter_kernels("")
            return True
        else:
            self.kernels = None
        self.show_rows()
        self.move_to(self._left.pop(), by_user=False)
        return True

    def no_table(self) -> str | None:
        """Why kernels can't be sorted or filtered."""
        shown = self.kernels is not None and self.kernels.opened is None
        return None if shown else "the kernels are not shown: K"

    def order_kernels(self) -> None:
        """Sort them by the next column."""
        if self.kernels is not None:
            self.kernels.next_order()
            self._changed()

    def filter_kernels(self, text: str) -> None:
        """Show only those whose names all words are in."""
        if self.kernels is not None:
            self.kernels.filter_text = text
            self._changed()

    def _changed(self) -> None:
        self.show_rows()
        self.post_message(self.StatusChanged(self))

    def on_click(self, event: events.Click) -> None:
        """On a column's head: sort by it."""
        index = self.line_at(event.y)
        at_heads = index is not None and index < len(self.lines) and self.lines[index].subject == HEADS
        if self.kernels is not None and at_heads:
            self.kernels.order_at(event.x + self.scroll_offset.x)
            self._changed()

    def _enter(self) -> None:
        self._left.append(self.cursor)
        self.show_rows()
        self.move_to(0, by_user=False)

    def toggle(self) -> bool:
        """Open or close the list under the cursor, or open the kernel there."""
        subject = self.selected
        if self.kernels is not None:
            if not self.kernels.choose(subject):
                return False
            self._enter()
            return True
        if not isinstance(subject, str):
            return False
        self.open ^= {subject}
        self.show_rows()
        return True

    def status(self) -> str:
        """The banner in short, or what is shown instead of the device."""
        if self.kernels is not None:
            return self.kernels.status()
        return "kernels not executed" if self.device.executes is False else ""


def _host_lines(host: Host) -> list[TextLine]:
    device = host["device"]
    words = f"  compute capability {device.get('compute_capability', '?')}  {device.get('pci', '')}"
    used, total = int(host.get("memory_used", 0)), int(device.get("memory", 0))
    lines = [
        TextLine([(str(device.get("name", "device")), "head"), (words, "dim")]),
        TextLine([*memory_bar(used, total), ("  all clients", "dim")]),
    ]
    busy = host.get("busy")
    if isinstance(busy, dict):
        lines.append(TextLine(_busy_bar(int(busy.get("kernels", 0)), int(busy.get("memory", 0)))))
    return lines


def _client_line(client: Host) -> TextLine:
    parts: list[Part] = [("  host   ", "accent"), (bytes_text(int(client.get("memory", 0))), "value")]
    for title in ("launches", "calls", "errors"):
        parts += [(f"  {title} ", "dim"), (count_text(int(client.get(title, 0))), "value")]
    return TextLine(parts)


def _client_of(host: Host, pid: int) -> Host | None:
    return next((client for client in host.get("clients", ()) if client.get("pid") == pid), None)


def memory_bar(used: int, total: int) -> list[Part]:
    """`  memory ███░░░░░ 1.2 GiB of 8.0 GiB`."""
    parts: list[Part] = [("  memory ", "accent")]
    if not total:
        return [*parts, (f"{bytes_text(used)}, total not asked for", "value")]
    share = used / total
    ink: Ink = "error" if share > 0.95 else "warn" if share > 0.8 else "ok"
    return [*parts, *_bar(share, ink), (f"{bytes_text(used)} of {bytes_text(total)}", "value")]


def _busy_bar(kernels: int, memory: int) -> list[Part]:
    """`  busy   ███░░░░░ 92 % kernels, 95 % with copies`: of the last second, as NVML has it."""
    parts: list[Part] = [("  busy   ", "accent"), *_bar(kernels / 100, "ok"), (f"{kernels} %", "value")]
    return [*parts, (f" kernels, {memory} % with copies", "dim")]


def _bar(share: float, ink: Ink) -> list[Part]:
    filled = max(min(round(_BAR * share), _BAR), 1 if share > 0 else 0)
    return [("█" * filled, ink), ("░" * (_BAR - filled), "rule"), (" ", "plain")]
