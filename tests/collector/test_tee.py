"""The output of targets: unchanged to where it went, and line by line in the log."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sessions import Line, Session, format
from tests.collector.conftest import Bench, completed
from tests.patience import PATIENCE_SECONDS, wait_until


def lines_of(session: Session, stream: str) -> list[Line]:
    return [line for line in session.log.lines(0, len(session.log)) if line.stream == stream]


def test_a_program_s_lines_are_in_the_log_with_all_that_belongs_to_them(bench: Bench) -> None:
    pid = bench.spawn(
        "sh", "-c", r"printf '\033[31mred\033[0m\n'; printf 'a\0b\n' >&2; printf rest; kill -9 $$"
    )
    bench.wait(pid)
    session = bench.open()
    red, rest = lines_of(session, "stdout")
    (zero,) = lines_of(session, "stderr")
    assert (red.text, red.length, red.torn) == (b"\x1b[31mred\x1b[0m", 13, False)
    assert (zero.text, zero.pid, zero.role) == (b"a\0b", pid, "target")
    assert (rest.text, rest.torn) == (b"rest", True)
    assert session.processes[red.process].pid == pid


def test_output_reaches_its_reader_in_order_and_whole(bench: Bench, tmp_path: Path) -> None:
    command = bench.command(tmp_path / "c", calls=1, tee=1, lines=2000, width=300)
    done = subprocess.run(command, capture_output=True, check=True)
    expected = {fd: b"".join(b"%d:%d:%s\n" % (fd, i, b"x" * 300) for i in range(2000)) for fd in (1, 2)}
    assert done.stdout == expected[1]
    assert done.stderr == expected[2]
    session = bench.open()
    wait_until(lambda: (session.refresh(), len(session.log))[1] == 4000, "all lines")
    for stream, fd in (("stdout", 1), ("stderr", 2)):
        assert b"".join(line.text + b"\n" for line in lines_of(session, stream)) == expected[fd]


def test_two_descriptors_of_one_pipe_keep_their_common_order(bench: Bench, tmp_path: Path) -> None:
    command = bench.command(tmp_path / "c", calls=1, tee=1, lines=500, width=30)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    pairs = (b"%d:%d:%s\n" % (fd, i, b"x" * 30) for i in range(500) for fd in (1, 2))
    assert done.stdout == b"".join(pairs)


def test_a_line_of_a_mebibyte_is_one_line(bench: Bench) -> None:
    pid, _ = bench.produce(calls=1, tee=1, lines=2, width=1 << 20)
    bench.wait(pid)
    session = bench.open()
    assert [line.length for line in lines_of(session, "stderr")] == [(1 << 20) + 5] * 2
    assert not any(line.torn for line in session.log.lines(0, len(session.log)))


def test_a_line_without_an_end_takes_no_memory_and_is_read_as_one(bench: Bench) -> None:
    text = "".join(chr(97 + at % 26) * 1000 + str(at) for at in range(6000))
    (bench.folder / "text").write_text(text + "\nshort\n")
    bench.wait(bench.spawn("cat", str(bench.folder / "text")))
    lines = lines_of(bench.open(), "stdout")
    assert b"".join(line.text for line in lines) == text.encode() + b"short"
    entries = np.fromfile(bench.collector.directory / "log.index", format.LOG_ENTRY, offset=16)
    assert any(int(entry["flags"]) & format.LINE_IN_PIECES for entry in entries)
    if not any(line.torn for line in lines):  # as it is when `cat` rests for two seconds
        assert [line.length for line in lines] == [len(text) + 1, len("short\n")]
    stored = (bench.collector.directory / "log.bytes").stat().st_size
    assert stored < len(text) + 4096  # once, not again and again


def test_a_long_line_without_an_end_survives_the_collector(bench: Bench) -> None:
    text = b"".join(b"%d " % at for at in range(300_000))
    (bench.folder / "text").write_bytes(text)
    pid = bench.spawn("sh", "-c", f"cat {bench.folder}/text; exec sleep 1000")
    partial = bench.collector.directory / "log.partial"

    def is_kept() -> bool:
        """In the log, where it stands torn when no byte came for long, or waiting for its end."""
        log = bench.open().log
        ended = sum(line.length for line in log.lines(0, len(log)))
        with contextlib.suppress(FileNotFoundError):
            head = np.frombuffer(partial.read_bytes()[: format.LOG_ENTRY.itemsize], format.LOG_ENTRY)
            return ended + int(head[0]["length"]) == len(text)
        return ended == len(text)

    wait_until(is_kept, "the whole line to be kept")
    with contextlib.suppress(FileNotFoundError):
        assert partial.stat().st_size < len(text) / 4
    os.kill(bench.collector.pid, signal.SIGKILL)
    session = bench.open()
    wait_until(lambda: (session.refresh(), not session.live)[1], "its end")
    assert b"".join(line.text for line in session.log.lines(0, len(session.log))) == text
    os.kill(pid, signal.SIGKILL)


def test_a_disk_that_fills_up_amid_a_line_costs_that_line_alone(bench: Bench) -> None:
    assert bench.collector.pid is not None
    (bench.folder / "text").write_bytes(b"x" * 3_000_000 + b"\n")
    bench.wait(bench.spawn("echo", "before"))
    no_limit = resource.RLIM_INFINITY
    resource.prlimit(bench.collector.pid, resource.RLIMIT_FSIZE, (1_500_000, no_limit))
    bench.wait(bench.spawn("cat", str(bench.folder / "text")))
    session = bench.open()
    wait_until(lambda: (session.refresh(), session.lost_to_disk[1])[1], "the loss to be told")
    resource.prlimit(bench.collector.pid, resource.RLIMIT_FSIZE, (no_limit, no_limit))
    bench.wait(bench.spawn("echo", "after"))
    session = bench.open()
    texts = [line.text for line in lines_of(session, "stdout")]
    assert texts[0] == b"before" and texts[-1] == b"after"
    assert all(set(text) == {ord("x")} and len(text) < 3_000_000 for text in texts[1:-1])


def test_a_child_of_a_teed_process_has_its_lines_once_and_under_its_own_pid(bench: Bench) -> None:
    counts = bench.folder / "c"
    command = " ".join(bench.command(counts, calls=1, tee=1, lines=3))
    pid = bench.spawn("sh", "-c", f"echo before; {command}; echo after")
    bench.wait(pid)
    session = bench.open()
    wait_until(lambda: (session.refresh(), len(session.log))[1] == 8, "all lines")
    out = lines_of(session, "stdout")
    assert [line.text[:4] for line in out if line.pid != pid] == [b"1:0:", b"1:1:", b"1:2:"]
    assert [line.text for line in out if line.pid == pid] == [b"before", b"after"]
    assert session.processes[1].parent_index == 0


def test_lines_that_a_parent_reads_and_drops_are_in_the_log(bench: Bench) -> None:
    command = " ".join(bench.command(bench.folder / "c", calls=1, tee=1, lines=3))
    pid = bench.spawn("sh", "-c", f"x=$({command} 2>&1)")
    bench.wait(pid)
    session = bench.open()
    wait_until(lambda: (session.refresh(), len(session.log))[1] == 6, "the child's lines")


def test_a_reader_that_is_gone_is_met_as_without_us(bench: Bench, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    command = bench.command(tmp_path / "c", calls=1, tee=1, lines=10_000_000)
    target = subprocess.Popen(command, stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    os.read(reader, 100)
    os.close(reader)
    assert target.wait(PATIENCE_SECONDS) == -signal.SIGPIPE


def test_a_slow_reader_holds_its_writer_up(bench: Bench, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    command = bench.command(tmp_path / "c", calls=1, tee=1, lines=40_000, width=200)
    target = subprocess.Popen(command, stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    session = bench.open()
    wait_until(lambda: (session.refresh(), len(session.log))[1] > 1000, "some lines")
    assert target.poll() is None
    received = bytearray()
    while data := os.read(reader, 1 << 16):
        received += data
    os.close(reader)
    assert target.wait(PATIENCE_SECONDS) == 0
    assert received == b"".join(b"1:%d:%s\n" % (i, b"x" * 200) for i in range(40_000))


def test_when_the_collector_is_killed_a_target_without_a_reader_writes_on(bench: Bench) -> None:
    done = bench.folder / "done"
    pid = bench.spawn("sh", "-c", f"echo one; kill -STOP $$; echo two && echo three >&2 && touch {done}")
    session = bench.open()
    wait_until(lambda: (session.refresh(), len(session.log))[1] == 1, "the first line")
    os.kill(bench.collector.pid, signal.SIGKILL)
    wait_until(lambda: (session.refresh(), not session.live)[1], "the end of the collector")
    wait_until(lambda: os.kill(pid, signal.SIGCONT) or done.exists(), "the target to write on")


def test_when_the_collector_is_killed_output_still_reaches_its_reader(bench: Bench, tmp_path: Path) -> None:
    counts = tmp_path / "c"
    command = bench.command(counts, calls=1, tee=1, lines=100_000, width=100)
    target = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert target.stdout is not None
    first = target.stdout.read(50_000)
    os.kill(bench.collector.pid, signal.SIGKILL)
    rest = target.stdout.read()
    assert target.wait(PATIENCE_SECONDS) == 0
    assert completed(counts) == 1
    whole = first + rest
    assert whole.startswith(b"1:0:") and whole.endswith(b"1:99999:" + b"x" * 100 + b"\n")


def test_the_last_words_without_a_newline_survive_the_collector(bench: Bench) -> None:
    bench.spawn("sh", "-c", "printf 'about to hang'; exec sleep 1000")
    partial = bench.collector.directory / "log.partial"
    wait_until(lambda: partial.exists() or len(bench.open().log), "the words to be kept")
    os.kill(bench.collector.pid, signal.SIGKILL)
    session = bench.open()
    wait_until(lambda: (session.refresh(), not session.live)[1], "its end")
    assert [line.text for line in session.log.lines(0, len(session.log))] == [b"about to hang"]
    os.kill(session.processes[0].pid, signal.SIGKILL)


@pytest.mark.parametrize("role", ["build", "host"])
def test_a_build_s_and_the_host_s_lines_are_marked_so(bench: Bench, role: str) -> None:
    pid = bench.spawn("sh", "-c", "echo one; echo two >&2", role=role)
    bench.wait(pid)
    session = bench.open()
    assert sorted(line.text for line in lines_of(session, role)) == [b"one", b"two"]
    assert {line.role for line in session.log.lines(0, 2)} == {role}
