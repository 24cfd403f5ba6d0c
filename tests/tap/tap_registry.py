"""A collector for tests alone: takes registrations, holds the regions, and decodes them when asked.

It drains nothing, so a test's processes have 256 MiB each. The real collector is workbench/tap/collector/.
"""

from __future__ import annotations

import array
import mmap
import os
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HELLO = struct.Struct("<6IQ16s")
WELCOME = struct.Struct("<4I")
RECORD = struct.Struct("<QQQIIHBBiQQQ")
CHUNK = struct.Struct("<4I")
THREAD = struct.Struct("<4IQ16s")
SLOT = struct.Struct("<QQIIHHI4Q")
ITEM = struct.Struct("<BBHI")
REGION = struct.Struct("<QIIQQQQQ32sIIQIIQQQ4I")

CELL, CHUNK_SIZE, THREAD_SIZE, SLOTS = 64, 65536, 64 + 64 * 24, 24

DLSYM, DLVSYM, DLOPEN, LOAD, TABLE_SLOT, UNKNOWN, MODULE = range(0xF001, 0xF008)
INTERNAL, TRUNCATED, LOST_BEFORE, LINK_TIME = 1, 4, 8, 16
ARGS, OUT, IN, STRING, RESOLVED, TABLE, LOST, RETURN = range(1, 9)


@dataclass(frozen=True)
class Item:
    """One payload item."""

    kind: int
    index: int
    data: bytes
    original: int


@dataclass(frozen=True)
class Record:
    """One completed call."""

    start: int
    duration: int
    caller: int
    sequence: int
    parent: int
    function: int
    flags: int
    result: int
    args: tuple[int, int, int]
    tid: int
    items: tuple[Item, ...]

    def strings(self) -> list[str]:
        """The strings, in order."""
        return [item.data.decode() for item in self.items if item.kind == STRING]

    def item(self, kind: int, index: int = 0) -> bytes | None:
        """The data of the item of that kind and index, None when there is none."""
        return next((i.data for i in self.items if i.kind == kind and i.index == index), None)


@dataclass(frozen=True)
class InFlight:
    """One call under way."""

    function: int
    sequence: int
    args: tuple[int, ...]
    tid: int


@dataclass
class Region:
    """One registered process."""

    pid: int
    ppid: int
    origin: str
    memory: mmap.mmap
    connection: socket.socket
    pipes: dict[int, int] = field(default_factory=dict)

    def header(self) -> tuple[int, ...]:
        """The fields of struct tap_region."""
        return REGION.unpack_from(self.memory, 0)

    def _threads(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        head = self.header()
        for number in range(head[10]):
            at = head[9] + number * THREAD_SIZE
            thread = THREAD.unpack_from(self.memory, at)
            if thread[0] or thread[2]:
                yield at, thread

    def lost(self) -> int:
        """Records the tap counted as lost."""
        return self.header()[15] + sum(thread[4] for _, thread in self._threads())

    def thread_states(self) -> list[int]:
        """The state of every thread block ever used."""
        return [thread[0] for _, thread in self._threads()]

    def in_flight(self) -> list[InFlight]:
        """Calls under way."""
        found = []
        for at, thread in self._threads():
            for number in range(SLOTS):
                slot = SLOT.unpack_from(self.memory, at + 64 + 64 * number)
                if slot[4]:
                    found.append(InFlight(slot[4], slot[2], slot[7:], thread[1]))
        return found

    def records(self) -> list[Record]:
        """All completed calls, thread by thread. Fails when a chain is torn."""
        chunks_at = self.header()[11]
        found: list[Record] = []
        for _, thread in self._threads():
            number = thread[2]
            while number:
                base = chunks_at + (number - 1) * CHUNK_SIZE
                committed, number, _, _ = CHUNK.unpack_from(self.memory, base)
                found += self._chunk(base, committed, thread[1])
        return found

    def _chunk(self, base: int, committed: int, tid: int) -> Iterator[Record]:
        cell = 1
        while cell <= committed:
            at = base + cell * CELL
            raw = RECORD.unpack_from(self.memory, at)
            cells = raw[6]
            assert cells >= 1 and cell + cells - 1 <= committed, "a record reaches past what is committed"
            assert raw[5], "a record of no function"
            items = tuple(self._items(at + CELL, at + cells * CELL))
            yield Record(*raw[:6], raw[7], raw[8], raw[9:12], tid, items)
            cell += cells

    def _items(self, at: int, end: int) -> Iterator[Item]:
        while at + ITEM.size <= end:
            kind, index, length, original = ITEM.unpack_from(self.memory, at)
            if kind == 0:
                return
            at += ITEM.size
            assert at + length <= end, "an item reaches past its record"
            yield Item(kind, index, self.memory[at : at + length], original)
            at += (length + 7) & ~7


class Registry:
    """Listens on ``path`` and keeps every region handed in, in ``regions``."""

    def __init__(self, path: Path, tee: bool = False) -> None:
        self.path = path
        self.tee = tee
        self.regions: list[Region] = []
        self.log: dict[int, bytearray] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        data, control, _, _ = connection.recvmsg(HELLO.size, socket.CMSG_SPACE(12))
        if len(data) != HELLO.size:
            return
        fds = array.array("i")
        for _, _, part in control:
            fds.frombytes(part)
        _, _, pid, ppid, _, tee, size, origin = HELLO.unpack(data)
        memory = mmap.mmap(fds[0], size)
        region = Region(pid, ppid, origin.rstrip(b"\0").decode(), memory, connection)
        ends: list[int] = []
        bits = 0
        for teed, original in zip([fd for fd in (1, 2) if tee & fd], fds[1:], strict=True):
            if not self.tee:
                os.close(original)
                continue
            read_end, write_end = os.pipe()
            bits |= teed
            ends.append(write_end)
            threading.Thread(target=self._copy, args=(read_end, original, pid), daemon=True).start()
        os.close(fds[0])
        self.regions.append(region)
        socket.send_fds(connection, [WELCOME.pack(2, 1, bits, len(self.regions))], ends)
        for end in ends:
            os.close(end)

    def _copy(self, read_end: int, original: int, pid: int) -> None:
        while data := os.read(read_end, 65536):
            self.log.setdefault(pid, bytearray()).extend(data)
            os.write(original, data)
        os.close(read_end)
        os.close(original)

    def records(self) -> list[Record]:
        """The records of all processes."""
        return [record for region in self.regions for record in region.records()]

    def of(self, pid: int) -> list[Region]:
        """The regions that one process registered, oldest first."""
        return [region for region in self.regions if region.pid == pid]

    def lost(self) -> int:
        """Records lost in all processes."""
        return sum(region.lost() for region in self.regions)

    def close(self) -> None:
        """Stops listening; regions stay readable."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for region in self.regions:
            region.connection.close()
