"""Sessions damaged at random, and sessions whose checks are right and whose records make no sense.

Of the first nothing wrong may be shown. Of the second, which only somebody who means harm would write, all
that is asked is an answer: what the numbers say, or a SessionError; no other exception, and not without end.
"""

from __future__ import annotations

import json
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions import SessionError, format, open_session
from sessions.diff import compare
from tests.sessions.test_damage import STREAMS, everything, is_part_of, small_session
from workbench.diagnosis import diagnose
from workbench.views.coverage import Coverage
from workbench.views.summary import summarize

FILES = [*STREAMS, "inflight", "schema.json.zst", "session.json"]
USED = {
    "calls.tail": format.TAIL_HEADER_SIZE + 6 * format.CALL_ROW.itemsize,
    "inflight": format.IN_FLIGHT_HEAD.itemsize + format.IN_FLIGHT_ROW.itemsize,
}


class Original:
    """A session, what it shows, and a way to have it again after it was damaged."""

    def __init__(self, path: Path, finished: bool) -> None:
        self.path = small_session(path, finished)
        self.shows = everything(open_session(self.path))
        self.files = {name: (self.path / name).read_bytes() for name in FILES}

    def put(self, name: str, data: bytes) -> None:
        (self.path / name).write_bytes(data)

    def restore(self, *names: str) -> None:
        for name in names:
            self.put(name, self.files[name])


@pytest.fixture(scope="module", params=[True, False], ids=["finished", "killed"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Original:
    return Original(tmp_path_factory.mktemp("fuzz") / "s", request.param)


def damaged(data: bytes, used: int, changes: list[tuple[str, int, int]]) -> bytes:
    """`data` after changes (what, where, how much), all of them within its first `used` bytes."""
    changed = bytearray(data)
    for what, where, much in changes:
        at = where % max(min(used, len(changed)), 1)
        if what == "flip" and changed:
            changed[at] ^= 1 << much % 8
        elif what == "set":
            changed[at : at + 8] = bytes([much % 256]) * len(changed[at : at + 8])
        elif what == "cut":
            del changed[at:]
        elif what == "drop":
            del changed[at : at + 1 + much % 64]
        else:  # twice
            changed[at:at] = changed[at : at + 1 + much % 64]
    return bytes(changed)


CHANGE = st.tuples(
    st.sampled_from(["flip", "set", "cut", "drop", "twice"]), st.integers(0, 1 << 20), st.integers(0, 1 << 12)
)


def assert_nothing_wrong_is_shown(original: Original, what: object) -> None:
    try:
        session = open_session(original.path)
        seen = everything(session)
    except SessionError:
        return
    part = session.damage and is_part_of(seen, original.shows)
    # Which calls were under way is of one moment; a damaged end of the events takes processes with it.
    assert seen == original.shows or part, what


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(FILES), min_size=1, max_size=3),
    changes=st.lists(CHANGE, min_size=1, max_size=4),
)
def test_damage_of_any_kind_shows_nothing_wrong(
    original: Original, names: list[str], changes: list[tuple[str, int, int]]
) -> None:
    try:
        for name in names:
            data = original.files[name]
            original.put(name, damaged(data, USED.get(name, len(data)), changes))
        assert_nothing_wrong_is_shown(original, (names, changes))
    finally:
        original.restore(*names)


def test_three_hundred_damages_of_a_fixed_seed_show_nothing_wrong(original: Original) -> None:
    dice = random.Random(20261129)
    kinds = ["flip", "set", "cut", "drop", "twice"]
    for number in range(300):
        name = dice.choice(FILES)
        data = original.files[name]
        changes = [
            (dice.choice(kinds), dice.randrange(1 << 20), dice.randrange(1 << 12))
            for _ in range(dice.randint(1, 5))
        ]
        original.put(name, damaged(data, USED.get(name, len(data)), changes))
        assert_nothing_wrong_is_shown(original, (number, name, changes))
        original.restore(name)


def test_files_of_another_session_in_between_show_nothing_wrong(original: Original, tmp_path: Path) -> None:
    other = Original(tmp_path / "other", True)
    for name in FILES:
        original.put(name, other.files[name])
        try:
            session = open_session(original.path)
            seen = everything(session)
        except SessionError:
            pass
        else:  # the same calls and lines were written to both, at another time
            assert {**seen, "start": 0} == {**original.shows, "start": 0} or session.damage, name
        original.restore(name)


# Records that are well-formed and make no sense


def sealed(records: np.ndarray[Any, np.dtype[np.void]]) -> bytes:
    """Entries with the checks they should have."""
    size = records.dtype.itemsize
    data = records.tobytes()
    return b"".join(
        data[at : at + size - 4] + zlib.crc32(data[at : at + size - 4]).to_bytes(4, "little")
        for at in range(0, len(data), size)
    )


def wild(dice: random.Random, dtype: np.dtype[Any]) -> int:
    top = 1 << 8 * dtype.itemsize
    value = (
        dice.choice([0, 1, 2, 255, top - 1, top // 2, top // 2 - 1, dice.randrange(top), dice.randrange(256)])
        % top
    )
    return value - top if dtype.kind == "i" and value >= top // 2 else value


def looked_at(path: Path) -> None:
    """Everything that commands and panes ask of a session."""
    session = open_session(path)
    everything(session)
    coverage = Coverage()
    while coverage.update(session):
        pass
    summarize(session)
    diagnose(session)
    if session.newest_run >= 0:
        compare(session, session)


def hostile_index(original: Original, dice: random.Random, name: str, dtype: np.dtype[np.void]) -> None:
    head = format.STREAM_HEAD.itemsize
    data = original.files[name]
    records = np.frombuffer(data[head:], dtype=dtype).copy()
    for _ in range(dice.randint(1, 3)):
        field = dice.choice([each for each in dtype.names or () if each != "crc"])
        records[dice.randrange(len(records))][field] = wild(dice, dtype[field])
    original.put(name, data[:head] + sealed(records))


def hostile_rows(original: Original, dice: random.Random) -> None:
    data = original.files["calls.tail"]
    start = format.TAIL_HEADER_SIZE
    rows = np.frombuffer(data[start : USED["calls.tail"]], dtype=format.CALL_ROW).copy()
    for _ in range(dice.randint(1, 6)):
        field = dice.choice(
            [each for each in format.CALL_ROW.names or () if each not in ("check", "reserved")]
        )
        rows[dice.randrange(len(rows))][field] = wild(dice, format.CALL_ROW[field])
    rows["check"] = format.row_checks(rows, 0)
    original.put("calls.tail", data[:start] + rows.tobytes())


def hostile_events(original: Original, dice: random.Random) -> None:
    """Events of every kind that is known, with fields that are something else."""
    values: list[Any] = [
        None,
        -1,
        0,
        1 << 70,
        1.5,
        "",
        "x",
        [],
        [1],
        {},
        {"a": []},
        True,
        [["p", 1, 2]],
        [[]],
    ]
    fields = [
        "index",
        "pid",
        "argv",
        "env",
        "run",
        "role",
        "modules",
        "maps",
        "count",
        "command",
        "call",
        "lines",
        "process",
        "time",
        "kind",
        "exit_code",
        "signal",
        "ok",
        "diagnostics",
        "shim_id",
        "state",
        "blob",
        "parent",
    ]
    kinds = [
        "process",
        "exec",
        "exit",
        "modules",
        "maps",
        "lost",
        "run",
        "run-end",
        "build",
        "first-call",
        "host",
        "mark",
        "stacks",
        "crash",
        "attached",
        "exercise",
        "rung",
        "target",
        "problem",
    ]
    lines = original.files["events.jsonl"].splitlines()
    for _ in range(dice.randint(1, 6)):
        event = {"time": dice.randrange(1 << 40), "kind": dice.choice(kinds)}
        event |= {dice.choice(fields): dice.choice(values) for _ in range(dice.randint(0, 5))}
        text = json.dumps(event).encode()
        lines.insert(dice.randint(1, len(lines)), b"%08x %s" % (zlib.crc32(text), text))
    original.put("events.jsonl", b"\n".join(lines) + b"\n")


def hostile_payloads(original: Original, dice: random.Random) -> None:
    """Items of kinds, places and lengths that no tap writes."""
    head = format.STREAM_HEAD.itemsize
    entries = np.frombuffer(original.files["blobs.index"][head:], dtype=format.BLOB_ENTRY).copy()
    content = bytearray(original.files["blobs.dat"])
    for entry in entries:
        first, length = int(entry["offset"]), int(entry["length"])
        for _ in range(dice.randint(1, 4)):
            content[first + dice.randrange(length)] = dice.choice(
                [0, 1, 3, 5, 6, 8, 255, dice.randrange(256)]
            )
        checked = zlib.crc32(entry.tobytes()[:-4])
        entry["crc"] = zlib.crc32(bytes(content[first : first + length]), checked)
    original.put("blobs.dat", bytes(content))
    original.put("blobs.index", original.files["blobs.index"][:head] + entries.tobytes())


HOSTILE: dict[str, Callable[[Original, random.Random], None]] = {
    "calls.index": lambda original, dice: hostile_index(original, dice, "calls.index", format.CHUNK_ENTRY),
    "log.index": lambda original, dice: hostile_index(original, dice, "log.index", format.LOG_ENTRY),
    "calls.tail": hostile_rows,
    "events.jsonl": hostile_events,
    "blobs.dat": hostile_payloads,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_records_that_make_no_sense_are_answered(tmp_path: Path, name: str) -> None:
    dice = random.Random(f"{name} 20261129")
    original = Original(tmp_path / "s", name == "calls.index")
    for number in range(60):
        HOSTILE[name](original, dice)
        try:
            looked_at(original.path)
        except SessionError:
            pass
        except Exception as error:
            kept = tmp_path / "failed"
            shutil.copytree(original.path, kept)
            raise AssertionError(f"round {number} of {name}, kept in {kept}") from error
        original.restore(*FILES)
