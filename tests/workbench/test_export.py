"""What is exported is read back by the tools it is for: Perfetto's schema, sqlite3, pyarrow, csv, json."""

from __future__ import annotations

import csv
import json
import sqlite3
import struct
from collections import Counter
from pathlib import Path

import pyarrow.parquet
import pytest
from perfetto.protos.perfetto.trace import perfetto_trace_pb2

from sessions.testing import SessionBuilder, out_item
from workbench import cli, native


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two threads, a nested call, an error, a log line, a mark."""
    path = tmp_path_factory.mktemp("export") / "s"
    with SessionBuilder(path, native.paths().model.read_bytes()) as builder:
        process = builder.process(["/opt/llama-server", "--model", 'a,"b".gguf'])
        builder.event("mark", text="here", time=5)
        inner = {"parent": 1, "nesting": 1, "sequence": 2}
        builder.call("cuDriverGetVersion", args=(0x2000,), time=1_100, duration=300, **inner)
        builder.call("cuInit", args=(0,), time=1_000, duration=500, sequence=1)
        counted = out_item(0, struct.pack("<i", 3))
        builder.call("cuDeviceGetCount", args=(0x10,), items=[counted], thread=77, time=1_200, duration=50)
        builder.call("cuCtxSynchronize", result=201, time=2_000_000_000, duration=10)
        builder.line("hello, world", time=1_250)
        builder.exit(process)
    return path


def export(recorded: Path, target: Path, *words: str) -> Path:
    assert cli.main(["export", str(recorded), "-o", str(target), *words]) == 0
    return target


def test_perfetto_reads_slices_that_nest_and_name_their_threads(recorded: Path, tmp_path: Path) -> None:
    trace = perfetto_trace_pb2.Trace()
    trace.ParseFromString(export(recorded, tmp_path / "t.pftrace").read_bytes())
    threads = {
        packet.track_descriptor.uuid: packet.track_descriptor.thread.tid
        for packet in trace.packet
        if packet.HasField("track_descriptor") and packet.track_descriptor.HasField("thread")
    }
    assert 77 in threads.values()
    depth: Counter[int] = Counter()
    last: dict[int, int] = {}
    names = []
    for packet in trace.packet:
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        assert packet.timestamp >= last.get(event.track_uuid, 0) or event.type == event.TYPE_INSTANT
        if event.type == event.TYPE_SLICE_BEGIN:
            names.append((depth[event.track_uuid], event.name))
            depth[event.track_uuid] += 1
        elif event.type == event.TYPE_SLICE_END:
            depth[event.track_uuid] -= 1
        last[event.track_uuid] = packet.timestamp
    assert not any(depth.values())
    assert (0, "cuInit") in names and (1, "cuDriverGetVersion") in names
    instants = [p.track_event.name for p in trace.packet if p.track_event.type == 3]
    assert "hello, world" in instants and "mark" in instants


def test_chrome_gets_complete_events_in_microseconds(recorded: Path, tmp_path: Path) -> None:
    events = json.loads(export(recorded, tmp_path / "t.json").read_text())["traceEvents"]
    (init,) = [event for event in events if event["name"] == "cuInit"]
    assert (init["ph"], init["ts"], init["dur"]) == ("X", 1.0, 0.5)
    assert init["args"]["result"] == "CUDA_SUCCESS"


def test_tables_hold_every_call_with_its_parts(recorded: Path, tmp_path: Path) -> None:
    with export(recorded, tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pyarrow.parquet.read_table(export(recorded, tmp_path / "t.parquet")).to_pylist()
    with sqlite3.connect(export(recorded, tmp_path / "t.sqlite")) as database:
        kept = database.execute("SELECT function, outputs, result FROM calls ORDER BY number").fetchall()
        assert database.execute("SELECT text FROM log").fetchall() == [("hello, world",)]
        assert json.loads(database.execute("SELECT argv FROM processes").fetchone()[0])[2] == 'a,"b".gguf'
    functions = [row["function"] for row in rows]
    assert functions == [row["function"] for row in table] == [function for function, _, _ in kept]
    count = functions.index("cuDeviceGetCount")
    assert json.loads(rows[count]["outputs"]) == json.loads(kept[count][1]) == {"count": "3"}
    assert table[-1]["result"] == "CUDA_ERROR_INVALID_CONTEXT" and table[-1]["result_code"] == 201


def test_text_indents_what_a_call_called(recorded: Path, tmp_path: Path) -> None:
    lines = export(recorded, tmp_path / "t.txt").read_text().splitlines()
    init = next(at for at, line in enumerate(lines) if line.startswith("cuInit(Flags: 0) -> CUDA_SUCCESS"))
    assert lines[init + 1].startswith("    cuDriverGetVersion(")
    assert "cuDeviceGetCount(count: 3) -> CUDA_SUCCESS" in lines


def test_a_span_and_a_filter_choose_the_calls(recorded: Path, tmp_path: Path) -> None:
    export(recorded, tmp_path / "late.csv", "--since", "1")
    export(recorded, tmp_path / "failed.csv", "!ok")
    for name in ("late.csv", "failed.csv"):
        (row,) = csv.DictReader((tmp_path / name).open(newline=""))
        assert row["function"] == "cuCtxSynchronize"


def test_a_file_that_exists_is_kept_and_a_failure_leaves_nothing(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text("mine")
    assert cli.main(["export", str(recorded), "-o", str(tmp_path / "mine.csv")]) == 2
    assert (tmp_path / "mine.csv").read_text() == "mine"
    assert cli.main(["export", str(recorded), "-o", str(tmp_path / "no" / "t.csv")]) == 1
    assert "No such file or directory" in capsys.readouterr().err
    assert cli.main(["export", str(recorded), "-o", str(tmp_path / "t.xyz")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]
