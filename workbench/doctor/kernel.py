"""The machine and its kernel: clock, shared memory, address space, limits, and who may look at whom."""

from __future__ import annotations

import mmap
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from workbench.doctor.finding import Finding, ok, problem, warning

GIB = 1 << 30
RESERVED_BYTES = 64 * GIB
"""Of address space: more than our shim keeps for the software GPU's 8 GiB and pinned memory, and what a
shim for a large GPU keeps."""
REGION_BYTES = 64 << 20
OPEN_FILES = 4096
MAPS = 65_530
MAP_NORESERVE = 0x4000


def findings() -> Iterator[Finding]:
    """All of this room."""
    yield _clock(_text("/proc/cpuinfo"))
    yield _shared_memory(Path("/dev/shm"))
    yield _anonymous_files()
    yield _address_space()
    yield _overcommit(_text("/proc/sys/vm/overcommit_memory"))
    yield _mappings(_text("/proc/sys/vm/max_map_count"))
    yield _open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield _locked_memory(*resource.getrlimit(resource.RLIMIT_MEMLOCK))
    yield _ptrace(_text("/proc/sys/kernel/yama/ptrace_scope"), os.geteuid())


def _clock(cpuinfo: str) -> Finding:
    """Records are stamped by the time stamp counter where it is fit for that."""
    flags: set[str] = set()
    for line in cpuinfo.splitlines():
        if line.startswith("flags"):
            flags = set(line.partition(":")[2].split())
            break
    missing = [flag for flag in ("constant_tsc", "nonstop_tsc") if flag not in flags]
    if not missing:
        return ok("time stamps", "the TSC is constant and non-stop")
    return warning(
        "time stamps",
        f"no {' and no '.join(missing)}: calls are stamped by clock_gettime, some 20 ns dearer",
        "in a virtual machine, have the CPU's own features passed on (QEMU: -cpu host,+invtsc)",
    )


def _shared_memory(path: Path) -> Finding:
    """What a guest's region and NCCL-like programs of the target lie in; ours are anonymous."""
    what = str(path)
    try:
        status = os.statvfs(path)
    except OSError as error:
        return problem(what, error.strerror or str(error), f"mount -t tmpfs tmpfs {path}")
    free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    if not os.access(path, os.W_OK):
        return problem(what, "not writable", f"chmod 1777 {path}")
    text = f"{_size(free)} of {_size(total)} free"
    if free < 2 * REGION_BYTES:
        return warning(
            what, text, "remount it larger (docker run --shm-size=2g); a guest's region is kept there"
        )
    return ok(what, text)


def _anonymous_files() -> Finding:
    """The tap's rings and the forwarder's regions are memfds: make one and map it."""
    what = "shared regions"
    try:
        descriptor = os.memfd_create("shimbench-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, REGION_BYTES)
            with mmap.mmap(descriptor, REGION_BYTES) as region:
                region[REGION_BYTES - 1] = 1
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        return problem(
            what, f"no memfd of {_size(REGION_BYTES)} can be made: {error}", "raise the memory limit"
        )
    return ok(what, f"a memfd of {_size(REGION_BYTES)} can be made and mapped")


def _address_space() -> Finding:
    """The shim keeps the device's address range free in each process: try it."""
    what = "address space"
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    try:
        mmap.mmap(-1, RESERVED_BYTES, flags=flags, prot=0).close()
    except OSError as error:
        said = f", ulimit -v is {_size(limit)}" if limit != resource.RLIM_INFINITY else ""
        return problem(
            what, f"{_size(RESERVED_BYTES)} can't be reserved: {error.strerror}{said}", "ulimit -v unlimited"
        )
    return ok(what, f"{_size(RESERVED_BYTES)} can be reserved for device addresses")


def _overcommit(text: str) -> Finding:
    what, mode = "vm.overcommit_memory", text.strip()
    if mode == "2":
        return warning(
            what,
            "2: the kernel counts memory that is only promised; large models and rings may be refused",
            "sysctl vm.overcommit_memory=0",
        )
    return ok(what, mode or "not told")


def _mappings(text: str) -> Finding:
    what, value = "vm.max_map_count", text.strip()
    if value.isdigit() and int(value) < MAPS:
        return warning(what, value, f"sysctl vm.max_map_count={MAPS}: device memory is mapped piece by piece")
    return ok(what, value or "not told")


def _open_files(soft: int, hard: int) -> Finding:
    """The collector holds a few files for each process it records, and raises its own limit to `hard`."""
    what = "open files"
    shown = f"{_limit(soft)}, at most {_limit(hard)}"
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        return warning(what, shown, f"ulimit -Hn {OPEN_FILES}: the collector keeps some files a process")
    return ok(what, shown)


def _locked_memory(soft: int, hard: int) -> Finding:
    """Nothing of ours locks memory; a shim over a real driver pins with it."""
    shown = f"{_limit(soft, bytes_=True)}, at most {_limit(hard, bytes_=True)}"
    if hard != resource.RLIM_INFINITY and hard < REGION_BYTES:
        return ok(
            "locked memory", f"{shown}; ours locks none", "ulimit -l unlimited, if your forwarder uses mlock"
        )
    return ok("locked memory", shown)


def _ptrace(text: str, user: int) -> Finding:
    """May gdb read the stacks of a target that is not its child?"""
    what, scope = "kernel.yama.ptrace_scope", text.strip()
    if scope in ("", "0") or (user == 0 and scope != "3"):
        return ok(what, scope or "not there: gdb may attach to your own processes")
    return warning(
        what,
        f"{scope}: gdb may not attach to the target, so there are no stacks of a hang",
        "sysctl kernel.yama.ptrace_scope=0" + (" (3 stays until a reboot)" if scope == "3" else ""),
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _limit(value: int, bytes_: bool = False) -> str:
    if value == resource.RLIM_INFINITY:
        return "unlimited"
    return _size(value) if bytes_ else str(value)


def _size(count: int) -> str:
    from workbench.commands.common import size

    return size(count)
