"""Calls from targets' rings into the session."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
from pathlib import Path

import numpy as np

from sessions import CallFlag, ItemKind, Session, open_session
from tests.collector.conftest import Bench, completed
from tests.patience import wait_until


def sequences_by_thread(session: Session) -> dict[tuple[int, int], list[int]]:
    columns = session.calls.columns(0, len(session.calls), ["process", "thread", "sequence"])
    found: dict[tuple[int, int], list[int]] = {}
    for process, thread, sequence in zip(*(column.tolist() for column in columns.values()), strict=True):
        found.setdefault((process, thread), []).append(sequence)
    return found


def test_every_call_is_recorded_with_its_payload_and_nesting(bench: Bench) -> None:
    pid, counts = bench.produce(threads=2, calls=300, payload=70, nest=1)
    bench.wait(pid)
    session = bench.open()
    assert len(session.calls) == completed(counts) == 1200
    assert session.lost == 0
    for found in sequences_by_thread(session).values():
        assert sorted(found) == list(range(1, 601))
    rows = [session.calls.row(number) for number in range(len(session.calls))]
    inner = [row for row in rows if row.parent]
    assert len(inner) == 600 and {row.nesting for row in inner} == {1}
    (item,) = session.calls.payload(0)
    assert (item.kind, item.original) == (ItemKind.STRING, 70)
    assert item.data == bytes([ord("a") + rows[0].sequence % 26]) * 70
    assert "producer+0x" in session.caller_name(rows[0].process, rows[0].caller)
    (process,) = session.processes
    assert (process.pid, process.exit_code, process.registered) == (pid, 0, True)
    assert process.exe == str(bench.producer)


def test_a_module_that_the_tap_tells_of_names_callers_and_is_no_call(bench: Bench) -> None:
    for hostile in (False, True):
        pid, counts = bench.produce(threads=2, calls=50, module=2 if hostile else 1)
        bench.wait(pid)
        session = bench.open()
        process = next(process for process in session.processes if process.pid == pid)
        columns = session.calls.columns(0, len(session.calls), ["process", "function", "caller"])
        of_it = columns["process"] == process.index
        assert int(of_it.sum()) == completed(counts) == 100
        assert set(columns["function"][of_it].tolist()) == {1}
        assert set(columns["caller"][of_it].tolist()) == {0x1234}
        assert session.caller_name(process.index, 0x1234) == "libmade.so+0x234"
        names = [module.path for module in process.modules]
        assert names.count("/made/up/libmade.so") == 1
        assert any(path.endswith("/producer") for path in names)  # and /proc/PID/maps is read as well
        assert process.module_at(0x7000) is None
        assert not [event for event in session.events if event.kind == "damage"]


def test_a_million_calls_a_second_from_several_threads_lose_none(bench: Bench) -> None:
    pid, counts = bench.produce(threads=4, calls=300_000, rate=250_000, chunks=4096)
    session = bench.open()
    seen = 0
    while pid not in bench.exits:
        bench.exits |= {one.pid: one for one in bench.collector.poll()}
        session.refresh()
        columns = session.calls.columns(seen, len(session.calls), ["sequence", "arg0"])
        assert (columns["sequence"] == columns["arg0"]).all()
        seen = len(session.calls)
    session.refresh()
    assert len(session.calls) == completed(counts) == 1_200_000
    assert session.lost == 0
    for found in sequences_by_thread(session).values():
        assert sorted(found) == list(range(1, 300_001))


def test_what_a_full_ring_drops_is_counted(bench: Bench) -> None:
    pid, counts = bench.produce(threads=2, calls=200_000, chunks=3)
    bench.wait(pid)
    session = bench.open()
    dropped = int(np.fromfile(counts, np.uint64)[63])
    assert len(session.calls) == completed(counts)
    assert session.lost == session.processes[0].lost == dropped


def test_a_call_that_never_returns_is_in_flight_and_stays_when_its_process_is_killed(bench: Bench) -> None:
    pid, _ = bench.produce(calls=10, hang=1)
    session = bench.open()
    wait_until(lambda: (session.refresh(), session.in_flight())[1], "the call in flight")
    (call,) = session.in_flight()
    assert (call.function, call.sequence, call.args[0]) == (1, 11, 11)
    older = call.age_ns
    wait_until(lambda: session.in_flight()[0].age_ns > older, "its age to grow")
    bench.collector.signal(pid, signal.SIGKILL)
    bench.wait(pid)
    session.refresh()
    assert len(session.calls) == 11
    last = session.calls.row(10)
    assert last.flags == CallFlag.UNRETURNED and last.sequence == 11 and last.duration > 0
    assert bench.exits[pid].signal == signal.SIGKILL == session.processes[0].signal


def test_fifty_short_processes_killed_at_random_lose_no_completed_call(bench: Bench) -> None:
    generator = random.Random(7)
    started = []
    for _ in range(50):
        pid, counts = bench.produce(threads=2, calls=1_000_000, rate=20_000, payload=30, chunks=64)
        enough = generator.randrange(1, 400)
        wait_until(lambda counts=counts, enough=enough: completed(counts) >= enough, "some calls")
        bench.collector.signal(pid, signal.SIGKILL)
        started.append((pid, counts))
    bench.wait(*(pid for pid, _ in started))
    session = bench.open()
    columns = session.calls.columns(0, len(session.calls), ["process", "flags"])
    returned = columns["process"][(columns["flags"] & CallFlag.UNRETURNED) == 0]
    by_pid = {process.pid: process.index for process in session.processes}
    for pid, counts in started:
        there = int((returned == by_pid[pid]).sum())
        # A kill between a record and its count leaves at most one more a thread.
        assert completed(counts) <= there <= completed(counts) + 2
    assert session.lost == 0


def test_a_killed_collector_leaves_a_session_with_all_it_had_seen(bench: Bench) -> None:
    pid, counts = bench.produce(threads=2, calls=2_000_000, rate=100_000, payload=40, chunks=4096)
    session = bench.open()
    wait_until(lambda: completed(counts) > 150_000, "calls")
    before = completed(counts)
    wait_until(lambda: (session.refresh(), len(session.calls))[1] >= before, "the session to have them")
    os.kill(bench.collector.pid, signal.SIGKILL)
    wait_until(lambda: (session.refresh(), not session.live)[1], "the end of the collector")
    for opened in (session, open_session(bench.collector.directory)):
        assert not opened.live and opened.damage == []
        assert len(opened.calls) >= before
        for found in sequences_by_thread(opened).values():
            assert sorted(found) == list(range(1, len(found) + 1))
        assert opened.calls.payload(len(opened.calls) - 1)[0].original == 40
    after = completed(counts)
    wait_until(lambda: completed(counts) > after, "the target to go on without it")
    os.kill(pid, signal.SIGKILL)


def test_processes_that_somebody_else_starts_are_found_with_their_end(bench: Bench, tmp_path: Path) -> None:
    ended = subprocess.run(bench.command(tmp_path / "a", calls=5), check=False)
    assert ended.returncode == 0
    killed = subprocess.Popen(bench.command(tmp_path / "b", calls=5, wait=1))
    session = bench.open()
    wait_until(lambda: (session.refresh(), len(session.calls))[1] == 10, "its calls")
    killed.kill()
    killed.wait()
    wait_until(lambda: (session.refresh(), session.processes[-1].ended_ns)[1], "its end")
    first, second = session.processes
    assert (first.exit_code, first.signal) == (0, None)
    assert (second.pid, second.exit_code, second.signal) == (killed.pid, None, signal.SIGKILL)


def test_a_full_disk_is_said_and_what_it_costs_is_counted(bench: Bench, tmp_path: Path) -> None:
    assert bench.collector.pid is not None
    no_limit = resource.RLIM_INFINITY
    resource.prlimit(bench.collector.pid, resource.RLIMIT_FSIZE, (30_000, no_limit))
    counts = tmp_path / "counts"
    subprocess.run(bench.command(counts, threads=2, calls=400_000, chunks=4096), check=True)
    session = bench.open()
    wait_until(lambda: (session.refresh(), session.processes[0].ended_ns)[1], "its end")
    wait_until(
        lambda: (session.refresh(), len(session.calls) + session.lost == completed(counts))[1],
        "all of the loss to be told",
    )
    assert session.live and session.lost
    resource.prlimit(bench.collector.pid, resource.RLIMIT_FSIZE, (no_limit, no_limit))
    had = len(session.calls)
    wait_until(lambda: (session.refresh(), session.calls.sealed > 200_000)[1], "sealing to go on")
    again, more = bench.produce(calls=1000)
    bench.wait(again)
    session.refresh()
    assert len(session.calls) == had + completed(more)
