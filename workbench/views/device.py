"""The state of the device as the recorded calls show it, for any shim: what each process holds.

What a forwarder tells of itself stands beside it; where the two disagree, that is said.

Launches are counted by numpy over whole columns; only calls that make or destroy something, which
are few, are looked at one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sessions.decode import UNRETURNED
from sessions.items import words_of
from workbench.views.device_calls import HANDLERS, LAUNCHES, ChangingCall, Handler
from workbench.views.held import ProcessDevice
from workbench.views.tally import Tally

if TYPE_CHECKING:
    from sessions import Session
    from sessions.part import Part

BATCH = 1 << 20
_SIZE = 1 << 16
_ROUNDING = 4096  # bytes an allocation may take more than was asked for
_FULL = ("time", "process", "function", "caller", "payload", "arg0", "arg1", "arg2")


class DeviceState:
    """What the processes of one run hold; of the newest run unless told."""

    def __init__(self, run: int | None = None) -> None:
        self.wanted_run = run
        self.run = -1
        self.processes: dict[int, ProcessDevice] = {}
        self.host: dict[str, Any] = {}  #: the forwarder's last state line (host/STATE.md), if it has one
        self._host_ns = 0
        self._session: Session | None = None
        self._scanned = 0
        self._events = 0

    @property
    def memory_total(self) -> int:
        """Bytes of the device, as any process was told; 0 when none asked."""
        told = [process.memory_total for process in self.processes.values() if process.memory_total]
        return told[-1] if told else 0

    @property
    def memory_used(self) -> int:
        """Bytes of device memory that living processes hold."""
        return sum(process.memory_used for process in self.processes.values() if not process.ended)

    @property
    def executes(self) -> bool | None:
        """Whether the forwarder's device executes kernels; None when no forwarder says so."""
        device = self.host.get("device")
        return device.get("executes_kernels") if isinstance(device, dict) else None

    def disagreements(self) -> list[str]:
        """Where the forwarder's figures are not those of the calls, for living processes."""
        if self._session is None:
            return []
        by_pid = {
            self._session.processes[device.process].pid: device
            for device in self.processes.values()
            if not device.ended and device.changed_ns <= self._host_ns
        }
        found = []
        for client in self.host.get("clients", []):
            device = by_pid.get(client.get("pid"))
            if device is None:
                continue
            more = client.get("memory", device.memory_used) - client.get("variables", 0) - device.memory_used
            # An allocator rounds each size up; the calls only tell what was asked for.
            if not 0 <= more < _ROUNDING * max(len(device.allocations), 1):
                found.append(
                    f"process {client['pid']} holds {device.memory_used} bytes by its calls, "
                    f"{client['memory']} on the host"
                )
        return found

    def update(self, session: Session, stop: int | None = None) -> bool:
        """Take in rows recorded since, up to `stop`; True if anything may have changed."""
        if session is not self._session:
            self._session, self._scanned, self._events, self.run, self.host = session, 0, 0, -1, {}
            self._prepare(session)
        run = self.wanted_run
        if run is None:
            run = session.newest_run
        if run != self.run:
            self.run, self.processes = run, {}
        in_run = {process.index for process in session.processes if process.run == run}
        total = len(session.calls) if stop is None else stop
        changed = self._scanned < total or self._events < len(session.events)
        self._take_host(session)
        while self._scanned < total:
            end = min(self._scanned + BATCH, total)
            self._take(session, session.calls.part(self._scanned, end).of(in_run).without(UNRETURNED))
            self._scanned = end
        for index, device in self.processes.items():
            ended = session.processes[index].ended_ns is not None
            changed, device.ended = changed or ended != device.ended, ended
        return changed

    def _take_host(self, session: Session) -> None:
        for event in session.events[self._events :]:
            if event.kind == "host" and isinstance(event.fields.get("device"), dict):
                self.host, self._host_ns = event.fields, event.time_ns
        self._events = len(session.events)

    def saved(self) -> list[dict[str, Any]]:
        """What the processes hold as plain JSON, for resume()."""
        return [held.as_json() for held in self.processes.values()]

    def resume(self, session: Session, run: int, scanned: int, saved: list[dict[str, Any]]) -> None:
        """Be what had been saved when `scanned` rows of a session had been taken in, of a run.

        KeyError, TypeError or ValueError when that is nothing that saved() writes.
        """
        self._session, self._scanned, self._events, self.run = session, scanned, 0, run
        self._prepare(session)
        held = map(ProcessDevice.from_json, saved)
        self.processes = {device.process: device for device in held}

    def _prepare(self, session: Session) -> None:
        """Which function numbers mean something, in this session's schema."""
        self._owners: dict[tuple[int, int], str] = {}
        self._tally = Tally()
        self._handlers: dict[int, Handler] = {}
        self._launch: dict[int, str] = {}
        self._is_launch = np.zeros(_SIZE, bool)
        self._is_change = np.zeros(_SIZE, bool)
        for number, function in session.schema.functions.items():
            name = function.name.removesuffix("_ptsz").removesuffix("_ptds")
            if name in LAUNCHES:
                self._launch[number] = LAUNCHES[name]
                self._is_launch[number] = True
            elif name in HANDLERS:
                self._handlers[number] = HANDLERS[name]
                self._is_change[number] = True

    def _take(self, session: Session, part: Part) -> None:
        self._count_launches(part)
        changes = part.places(self._is_change)
        changes = changes[part.column("result")[changes] == 0]
        if not len(changes):
            return
        picked = part.pick(_FULL, changes)
        for place, row in enumerate(part.rows(changes).tolist()):
            items = session.calls.payload_of(picked["payload"][place])
            words = [picked[f"arg{number}"][place] for number in range(3)]
            process = picked["process"][place]
            owner = self._owner(session, process, picked["caller"][place])
            call = ChangingCall(row + 1, picked["time"][place], words_of(words, items), items, owner)
            device = self._of(process)
            held = len(device.held)
            self._handlers[picked["function"][place]](device, call)
            if len(device.held) != held:
                device.changed_ns = call.time

    def _owner(self, session: Session, process: int, caller: int) -> str:
        """The library of a caller; "" where it is not known, or not known yet."""
        key = process, caller
        owner = self._owners.get(key)
        if owner is None:
            owner = session.caller_name(*key).rpartition("+0x")[0]
            if owner:
                self._owners[key] = owner
        return owner

    def _count_launches(self, part: Part) -> None:
        for number in part.functions:
            if not self._is_launch[number]:
                continue
            launched = part.column("function") == number
            launched[part.failed] = False
            column = part.column("arg1" if self._launch[number] == "arg1" else "arg0")
            for index in part.processes:
                here = launched if len(part.processes) == 1 else launched & (part.column("process") == index)
                if not here.any():
                    continue
                device = self._of(index)
                counts = device.graph_launches if self._launch[number] == "graph" else device.launches
                for handle, count in self._tally.count(column[here]):
                    counts[handle] = counts.get(handle, 0) + count

    def _of(self, process: int) -> ProcessDevice:
        return self.processes.setdefault(process, ProcessDevice(process))
