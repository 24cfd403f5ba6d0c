"""Sessions that were cut, flipped or left by a killed writer: an error or a note, never wrong data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sessions import Session, SessionError, format, open_session
from sessions.testing import SessionBuilder, string_item
from tests.sessions.test_session import MODEL, assert_same, random_rows

STREAMS = [
    "blobs.dat",
    "blobs.index",
    "calls.dat",
    "calls.index",
    "calls.tail",
    "events.jsonl",
    "log.bytes",
    "log.index",
]


def small_session(path: Path, finished: bool) -> Path:
    builder = SessionBuilder(path, MODEL)
    builder.process(["ollama"])
    for number in range(6):
        builder.call("cuInit", args=(number,), items=[string_item(0, f"text {number}")])
        builder.line(f"line {number}", piece=3 if number in (2, 5) else 0)
    builder.event("mark", n=1)
    builder.in_flight("cuInit", args=(9,))
    if finished:
        builder.finish()
    else:
        builder.abandon()
    return path


def everything(session: Session) -> dict[str, Any]:
    """All there is to see, as values that compare."""
    calls = len(session.calls)
    return {
        "calls": [session.calls.row(n) for n in range(calls)],
        "payloads": [session.calls.payload(n) for n in range(calls)],
        "lines": session.log.lines(0, len(session.log)),
        "events": session.events,
        "processes": session.processes,
        "in_flight": session.in_flight(),
        "schema": session.schema.model,
        "start": (session.start_unix_ns, session.start_mono_ns),
    }


def is_part_of(part: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Every stream a beginning of what was written; processes follow from the events."""
    return all(
        whole[name][: len(part[name])] == part[name] for name in ("calls", "payloads", "lines", "events")
    ) and (part["schema"], part["start"]) == (whole["schema"], whole["start"])


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("name", [*STREAMS, "inflight", "schema.json.zst", "session.json"])
def test_no_flipped_bit_shows_wrong_data(tmp_path: Path, name: str, finished: bool) -> None:
    original = small_session(tmp_path / "s", finished)
    whole = everything(open_session(original))
    path = original / name
    data = path.read_bytes()
    used = len(data)
    if name == "calls.tail" and not finished:
        used = format.TAIL_HEADER_SIZE + 6 * format.CALL_ROW.itemsize
    if name == "inflight":
        used = format.IN_FLIGHT_HEAD.itemsize + format.IN_FLIGHT_ROW.itemsize
    for at in range(used):
        if name == "calls.tail" and format.TAIL_HEAD.itemsize <= at < format.TAIL_HEADER_SIZE:
            continue  # reserved
        with path.open("r+b") as file:
            os.pwrite(file.fileno(), bytes([data[at] ^ (1 << at % 8)]), at)
            try:
                session = open_session(original)
                seen = everything(session)
            except SessionError as error:
                assert name.split(".")[0] in str(error) or "session" in str(error)
            else:
                part = session.damage and is_part_of(seen, whole)
                assert seen == whole or part, f"byte {at} of {name}"
            os.pwrite(file.fileno(), data[at : at + 1], at)
    assert everything(open_session(original)) == whole


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_loses_only_its_end(tmp_path: Path, name: str, finished: bool) -> None:
    original = small_session(tmp_path / "s", finished)
    whole = everything(open_session(original))
    used = format.TAIL_HEADER_SIZE + 6 * format.CALL_ROW.itemsize if name == "calls.tail" else 1 << 20
    with (original / name).open("rb") as file:
        data = file.read(used)
    for cut in range(len(data)):
        if name == "calls.tail" and format.TAIL_HEAD.itemsize < cut < format.TAIL_HEADER_SIZE:
            continue
        (original / name).write_bytes(data[:cut])
        try:
            session = open_session(original)
            seen = everything(session)
        except SessionError:
            continue
        assert seen == whole or is_part_of(seen, whole), f"{name} cut at {cut}"
        if not finished and name in ("calls.index", "calls.dat"):
            continue  # nothing was sealed: nothing is missing
        assert session.damage or seen == whole, f"{name} cut at {cut}"


def test_a_stream_cut_between_two_records_is_told_though_its_writer_was_killed(tmp_path: Path) -> None:
    original = small_session(tmp_path / "s", False)
    for name, record in (
        ("log.index", format.LOG_ENTRY.itemsize),
        ("blobs.index", format.BLOB_ENTRY.itemsize),
    ):
        data = (original / name).read_bytes()
        (original / name).write_bytes(data[:-record])
        (note,) = open_session(original).damage
        assert note.startswith("1 of 6 ") and "are missing" in note
        (original / name).write_bytes(data)
    events = (original / "events.jsonl").read_bytes()
    (original / "events.jsonl").write_bytes(events[: events[:-1].rindex(b"\n") + 1])
    assert open_session(original).damage == ["1 of 2 events are missing: the copy was cut"]


def test_a_writer_before_the_counts_is_read_as_ever(tmp_path: Path) -> None:
    original = small_session(tmp_path / "s", False)
    whole = everything(open_session(original))
    with (original / "calls.tail").open("r+b") as file:
        first = format.TAIL_HEAD.fields["lines"][1]  # three counts, three copies
        os.pwrite(file.fileno(), bytes(48), first)
    for name in ("buffers.index", "buffers.dat"):  # nor were there any of these
        (original / name).unlink()
    session = open_session(original)
    assert everything(session) == whole and session.damage == []


@pytest.mark.parametrize("name", ["calls.tail", "calls.index", "blobs.index", "log.index", "inflight"])
def test_a_stream_in_the_other_byte_order_is_refused_as_such(tmp_path: Path, name: str) -> None:
    path = small_session(tmp_path / "s", True) / name
    data = path.read_bytes()
    path.write_bytes(data[:8] + data[8:12][::-1] + data[12:16][::-1] + data[16:])
    with pytest.raises(
        SessionError, match=f"{name}: written with the bytes of its numbers in the other order"
    ):
        everything(open_session(tmp_path / "s"))


def test_a_writer_killed_between_seals_leaves_all_it_published(tmp_path: Path) -> None:
    rows = random_rows(200_000)
    builder = SessionBuilder(tmp_path / "s", MODEL)
    builder.calls(rows)
    builder.abandon()
    session = open_session(tmp_path / "s")
    assert not session.live and session.finished is None and session.damage == []
    assert 0 < session.calls.sealed < len(rows)
    assert_same(session, rows)


def test_a_writer_killed_at_any_moment_leaves_a_session_that_opens(tmp_path: Path) -> None:
    script = """
import sys
import zlib
import numpy as np
from sessions.testing import SessionBuilder
from tests.sessions.test_session import MODEL, random_rows
builder = SessionBuilder(sys.argv[1], MODEL)
rows = random_rows(1 << 20)
print("go", flush=True)
for at in range(0, len(rows), 5000):
    builder.calls(rows[at : at + 5000])
    builder.line(f"{at}")
    builder.publish()
    print(at + 5000, flush=True)
sys.stdin.read()
"""
    rows = random_rows(1 << 20)
    for round_number in range(6):
        path = tmp_path / str(round_number)
        writer = subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert writer.stdout is not None and writer.stdin is not None
        assert writer.stdout.readline() == b"go\n"
        published = 0
        for _ in range(5 + 37 * round_number):
            published = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdin.close()
        writer.stdout.close()
        session = open_session(path)
        assert len(session.calls) >= published and session.damage == []
        assert_same(session, rows[: len(session.calls)])
        assert len(session.log) >= published // 5000


def test_a_reader_of_rows_that_are_overwritten_meanwhile_gets_the_sealed_ones(tmp_path: Path) -> None:
    rows = random_rows(700_000)
    builder = SessionBuilder(tmp_path / "s", MODEL)
    builder.calls(rows[:100_000])
    session = builder.open()
    builder.calls(rows[100_000:])
    builder.publish()
    assert len(session.calls) == 100_000  # it stands still until refresh()
    assert_same(session, rows[:100_000])
    assert np.array_equal(
        session.calls.columns(66_000, 70_000, ["arg1"])["arg1"], rows["arg1"][66_000:70_000]
    )
    builder.finish()


def test_another_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = small_session(tmp_path / "s", True) / "session.json"
    text = path.read_bytes().rsplit(b',"crc32":', 1)[0][len(b'{"session":') :]
    text = text.replace(b'"format":1', b'"format":7')
    path.write_bytes(b'{"session":' + text + b',"crc32":%d}\n' % zlib.crc32(text))
    with pytest.raises(SessionError, match="format 7 by shimbench testing; this version reads format 1"):
        open_session(tmp_path / "s")
