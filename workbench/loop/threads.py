"""What /proc tells of the threads of a process that does not get on: nothing is stopped, no debugger needed.

Two looks a moment apart tell who sleeps, who wakes up again and again and who spins. Whoever waits for a
mutex waits at its address, and glibc keeps the holder's thread id in it. Without a debugger the return
addresses that lie on a sleeping thread's stack stand for its frames: older calls may be among them.
"""

from __future__ import annotations

import bisect
import functools
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

BETWEEN_SECONDS = 0.25
MOST_THREADS = 64
MOST_FRAMES = 24
STACK_BYTES = 64 << 10
OWNER_OFFSET = 8
"""Of the holder's thread id in glibc's pthread_mutex_t on x86-64, behind the lock word and the count."""
_FUTEX = 202
#: x86-64's numbers of what a thread is seen to wait in.
_SYSCALLS = {
    0: "read", 1: "write", 7: "poll", 23: "select", 24: "sched_yield", 34: "pause", 35: "nanosleep",
    42: "connect", 43: "accept", 45: "recvfrom", 47: "recvmsg", 61: "wait4", 128: "rt_sigtimedwait",
    202: "futex", 230: "clock_nanosleep", 232: "epoll_wait", 247: "waitid", 270: "pselect6", 271: "ppoll",
    281: "epoll_pwait", 288: "accept4", 441: "epoll_pwait2",
}  # fmt: skip


@dataclass(frozen=True)
class ThreadLook:
    """One thread. `syscall` is "" while it runs; `holder`: the thread that holds what it waits for, or 0.

    Between the looks: `cpu` is the share of a core that it got, `wakes` how often a second it went to sleep
    again, `runs` whether it never did.
    """

    tid: int
    name: str
    state: str
    syscall: str = ""
    wchan: str = ""
    holder: int = 0
    cpu: float = 0.0
    wakes: float = 0.0
    runs: bool = False
    frames: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, without the frames, which are lines of their own."""
        return {name: value for name, value in asdict(self).items() if name != "frames"}


@dataclass(frozen=True)
class _Glance:
    name: str
    state: str
    ticks: int
    switches: int
    call: tuple[int, ...]
    """number of the system call, its six arguments, stack and instruction pointer; () while running"""


def look(pid: int, with_frames: bool) -> list[ThreadLook]:
    """Each thread, the first one first; [] when the process is gone. Blocks for a quarter of a second.

    `with_frames`: also what lies on the stacks. Reading memory wants the rights of a debugger.
    """
    first, began = dict(_glances(pid)), time.monotonic()
    time.sleep(BETWEEN_SECONDS)
    second, took = dict(_glances(pid)), time.monotonic() - began
    space = _Space(pid)
    found = []
    for tid, now in second.items():
        before = first.get(tid, now)
        stays = now.call[:2] == before.call[:2] and bool(now.call)
        holder = space.holder(now.call[1], second) if stays and now.call[0] == _FUTEX else 0
        found.append(
            ThreadLook(
                tid,
                now.name,
                now.state,
                _SYSCALLS.get(now.call[0], f"system call {now.call[0]}") if now.call else "",
                _text(Path(f"/proc/{pid}/task/{tid}/wchan")).strip("0\n"),
                holder,
                round((now.ticks - before.ticks) / os.sysconf("SC_CLK_TCK") / took, 3),
                round((now.switches - before.switches) / took, 1),
                before.state == now.state == "R" and now.switches == before.switches,
                space.frames(now.call[-2], now.call[-1]) if with_frames and now.call else [],
            )
        )
    return found


def backtraces(threads: list[ThreadLook]) -> list[str]:
    """The frames as gdb writes them."""
    lines = []
    for number, thread in enumerate(threads, 1):
        if thread.frames:
            lines.append(f'Thread {number} (LWP {thread.tid} "{thread.name}"):')
            lines += thread.frames
    return lines


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _glances(pid: int) -> Iterator[tuple[int, _Glance]]:
    try:
        tids = sorted(
            (int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()),
            key=lambda tid: (tid != pid, tid),
        )
    except OSError:
        return
    for tid in tids[:MOST_THREADS]:
        task = Path(f"/proc/{pid}/task/{tid}")
        stat = _text(task / "stat").rpartition(")")[2].split()
        if not stat:
            continue
        status = _text(task / "status")
        slept = [line.split()[1] for line in status.splitlines() if line.startswith("voluntary_ctxt")]
        words = _text(task / "syscall").split()
        call = tuple(int(word, 0) for word in words) if len(words) == 9 else ()
        yield (
            tid,
            _Glance(
                _text(task / "comm").strip(),
                stat[0],
                int(stat[11]) + int(stat[12]),
                int(slept[0]) if slept else 0,
                call if call and call[0] >= 0 else (),
            ),
        )


@dataclass(frozen=True)
class _Region:
    start: int
    end: int
    offset: int
    executable: bool
    path: str


class _Space:
    """The memory of a process, as far as it may be read."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._regions = []
        for line in _text(Path(f"/proc/{pid}/maps")).splitlines():
            words = line.split(None, 5)
            start, _, end = words[0].partition("-")
            path = words[5] if len(words) == 6 else ""
            self._regions.append(
                _Region(int(start, 16), int(end, 16), int(words[2], 16), "x" in words[1], path)
            )

    def read(self, address: int, size: int) -> bytes:
        """b"" where nothing can be read."""
        try:
            with Path(f"/proc/{self._pid}/mem").open("rb", buffering=0) as memory:
                memory.seek(address)
                return memory.read(size)
        except (OSError, ValueError, OverflowError):
            return b""

    def holder(self, address: int, threads: dict[int, _Glance]) -> int:
        """The thread named by a mutex whose lock word lies there; 0 when it looks like none."""
        data = self.read(address, 16)
        if len(data) < 16:
            return 0
        lock, _, owner = struct.unpack_from("<III", data)
        return owner if owner in threads and lock in (1, 2) else 0

    def frames(self, sp: int, pc: int) -> list[str]:
        """What looks like the return addresses from there on, written as gdb writes frames."""
        stack = self._region(sp)
        if stack is None:
            return []
        data = self.read(sp, min(STACK_BYTES, stack.end - sp) & ~7)
        words = [pc, *(word for (word,) in struct.iter_unpack("<Q", data) if self._returns_to(word))]
        return [f"#{number}  {self._named(word, number)}" for number, word in enumerate(words[:MOST_FRAMES])]

    def _region(self, address: int) -> _Region | None:
        place = bisect.bisect_right(self._regions, address, key=lambda region: region.start) - 1
        region = self._regions[place] if place >= 0 else None
        return region if region is not None and address < region.end else None

    def _returns_to(self, address: int) -> bool:
        """Does it lie in the code of a file, behind a call?"""
        region = self._region(address)
        if region is None or not region.executable or not region.path.startswith("/"):
            return False
        before = self.read(address - 7, 7)
        if len(before) < 7:
            return False
        return before[2] == 0xE8 or any(
            before[-n] == 0xFF and before[1 - n] & 0x38 == 0x10 for n in (2, 3, 6, 7)
        )

    def _named(self, address: int, number: int) -> str:
        region = self._region(address)
        if region is None:
            return f"0x{address:016x} in ?? ()"
        # A return address may lie behind the last instruction of the caller: the call itself does not.
        name = _function_at(region.path, address - region.start + region.offset - (1 if number else 0))
        return f"0x{address:016x} in {name or '??'} () from {region.path}"


def _function_at(path: str, offset: int) -> str:
    """The function that holds that offset of a file; "" when its symbols don't tell."""
    starts, symbols, segments = _symbols(path)
    for start, end, shift in segments:
        if start <= offset < end:
            place = bisect.bisect_right(starts, offset + shift) - 1
            if place >= 0 and offset + shift < symbols[place][0]:
                return symbols[place][1]
    return ""


@functools.lru_cache(maxsize=64)
def _symbols(path: str) -> tuple[list[int], list[tuple[int, str]], list[tuple[int, int, int]]]:
    """Starts of a file's functions, ends and names of them, its segments: (offset, end, address - offset)."""
    found: dict[int, tuple[int, str]] = {}
    segments: list[tuple[int, int, int]] = []
    try:
        with Path(path).open("rb") as file:
            elf = ELFFile(file)
            for segment in elf.iter_segments("PT_LOAD"):
                offset, size = segment["p_offset"], segment["p_filesz"]
                segments.append((offset, offset + size, segment["p_vaddr"] - offset))
            for section in elf.iter_sections():
                if isinstance(section, SymbolTableSection):
                    for symbol in section.iter_symbols():
                        if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"]:
                            start = symbol["st_value"]
                            found.setdefault(start, (start + symbol["st_size"], symbol.name))
    except (OSError, ELFError):
        pass
    starts = sorted(found)
    return starts, [found[start] for start in starts], segments
