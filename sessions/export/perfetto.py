"""Perfetto's protobuf trace: a track a thread with nested slices, log lines and runs as instants."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from perfetto.protos.perfetto.trace import perfetto_trace_pb2  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sessions.export.span import Call, Span

_SEQUENCE = 1
_SESSION_TRACK = 1
_LOG_TRACKS = 1 << 40  # + the process's index; threads count up from 2
_FLUSH = 4096  # packets; a trace is any number of serialised pieces one after the other


def write_perfetto(span: Span, path: Path) -> None:
    """Times are CLOCK_MONOTONIC's, so that another trace of the same machine lies beside it."""
    with path.open("wb") as out:
        packets = _Packets(out, span.session.start_mono_ns)
        packets.track(_SESSION_TRACK, name="shimbench")
        for process in span.processes:
            packets.process(_LOG_TRACKS + process.index, process.pid, process.exe, process.argv)
        for number, each in enumerate(span.calls_by_thread()):
            packets.thread(number + 2, span.processes[each.process].pid, each.thread)
            _slices(packets, number + 2, each.calls)
        for line in span.lines():
            text = line.text.decode("utf-8", "replace").rstrip("\n")
            track = _LOG_TRACKS + line.process if line.process >= 0 else _SESSION_TRACK
            packets.instant(track, line.time_ns, text, "log")
        for event in span.events():
            if event.kind in ("run", "build", "mark", "run-end", "first-call"):
                packets.instant(_SESSION_TRACK, event.time_ns, event.kind, "session", event.fields)
        packets.flush()


def _slices(packets: _Packets, track: int, calls: Iterable[Call]) -> None:
    """A thread's calls, entered in this order; one ends before the next of its depth begins."""
    under_way: list[Call] = []
    for call in calls:
        while under_way and under_way[-1].row.nesting >= call.row.nesting:
            packets.end(track, under_way.pop())
        packets.begin(track, call)
        under_way.append(call)
    while under_way:
        packets.end(track, under_way.pop())


class _Packets:
    def __init__(self, out: BinaryIO, start_ns: int) -> None:
        self._out = out
        self._start = start_ns
        self._trace = perfetto_trace_pb2.Trace()
        self._clock = perfetto_trace_pb2.BuiltinClock.BUILTIN_CLOCK_MONOTONIC

    def flush(self) -> None:
        self._out.write(self._trace.SerializeToString())
        self._trace = perfetto_trace_pb2.Trace()  # Clear() would keep what it took

    def track(self, uuid: int, *, name: str) -> None:
        descriptor = self._packet().track_descriptor
        descriptor.uuid, descriptor.name = uuid, name

    def process(self, uuid: int, pid: int, exe: str, argv: list[str]) -> None:
        descriptor = self._packet().track_descriptor
        descriptor.uuid = uuid
        descriptor.process.pid = pid
        descriptor.process.process_name = Path(exe).name
        descriptor.process.cmdline.extend(argv)

    def thread(self, uuid: int, pid: int, tid: int) -> None:
        descriptor = self._packet().track_descriptor
        descriptor.uuid = uuid
        descriptor.thread.pid, descriptor.thread.tid = pid, tid

    def begin(self, track: int, call: Call) -> None:
        event = self._event(track, call.row.time, perfetto_trace_pb2.TrackEvent.TYPE_SLICE_BEGIN)
        event.name = call.decoded.name
        event.categories.append("call" if call.row.result == 0 else "error")
        said = {"number": call.row.number, "result": call.decoded.result, "caller": call.caller}
        said |= call.arguments | {f"*{name}": text for name, text in call.outputs.items()}
        _annotate(event, said)

    def end(self, track: int, call: Call) -> None:
        moment = call.row.time + call.row.duration
        self._event(track, moment, perfetto_trace_pb2.TrackEvent.TYPE_SLICE_END)

    def instant(
        self, track: int, time_ns: int, name: str, category: str, said: dict[str, Any] | None = None
    ) -> None:
        event = self._event(track, time_ns, perfetto_trace_pb2.TrackEvent.TYPE_INSTANT)
        event.name = name
        event.categories.append(category)
        _annotate(event, said or {})

    def _event(self, track: int, time_ns: int, kind: int) -> Any:
        packet = self._packet()
        packet.timestamp = self._start + max(time_ns, 0)
        packet.timestamp_clock_id = self._clock
        event = packet.track_event
        event.type, event.track_uuid = kind, track
        return event

    def _packet(self) -> Any:
        if len(self._trace.packet) >= _FLUSH:
            self.flush()
        packet = self._trace.packet.add()
        packet.trusted_packet_sequence_id = _SEQUENCE
        return packet


def _annotate(event: Any, said: dict[str, Any]) -> None:
    for name, value in said.items():
        annotation = event.debug_annotations.add()
        annotation.name = name
        if isinstance(value, bool):
            annotation.bool_value = value
        elif isinstance(value, int):
            annotation.int_value = value
        else:
            annotation.string_value = value if isinstance(value, str) else str(value)
