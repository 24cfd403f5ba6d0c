"""The forwarder as processes: clients come, go, are killed, lie, and do not disturb one another."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import stat
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hosting import ANSWER, MAGIC, OFFER, Host, Probe, greet

from tests.patience import PATIENCE_SECONDS, wait_until

StartHost = Callable[..., Host]
StartProbe = Callable[..., Probe]

INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, LAUNCH_FAILED = 1, 2, 3, 719
SYSTEM_NOT_READY, SYSTEM_DRIVER_MISMATCH, DEVICE_UNAVAILABLE = 802, 803, 46
HEAD_OFFSET = 128
RING_OFFSET = 4096


def test_a_client_learns_what_the_device_is(start_host: StartHost, start_probe: StartProbe) -> None:
    host = start_host("--memory", "512M", "--compute-capability", "7.5", "--name", "Test GPU")
    probe = start_probe(host)
    assert probe.ask_line("device") == f"device Test GPU {512 << 20} 7.5"
    device = host.state()["device"]
    assert device["kind"] == "count-only"
    assert device["executes_kernels"] is False
    assert "NOT executed" in host.log()


@pytest.mark.parametrize("size", [1, 4096, 4097, 16000, 16321, 262144, 262145, 9_000_001])
def test_copied_bytes_come_back_the_same(host: Host, start_probe: StartProbe, size: int) -> None:
    assert start_probe(host).ask(f"check {size}") == ["check", "0", "same"]


@pytest.mark.parametrize("size", [4097, 16321, 262145, 1 << 20, 20_000_001])
def test_bytes_outside_the_window_come_back_the_same(host: Host, start_probe: StartProbe, size: int) -> None:
    assert start_probe(host).ask(f"mapped {size}") == ["mapped", "0", "same"]


def test_pinned_memory_is_one_memory_at_one_address(host: Host, start_probe: StartProbe) -> None:
    assert start_probe(host).ask("pinned 1000000") == ["pinned", "0", "same"]


def test_a_posted_error_is_told_once_by_the_next_synchronising_call(
    host: Host, start_probe: StartProbe
) -> None:
    probe = start_probe(host)
    assert probe.ask("fill 4096") == ["fill", "0"]
    assert probe.ask("synchronize") == ["synchronize", str(INVALID_VALUE)]
    assert probe.ask("synchronize") == ["synchronize", "0"]
    wait_until(
        lambda: [client["errors"] for client in host.state()["clients"]] == [1], "the error is counted"
    )


def test_a_killed_client_frees_its_memory(host: Host, start_probe: StartProbe) -> None:
    probe, other = start_probe(host), start_probe(host)
    assert probe.ask(f"alloc {1 << 30}")[1] == "0"
    assert wait_until(lambda: host.state()["memory_used"], "the memory is shown") == 1 << 30
    assert other.ask("info")[2] == str((8 << 30) - (1 << 30))
    probe.kill()
    wait_until(lambda: host.state()["memory_used"] == 0, "the memory is free")
    assert other.ask("info")[2] == str(8 << 30)


def test_a_killed_client_is_noticed_while_its_child_keeps_the_socket(
    host: Host, start_probe: StartProbe
) -> None:
    probe = start_probe(host)
    assert probe.ask("alloc 4096")[1] == "0"
    assert probe.ask("fork") == ["fork", str(NOT_INITIALIZED), "0"]
    probe.kill()
    wait_until(lambda: not host.state()["clients"], "both workers ended")


def test_clients_cannot_reach_each_others_memory(host: Host, start_probe: StartProbe) -> None:
    first, second = start_probe(host), start_probe(host)
    _, result, address = first.ask("alloc 4096")
    assert result == "0"
    assert second.ask(f"free {address}") == ["free", str(INVALID_VALUE)]
    assert second.ask(f"fill {address}") == ["fill", "0"]
    assert second.ask("synchronize") == ["synchronize", str(INVALID_VALUE)]
    assert first.ask(f"fill {address}") == ["fill", "0"]
    assert first.ask("synchronize") == ["synchronize", "0"]


def test_a_workers_crash_is_told_to_its_client_alone(host: Host, start_probe: StartProbe) -> None:
    struck, other = start_probe(host), start_probe(host)
    struck.ask("ping 1")
    os.kill(host.worker_of(struck), signal.SIGSEGV)
    event = wait_until(lambda: host.events("worker-crashed"), "the crash is told")[0]
    assert event["pid"] == struck.process.pid
    assert "SIGSEGV" in event["text"]
    assert struck.ask("ping 1") == ["ping", str(LAUNCH_FAILED)]
    assert struck.ask("synchronize") == ["synchronize", str(LAUNCH_FAILED)]
    assert other.ask("ping 100") == ["ping", "0"]
    assert start_probe(host).ask("ping 1") == ["ping", "0"]


def test_another_protocol_is_refused_with_a_sentence_in_the_hosts_log(host: Host) -> None:
    connection, offer, region = greet(host.socket_path, "77ab12" + "0" * 25)
    sentence = (
        f"host speaks protocol {offer['protocol'][:6]}, this shim 77ab12: rebuild both (shimbench build)"
    )
    assert offer["status"] == 1
    assert offer["text"] == sentence
    assert region == -1
    wait_until(lambda: sentence in host.log(), "the log says so")
    assert host.events("refused")[0]["text"] == sentence
    connection.close()


def test_another_protocol_is_refused_with_a_sentence_in_the_client(
    tmp_path: Path, start_probe: StartProbe
) -> None:
    path = tmp_path / "other.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen()
    probe = start_probe()
    assert probe.process.stdin is not None and probe.process.stdout is not None
    probe.process.stdin.write(f"connect {path}\n")
    probe.process.stdin.flush()
    connection, _ = listener.accept()
    own = struct.unpack_from("<Q32s", connection.recv(64))[1].decode()
    connection.send(OFFER.pack(MAGIC, b"8f21c0" + b"0" * 25, 1, 0, 0, 0, 0, 0, b"whatever the host says"))
    assert probe.process.stdout.readline() == (
        f"connect {SYSTEM_DRIVER_MISMATCH} "
        f"host speaks protocol 8f21c0, this shim {own[:6]}: rebuild both (shimbench build)\n"
    )


def test_no_host_is_an_error_that_names_the_socket(tmp_path: Path, start_probe: StartProbe) -> None:
    answer = start_probe().ask_line(f"connect {tmp_path}/none.sock")
    assert answer.startswith(f"connect {SYSTEM_NOT_READY} no host listens at {tmp_path}/none.sock")


def test_only_the_owner_may_connect(host: Host) -> None:
    assert stat.S_IMODE(host.socket_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(host.state_path.stat().st_mode) == 0o600


def test_sigterm_ends_host_and_workers_and_removes_the_socket(host: Host, start_probe: StartProbe) -> None:
    probe = start_probe(host)
    probe.ask("ping 1")
    worker = host.worker_of(probe)
    assert host.stop() == 0
    assert not host.socket_path.exists()
    assert not Path(f"/proc/{worker}").exists()
    assert probe.ask("ping 1") == ["ping", str(LAUNCH_FAILED)]
    assert host.events("stopped")


def test_a_worker_that_the_signal_to_end_the_host_reached_first_has_not_crashed(
    host: Host, start_probe: StartProbe
) -> None:
    probe = start_probe(host)
    probe.ask("ping 1")
    worker = host.worker_of(probe)
    host.process.send_signal(signal.SIGSTOP)  # as a signal to their group may: it comes to the worker first
    os.kill(worker, signal.SIGTERM)
    assert probe.ask("ping 1") == ["ping", str(LAUNCH_FAILED)]
    host.process.send_signal(signal.SIGTERM)
    host.process.send_signal(signal.SIGCONT)
    assert host.process.wait(PATIENCE_SECONDS) == 0
    assert not host.events("worker-crashed")
    assert "the signal that ends the host" in host.events("left")[0]["text"]


def test_a_second_host_at_the_same_socket_is_refused(host: Host, start_host: StartHost) -> None:
    second = start_host()
    assert second.process.wait() == 1
    assert "another host listens there" in second.log()


def test_a_socket_left_behind_is_taken_over(
    host: Host, start_host: StartHost, start_probe: StartProbe
) -> None:
    host.process.kill()
    host.process.wait()
    host.state_path.unlink()
    assert start_probe(start_host()).ask("ping 1") == ["ping", "0"]


def test_more_clients_than_the_limit_are_refused(start_host: StartHost, start_probe: StartProbe) -> None:
    host = start_host("--max-clients", "1")
    first = start_probe(host)
    host.worker_of(first)  # an empty list from before it came would look like a place that is free again
    answer = start_probe().ask_line(f"connect {host.socket_path}")
    assert answer.startswith(
        f"connect {DEVICE_UNAVAILABLE} the host refuses this process: there are 1 clients"
    )
    first.kill()
    wait_until(lambda: not host.state()["clients"], "the first one's place is free")
    assert start_probe(host).ask("ping 1") == ["ping", "0"]


def test_who_finds_all_places_taken_waits_for_one_whose_client_has_ended(
    start_host: StartHost, start_probe: StartProbe
) -> None:
    """However long its worker takes: here it is stopped, as by a busy machine."""
    host = start_host("--max-clients", "1")
    first, second, third = start_probe(host), start_probe(), start_probe()
    worker = host.worker_of(first)
    os.kill(worker, signal.SIGSTOP)
    first.kill()
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(second.ask_line(f"connect {host.socket_path}")))
    asking.start()
    wait_until(lambda: host.events("waiting"), "it waits")
    os.kill(worker, signal.SIGCONT)
    asking.join()
    assert [answer.split() for answer in answers] == [["connect", "0"]]
    assert host.events("refused") == []
    said = third.ask_line(f"connect {host.socket_path}")  # nobody goes
    assert "there are 1 clients, the most it serves (shimbench-host --max-clients N" in said


def test_memory_is_limited_per_client_and_in_all(start_host: StartHost, start_probe: StartProbe) -> None:
    host = start_host("--memory", "64M", "--client-memory", "48M")
    first, second = start_probe(host), start_probe(host)
    assert first.ask(f"alloc {49 << 20}")[1] == str(OUT_OF_MEMORY)
    assert first.ask(f"alloc {48 << 20}")[1] == "0"
    assert second.ask(f"alloc {17 << 20}")[1] == str(OUT_OF_MEMORY)
    assert second.ask(f"alloc {16 << 20}")[1] == "0"


def test_a_client_that_breaks_the_protocol_is_dropped_alone(host: Host, start_probe: StartProbe) -> None:
    other = start_probe(host)
    garbage = {
        "a head beyond the ring": (1 << 40, b""),
        "a head that is not aligned": (7, b""),
        "a message of no length": (32, bytes(32)),
        "a message longer than what is there": (32, struct.pack("<HHI24x", 1, 0, 4096)),
        "an unknown function": (32, struct.pack("<HHIIIQQ", 0xEEEE, 0, 32, 0xFFFFFFFF, 1, 0, 1)),
        "a slot that is not there": (32, struct.pack("<HHIIIQQ", 0xF001, 0, 32, 64, 1, 0, 1)),
    }
    protocol = host.state()["protocol"]
    for number, (what, (head, message)) in enumerate(garbage.items(), 1):
        connection, offer, region = greet(host.socket_path, protocol)
        assert offer["status"] == 0
        connection.send(ANSWER.pack(MAGIC, 1, 0))
        with mmap.mmap(region, 1 << 20) as memory:
            memory[RING_OFFSET : RING_OFFSET + len(message)] = message
            memory[HEAD_OFFSET : HEAD_OFFSET + 8] = struct.pack("<Q", head)
            connection.send(b"\0")
            wait_until(lambda n=number: len(host.events("protocol-broken")) == n, what)
        os.close(region)
        connection.close()
    assert other.ask("ping 10") == ["ping", "0"]


def test_the_region_cannot_be_shortened_under_the_worker(host: Host) -> None:
    connection, _, region = greet(host.socket_path, host.state()["protocol"])
    with pytest.raises(PermissionError):
        os.ftruncate(region, 0)
    os.close(region)
    connection.close()


PTX = """.version 8.0
.target sm_80
.address_size 64
.visible .entry scale(.param .u64 scale_0, .param .f32 scale_1, .param .align 4 .b8 scale_2[12])
{
    .shared .align 4 .b8 tile[256];
    ret;
}
"""


def test_a_kernel_is_found_in_ptx_and_its_launches_are_counted(
    host: Host, start_probe: StartProbe, tmp_path: Path
) -> None:
    image = tmp_path / "scale.ptx"
    image.write_text(PTX)
    probe = start_probe(host)
    assert probe.ask(f"load {image}") == ["load", "0"]
    assert probe.ask("launch nothing") == ["launch", "500"]
    for _ in range(3):
        assert probe.ask("launch scale") == ["launch", "0"]
    wait_until(lambda: host.state()["launches"] == 3, "three launches are shown")


def test_an_image_that_is_none_is_refused(host: Host, start_probe: StartProbe, tmp_path: Path) -> None:
    image = tmp_path / "text"
    image.write_text("no code at all")
    assert start_probe(host).ask(f"load {image}") == ["load", "200"]


def test_unknown_options_are_usage_errors(start_host: StartHost) -> None:
    host = start_host("--colour", "red")
    assert host.process.wait() == 2
    assert "--colour" in host.log()
