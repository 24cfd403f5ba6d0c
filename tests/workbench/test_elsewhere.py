"""A report opens where there is no compiler, no GPU, no native build and no Linux.

A real macOS is not at hand; its lack of things is. In a process of its own what only Linux has is taken
away: functions of `os`, /proc and /sys, our native libraries, and every program that could be started.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sessions.gallery import recordings

ELSEWHERE = '''
import asyncio, mmap, os, resource, select, selectors, signal, socket, sys, time
import psutil, watchdog.observers  # have parts of their own for each system: not ours to take away

selectors.DefaultSelector = selectors.SelectSelector  # what asyncio takes there is made of other calls
ONLY_LINUX = {
    os: """memfd_create pidfd_open sched_getaffinity sched_setaffinity sched_getscheduler eventfd getrandom
        posix_fallocate posix_fadvise splice copy_file_range setns unshare getxattr setxattr listxattr preadv
        pwritev sendfile mkfifoat fdatasync pipe2 getresuid setresuid O_PATH O_TMPFILE O_DIRECT O_NOATIME
        P_PIDFD""",
    select: "epoll",
    socket: "SO_PEERCRED SOCK_CLOEXEC SOCK_NONBLOCK SO_DOMAIN AF_NETLINK AF_VSOCK",
    signal: "SIGRTMIN SIGRTMAX SIGPWR SIGPOLL SIGSTKFLT sigtimedwait sigwaitinfo",
    resource: "prlimit RLIMIT_NICE",
    time: "CLOCK_BOOTTIME CLOCK_TAI",
    mmap: "MAP_POPULATE MAP_NORESERVE MAP_STACK",
}
for module, names in ONLY_LINUX.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "darwin"
os.environ.update(PATH="", SHIMBENCH_BUILD="/nowhere")

def refuse(event, arguments):
    first = arguments[0] if arguments else None
    if event in ("open", "os.listdir", "os.scandir") and isinstance(first, (str, bytes)):
        if os.fsdecode(first).startswith(("/proc/", "/sys/", "/dev/shm", "/dev/nvidia", "/etc/os-release")):
            raise FileNotFoundError(2, "there is no such thing on this system", first)
    if event == "ctypes.dlopen" and "shimbench" in str(first):
        raise OSError(f"{first}: nothing native is built here")
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork"):
        raise OSError(f"{first}: nothing can be started here")

sys.addaudithook(refuse)
'''
COMMANDS = """
from workbench import cli
failed = []
for words in sys.argv[1:]:
    print("::", words, flush=True)
    status = cli.main(words.split())
    if status not in (0, 1 if words.startswith("diff") else 0):
        failed.append((words, status))
sys.exit(str(failed) if failed else 0)
"""
APP = """
from functools import partial
from pathlib import Path
from workbench.app import ShimbenchApp
from workbench.commands.open import open_at

async def look():
    path = Path(sys.argv[1])
    app = ShimbenchApp(loop=None, session=partial(open_at, path), name=path.stem)
    async with app.run_test(size=(120, 40)) as pilot:
        while not app.settled:
            await pilot.pause(0.05)
        for key in "2345678":
            await pilot.press(key)
        await pilot.pause()
        assert app.failure is None, app.failure
        print(app.export_screenshot())

asyncio.run(look())
"""


@pytest.fixture
def zipped() -> Path:
    return next(recording.path for recording in recordings() if recording.name == "crash")


def run_elsewhere(script: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE + script, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def test_every_command_that_reads_answers_of_a_zip(zipped: Path, tmp_path: Path) -> None:
    reading = (
        "calls",
        "log",
        "coverage",
        "device",
        "timeline",
        "diagnose",
        "report --markdown",
        "report --preview",
        "kernels",
        "marks",
        "device --at @400",
        *(f"export -o {tmp_path}/calls.{ending}" for ending in ("csv", "json", "sqlite", "txt")),
    )
    other = next(recording.path for recording in recordings() if recording.name == "hang")
    asked = (f"diff {other} {zipped}", f"search {zipped} cuDeviceGet")
    said = run_elsewhere(COMMANDS, *(f"{command} {zipped}" for command in reading), *asked)
    assert "cuDeviceGet" in said.partition(":: diagnose")[2].partition("::")[0]
    assert "## The first wall" in said and "newly diagnosed:" in said
    assert "taken out: " in said.partition(":: report --preview")[2]


def test_the_workbench_opens_a_zip(zipped: Path) -> None:
    assert "cuDeviceGet" in run_elsewhere(APP, str(zipped)).replace("&#160;", " ")
