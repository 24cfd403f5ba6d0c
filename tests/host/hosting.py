"""A running shimbench-host, clients without a shim, and the wire's greeting in Python."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_SECONDS, wait_until

MAGIC = 0x3145524957425453
HELLO = struct.Struct("<Q32sI20x")
OFFER = struct.Struct("<Q32sII4Q256s")
ANSWER = struct.Struct("<QII")


class Probe:
    """tests/native/wire/probe.c as a process; one command, one answer."""

    def __init__(self, program: Path, socket_path: Path | None = None) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if socket_path is not None:
            assert self.ask(f"connect {socket_path}") == ["connect", "0"]

    def ask(self, command: str) -> list[str]:
        """The words of the answer."""
        return self.ask_line(command).split()

    def ask_line(self, command: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


class Host:
    """shimbench-host with its state and its log."""

    def __init__(self, program: Path, folder: Path, *options: str) -> None:
        self.socket_path = folder / "host.sock"
        self.state_path = folder / "state.jsonl"
        self.log_path = folder / "host.log"
        with self.log_path.open("wb") as log:
            places = ["--socket", self.socket_path, "--state", self.state_path]
            command = [program, "--device", "count-only", *places, *options]
            self.process = subprocess.Popen(command, stderr=log)
        wait_until(lambda: self.states() or self.process.poll() is not None, "the host listens")

    def lines(self) -> list[dict[str, Any]]:
        if not self.state_path.exists():
            return []
        text = self.state_path.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def states(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["kind"] == "state"]

    def state(self) -> dict[str, Any]:
        return self.states()[-1]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["kind"] == "event" and line["event"] == name]

    def log(self) -> str:
        return self.log_path.read_text()

    def worker_of(self, probe: Probe) -> int:
        def find() -> int | None:
            clients = [c for c in self.state()["clients"] if c["pid"] == probe.process.pid]
            return clients[0]["worker"] if clients else None

        return int(wait_until(find, "the client is in the state"))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


def greet(path: Path, protocol: str) -> tuple[socket.socket, dict[str, Any], int]:
    """Connects as a shim of that protocol would.

    The connection, the offer, and the region's descriptor (-1: none came).
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(PATIENCE_SECONDS)
    connection.connect(str(path))
    connection.send(HELLO.pack(MAGIC, protocol.encode(), os.getpid()))
    data, control, _, _ = connection.recvmsg(OFFER.size, socket.CMSG_SPACE(4))
    descriptors = array.array("i")
    for level, kind, payload in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(payload[:4])
    _, protocol_bytes, status, _, region, base, device, pinned, text = OFFER.unpack(data)
    offer = {
        "protocol": protocol_bytes.rstrip(b"\0").decode(),
        "status": status,
        "region_bytes": region,
        "range": (base, device, pinned),
        "text": text.split(b"\0")[0].decode(),
    }
    return connection, offer, descriptors[0] if descriptors else -1
