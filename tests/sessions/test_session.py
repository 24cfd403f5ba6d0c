"""What is written is read back: calls, payloads, log, events, processes, while it is written and after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sessions import Session, SessionError, format, open_session
from sessions.moment import Moment, cut_at
from sessions.testing import SessionBuilder, out_item, string_item

MODEL: dict[str, Any] = {
    "format": 1,
    "hash": "abc",
    "functions": [
        {"id": 1, "name": "cuInit", "params": [{"name": "Flags", "kind": "uint", "size": 4}]},
        {"id": 2, "name": "cuMemAlloc_v2", "params": [{"name": "dptr"}, {"name": "bytesize"}]},
    ],
    "enums": {"CUresult": {"CUDA_SUCCESS": 0, "CUDA_ERROR_NO_DEVICE": 100}},
}


def random_rows(count: int, seed: int = 1) -> npt.NDArray[np.void]:
    """Rows that make every encoding be used."""
    random = np.random.default_rng(seed)
    rows = np.zeros(count, dtype=format.CALL_ROW)
    rows["time"] = np.cumsum(random.integers(-50, 3000, count))
    rows["duration"] = random.integers(0, 1 << 40, count)
    rows["process"] = random.integers(0, 3, count)
    rows["thread"] = random.integers(1, 5, count)
    rows["sequence"] = random.integers(1, 1 << 32, count)
    rows["parent"] = np.where(random.integers(0, 2, count), rows["sequence"] // 2, 0)
    rows["function"] = random.integers(0, 600, count)
    rows["result"] = random.integers(-3, 3, count)
    rows["caller"] = random.integers(0, 1 << 63, count, dtype=np.uint64)
    rows["arg0"] = random.integers(0, 100, count)
    rows["arg1"] = np.arange(count) * 256
    rows["nesting"] = random.integers(0, 3, count)
    return rows


def assert_same(session: Session, rows: npt.NDArray[np.void], first: int = 0) -> None:
    columns = session.calls.columns(first, first + len(rows))
    for name in format.COLUMNS:
        assert columns[name].dtype == format.COLUMNS[name]
        assert np.array_equal(columns[name], rows[name]), name


def test_calls_are_the_same_from_the_tail_across_seals_and_after_the_end(tmp_path: Path) -> None:
    rows = random_rows(300_000)
    builder = SessionBuilder(tmp_path / "s", MODEL)
    session = builder.open()
    for start in range(0, len(rows), 50_000):
        builder.calls(rows[start : start + 50_000])
        builder.publish()
        assert session.refresh()
        assert_same(session, rows[: start + 50_000])
    assert session.live and not session.refresh()
    for start, stop in ((0, 1), (65_530, 65_540), (120_000, 299_999), (299_990, 300_000), (7, 7)):
        assert_same(session, rows[start:stop], start)
    builder.finish()
    assert session.refresh() and not session.live
    assert_same(session, rows)
    again = open_session(tmp_path / "s")
    assert_same(again, rows)
    assert again.calls.sealed == len(rows) and again.damage == []


def test_a_row_has_its_number_its_arguments_and_its_payload(tmp_path: Path) -> None:
    with SessionBuilder(tmp_path / "s", MODEL) as builder:
        builder.process(["ollama", "serve"], modules=[("/lib/libcudart.so.13", 0x7000, 0x9000)])
        builder.call("cuInit", args=(0,), result=100, caller=0x7123)
        items = [string_item(1, "hé\0"), out_item(0, b"\1\2\3")]
        builder.call("cuMemAlloc_v2", args=(1, 2, 3, 4, 5), items=items)
        session = builder.open()
        first, second = session.calls.row(0), session.calls.row(1)
        assert (first.number, first.function, first.result, first.args) == (1, 1, 100, (0, 0, 0))
        assert session.caller_name(first.process, first.caller) == "libcudart.so.13+0x123"
        assert session.calls.payload(0) == []
        arguments, name, out = session.calls.payload(1)
        assert arguments.data == (4).to_bytes(8, "little") + (5).to_bytes(8, "little")
        assert (name.data, name.index) == ("hé\0".encode(), 1)
        assert (out.data, out.original) == (b"\1\2\3", 3)
        assert session.calls.payload_of(second.payload) == session.calls.payload(1)


def test_equal_payloads_are_stored_once(tmp_path: Path) -> None:
    with SessionBuilder(tmp_path / "s", MODEL) as builder:
        for number in range(100):
            builder.call("cuInit", items=[string_item(0, f"name {number % 2}")])
    session = open_session(tmp_path / "s")
    assert set(session.calls.columns(0, 100, ["payload"])["payload"].tolist()) == {1, 2}
    assert (tmp_path / "s" / "blobs.dat").stat().st_size == 32


def test_lines_are_kept_byte_for_byte(tmp_path: Path) -> None:
    texts = [b"plain", b"\x1b[31mred\x1b[0m", b"", b"a\0b\r", b"x" * (1 << 20), b"\xff\xfe"]
    with SessionBuilder(tmp_path / "s") as builder:
        builder.process(pid=77)
        for text in texts:
            builder.line(text, stream="stdout")
        builder.line("no end", torn=True)
    session = open_session(tmp_path / "s")
    lines = session.log.lines(0, len(session.log))
    assert [line.text for line in lines] == [*texts, b"no end"]
    assert [line.length for line in lines[:-1]] == [len(text) + 1 for text in texts]
    assert (lines[-1].torn, lines[-1].length, lines[-1].stream, lines[-1].pid) == (True, 6, "stderr", 77)
    assert list(session.log.search("r.d")) == [1]
    assert list(session.log.search(rb"^x+$|\xff", start=2)) == [4, 5]


def test_lines_read_together_are_those_read_one_by_one(tmp_path: Path) -> None:
    lengths = [0, 1, 80, 300_000, 3, 0, 262_144, 5] + [number % 97 for number in range(9000)]
    with SessionBuilder(tmp_path / "s") as builder:
        builder.process(pid=70)
        for number, length in enumerate(lengths):
            builder.line(bytes([65 + number % 26]) * length)
    log = open_session(tmp_path / "s").log
    alone = [log.line(number) for number in range(len(log))]
    assert [line.length for line in alone] == [length + 1 for length in lengths]
    for start, stop in ((0, len(log)), (3, 7), (4090, 4100), (8192, 8192), (1, 4097)):
        assert log.lines(start, stop) == alone[start:stop]


def test_a_line_knows_the_calls_before_it(tmp_path: Path) -> None:
    with SessionBuilder(tmp_path / "s", MODEL) as builder:
        builder.process()
        builder.line("before")
        builder.call("cuInit")
        builder.call("cuInit")
        builder.line("after")
        session = builder.open()
        assert [line.after_call for line in session.log.lines(0, 2)] == [0, 2]


def test_processes_come_from_events(tmp_path: Path) -> None:
    with SessionBuilder(tmp_path / "s") as builder:
        parent = builder.process(["ollama", "serve"], env={"OLLAMA_DEBUG": "1"}, run=3)
        child = builder.process(
            ["llama-server"], parent=parent, maps=[{"path": "/x", "soname": "libcuda.so.1"}]
        )
        builder.event("mark", note="é\n")
        builder.exit(child, signal=9)
        builder.exit(parent, exit_code=2)
        builder.event("lost", process=child, why="ring", count=5)
        builder.event("lost", process=child, why="ring", count=7)
        session = builder.open()
        first, second = session.processes
        assert (first.argv, first.env, first.run) == (["ollama", "serve"], {"OLLAMA_DEBUG": "1"}, 3)
        assert (first.exit_code, first.signal) == (2, None)
        assert (second.parent_index, second.signal, second.exit_code) == (0, 9, None)
        assert second.maps[0].soname == "libcuda.so.1"
        assert (second.lost, session.lost) == (7, 7)
        assert [event.fields for event in session.events if event.kind == "mark"] == [{"note": "é\n"}]


def test_a_run_is_the_newest_before_it_has_a_process_and_when_it_comes_to_none(tmp_path: Path) -> None:
    with SessionBuilder(tmp_path / "session", MODEL) as builder:
        assert builder.open().newest_run == -1
        builder.event("run", run=1)
        builder.process(run=1)
        assert builder.open().newest_run == 1
        builder.event("run", run=2, time=1000)
        session = builder.open()
        assert session.newest_run == 2
        assert Moment(session, cut_at(session, 999)).newest_run == 1


def test_the_schema_of_a_session_is_its_own(tmp_path: Path) -> None:
    with SessionBuilder(tmp_path / "s", MODEL):
        pass
    schema = open_session(tmp_path / "s").schema
    assert schema.functions[2].name == "cuMemAlloc_v2"
    assert schema.functions[2].params[1].name == "bytesize"
    assert schema.function_id("cuInit") == 1 and schema.function_id("cuNone") is None
    assert schema.enum_name("CUresult", 100) == "CUDA_ERROR_NO_DEVICE"
    assert schema.enum_name("CUresult", 5) is None
    assert schema.function_name(0xF001) == "dlsym"


def test_calls_in_flight_come_and_go(tmp_path: Path) -> None:
    with SessionBuilder(tmp_path / "s", MODEL) as builder:
        builder.process(pid=50)
        session = builder.open()
        assert session.in_flight() == []
        builder.in_flight("cuInit", started=1000, age=5000, args=(7, 8))
        (call,) = session.in_flight()
        assert (call.function, call.age_ns, call.args, call.thread) == (1, 5000, (7, 8, 0, 0), 50)
        builder.in_flight(None)
        assert session.in_flight() == []


def test_a_call_in_flight_waits_until_its_process_was_read(tmp_path: Path) -> None:
    with SessionBuilder(tmp_path / "s", MODEL) as builder:
        session = builder.open()
        newest = builder.process(["llama-server"])
        builder.in_flight("cuInit", process=newest)
        assert session.in_flight() == []
        builder.publish()
        session.refresh()
        assert [call.process for call in session.in_flight()] == [newest]


def test_asking_for_rows_that_are_not_there_is_an_index_error(tmp_path: Path) -> None:
    with SessionBuilder(tmp_path / "s", MODEL) as builder:
        builder.call("cuInit")
        session = builder.open()
        with pytest.raises(IndexError):
            session.calls.columns(0, 2)
        with pytest.raises(IndexError):
            session.log.line(0)
        with pytest.raises(KeyError):
            session.calls.columns(0, 1, ["colour"])


def test_what_is_no_session_says_so(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="no such session"):
        open_session(tmp_path / "none")
    with pytest.raises(SessionError, match=r"session\.json"):
        open_session(tmp_path)
