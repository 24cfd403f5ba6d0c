"""The Python end of the collector: starts or finds it, and asks it for things.

The collector (workbench/tap/collector/) is a process of its own. It starts the targets and writes the
session, so both outlive a crash of the workbench, which then attaches again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal as signals
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from workbench.errors import ShimbenchError

if TYPE_CHECKING:
    from workbench.filter.breakpoint import BreakRow

_LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes
_TIMEOUT = 20.0  # seconds for an answer; sealing a large tail takes well under one


class CollectorError(ShimbenchError):
    """The collector can't be started or reached, or refuses; says what and why."""


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a program that was started with spawn(); both None when nobody could tell how."""

    pid: int
    exit_code: int | None
    signal: int | None


class _Channel:
    """Messages over one of the collector's stream sockets: u32 length, fields with NUL between them."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._received = b""
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise CollectorError(f"{path}: no collector answers: {error.strerror}") from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, *fields: str | bytes) -> None:
        message = b"\0".join(field if isinstance(field, bytes) else os.fsencode(field) for field in fields)
        try:
            self._socket.settimeout(_TIMEOUT)
            self._socket.sendall(struct.pack("<I", len(message)) + message)
        except OSError as error:
            raise CollectorError(f"the collector is gone: {error.strerror}") from error

    def take(self, wait: bool) -> list[bytes] | None:
        """The fields of the next message; None when there is none yet (only without `wait`)."""
        while True:
            if len(self._received) >= 4:
                (length,) = struct.unpack_from("<I", self._received)
                if len(self._received) >= 4 + length:
                    message = self._received[4 : 4 + length]
                    self._received = self._received[4 + length :]
                    return message.split(b"\0")
            try:
                self._socket.settimeout(_TIMEOUT if wait else 0)
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return None
            except OSError as error:
                raise CollectorError(f"the collector does not answer: {error}") from error
            if not data:
                raise CollectorError("the collector is gone")
            self._received += data

    def close(self) -> None:
        self._socket.close()


def socket_directory(session: Path) -> Path:
    """Where a session's sockets lie: in it, or where its file `sockets` says when its path is too long."""
    pointer = session / "sockets"
    return Path(pointer.read_text().strip()) if pointer.exists() else session


class Collector:
    """A running collector. Not for several threads at once."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes] | None = None) -> None:
        """Use start() or attach()."""
        self.directory = directory
        self._sockets = socket_directory(directory)
        self._process = process
        self._requests = _Channel(self._sockets / "control.sock")
        self._exits = _Channel(self._sockets / "control.sock")
        self._exits.send("watch")

    @classmethod
    def start(
        cls,
        directory: Path,
        model: Path | None,
        *,
        program: Path | None = None,
        idle_exit: bool = True,
        tool: str = "0.1.0",
        sockets: Path | None = None,
        user: int | None = None,
        run: int | None = None,
    ) -> Collector:
        """Make a session in `directory` and wait until targets can register.

        `program` is the collector's binary (else the built one). With `idle_exit` it ends by itself
        once the workbench is gone and no target runs. `sockets` is an existing folder for its sockets,
        `user` whose processes may register besides our own, and `run` the number of the run to which
        processes belong that were not started here. CollectorError with its own words otherwise.
        """
        if program is None:
            from workbench import native

            program = native.paths().bin / "shimbench-collector"
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True)
        command = [str(program), str(directory), "--tool", tool]
        if model is not None:
            command += ["--schema", str(model)]
        if idle_exit:
            command.append("--idle-exit")
        if user is not None:
            command += ["--user", str(user)]
        if run is not None:
            command += ["--run", str(run)]
        if sockets is not None:
            (directory / "sockets").write_text(f"{sockets}\n")
            command += ["--sockets", str(sockets)]
        elif len(os.fsencode(directory / "collector.sock")) > _LONGEST_SOCKET_PATH:
            base = os.environ.get("XDG_RUNTIME_DIR")
            sockets = Path(
                tempfile.mkdtemp(prefix="shimbench-", dir=base if base and len(base) < 60 else "/tmp")
            )
            (directory / "sockets").write_text(f"{sockets}\n")
            command += ["--sockets", str(sockets)]
        errors = directory / "collector.stderr"
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        assert process.stdout is not None
        with process.stdout:
            if process.stdout.readline() != b"ready\n":
                process.wait()
                raise CollectorError(errors.read_text(errors="replace").strip() or f"{program} did not start")
        return cls(directory, process)

    @classmethod
    def attach(cls, directory: Path) -> Collector:
        """Find the collector of a session that is still written; exits nobody heard of come by poll()."""
        return cls(directory.absolute())

    def __enter__(self) -> Collector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def socket_path(self) -> Path:
        """Where targets register; short enough for a socket address."""
        return self._sockets / "collector.sock"

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, role: str, run: int) -> int:
        """Start a program in a session and process group of its own; its pid.

        `env` is all of its environment. Its output goes to the log under `role` ("target", "host",
        "build", "exercise"). CollectorError when it can't be executed.
        """
        variables = [f"{name}={value}" for name, value in env.items()]
        return int(self._ask("spawn", role, str(run), str(cwd), str(len(argv)), *argv, *variables, ""))

    def signal(self, pid: int, sig: int, group: bool = True) -> None:
        """Signal a program that was started here, with its process group. One that is gone is no error."""
        self._ask("signal", str(pid), str(int(sig)), "1" if group else "0")

    def event(self, kind: str, /, **fields: Any) -> None:
        """Append to the events stream; fields are JSON."""
        self._ask("event", kind, json.dumps(fields)[1:-1])

    def blob(self, data: bytes) -> int:
        """Keep `data` among the payloads; its number, for a field of an event that follows."""
        return int(self._ask("blob", data))

    def line(self, text: str | bytes, *, stream: str, role: str, pid: int = 0) -> None:
        """Append a line to the log that no process wrote to its output; with its newline, or it is torn."""
        self._ask("line", stream, role, str(pid), text)

    def set_breakpoints(self, rows: Iterable[BreakRow]) -> None:
        """Have exactly these breakpoints, in all processes there are and will be."""
        words = [str(word) for row in rows for word in (row.function, int(row.kind), row.value, row.nth)]
        self._ask("breakpoints", *words)

    def record_buffers(self, limit: int, *, inputs: bool = True, outputs: bool = True) -> None:
        """Have the buffers that calls are given and fill recorded from now on, in all processes, up to
        `limit` bytes of the session; 0 records no more."""
        which = (inputs * 1 + outputs * 2) if limit else 0
        self._ask("buffers", str(which), str(limit))

    def release(self, identity: tuple[int, int, int] | None = None) -> None:
        """Let a call that a breakpoint stopped go on (process index, thread, sequence); None: all."""
        self._ask("release", *(str(word) for word in identity or ()))

    def poll(self) -> list[Exit]:
        """Exits of what was spawned, since the last time; does not wait."""
        exits = []
        while (fields := self._exits.take(wait=False)) is not None:
            kind, pid, code, number = (field.decode() for field in fields)
            assert kind == "exit"
            killed_by = int(number) or None
            exits.append(Exit(int(pid), int(code) if code and not killed_by else None, killed_by))
        return exits

    def fileno(self) -> int:
        """Readable when poll() has something to say, or the collector is gone (CollectorError of poll)."""
        return self._exits.fileno()

    def close(self) -> None:
        """Have the session sealed and the collector end; targets that still run go on, unrecorded."""
        try:
            self._ask("close")
            if self._process is None:
                self._await_its_end()
        finally:
            self.detach()
            if self._process is not None:
                try:
                    self._process.wait(_TIMEOUT)
                except subprocess.TimeoutExpired:
                    self._process.send_signal(signals.SIGKILL)
                    self._process.wait()
            self._remove_sockets()

    def _await_its_end(self) -> None:
        """Until it has hung up; exits it tells meanwhile are nobody's any more."""
        try:
            while True:
                self._exits.take(wait=True)
        except CollectorError:
            return

    def detach(self) -> None:
        """Leave it running: for whoever attaches next."""
        self._requests.close()
        self._exits.close()

    @property
    def pid(self) -> int | None:
        """Of the collector's process; None for who only attached."""
        return None if self._process is None else self._process.pid

    def kill(self) -> None:
        """Kill the collector at once, as a crash would; the session stays readable."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self) -> int:
        """Until it has ended by itself; its exit status."""
        assert self._process is not None
        return self._process.wait(_TIMEOUT)

    def _remove_sockets(self) -> None:
        for name in ("collector.sock", "control.sock"):
            (self._sockets / name).unlink(missing_ok=True)
        if self._sockets != self.directory:
            with contextlib.suppress(OSError):  # it was given to us, and others use it as well
                self._sockets.rmdir()
            (self.directory / "sockets").unlink(missing_ok=True)

    def _ask(self, *fields: str | bytes) -> str:
        self._requests.send(*fields)
        answer = self._requests.take(wait=True)
        assert answer is not None
        verdict, text = answer[0], b"\0".join(answer[1:]).decode(errors="replace")
        if verdict != b"ok":
            raise CollectorError(text)
        return text
