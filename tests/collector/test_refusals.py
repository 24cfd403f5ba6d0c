"""What connects to the collector's socket and is no target of ours."""

from __future__ import annotations

import os
import socket
import struct

from conftest import Bench

from tests.patience import wait_until

HELLO = struct.Struct("<6IQ16s")  # tap_abi.h: struct tap_hello
KIND = 1  # TAP_HELLO


def test_refusals_are_told_up_to_a_limit(bench: Bench) -> None:
    region = os.memfd_create("no region")
    for _ in range(150):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(bench.collector.socket_path))
            hello = HELLO.pack(KIND, 3, os.getpid(), os.getppid(), os.getpid(), 0, 1 << 20, b"tap")
            socket.send_fds(connection, [hello], [region])
            assert connection.recv(16)[4:8] == bytes(4)  # not accepted
    os.close(region)
    bench.wait(bench.spawn("true"))  # it goes on
    session = bench.open()
    wait_until(lambda: (session.refresh(), bool(session.processes))[1], "the target")
    refusals = [event.fields["why"] for event in session.events if event.kind == "refused"]
    assert len(refusals) == 100 and refusals[0] + "; further ones are not told" == refusals[-1]
