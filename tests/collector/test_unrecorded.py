"""Processes a tap can't follow into, or hardly: each is recorded, or told with the reason.

Those that are told live until that has happened, so that no test depends on a moment.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sessions import Process, Session, open_session
from tests.patience import wait_until
from workbench.native import NativePaths
from workbench.tap.collector import Collector
from workbench.tap.rundir import make_run_directory
from workbench.views.summary import unrecorded

NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
CALLS = 20

# A filter for memfd_create alone, which then fails with EPERM.
SECCOMP = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
code = b"".join(struct.pack("HBBI", *word) for word in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 319), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)))
words = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(words)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""

# Fills all descriptors there can be, then has a child that calls.
NO_DESCRIPTORS = """
import ctypes, os, resource, sys
driver = ctypes.CDLL("libcuda.so.1")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[1])))
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
except OSError:
    pass
if os.fork() == 0:
    driver.cuDriverGetVersion(ctypes.byref(ctypes.c_int()))
    os._exit(0)
os.wait()
"""

CLOSES_ALL = """
import ctypes, os
driver = ctypes.CDLL("libcuda.so.1")
os.closerange(3, 65536)
for _ in range(20):
    driver.cuDriverGetVersion(ctypes.byref(ctypes.c_int()))
"""

DAEMON = """
import ctypes, os
driver = ctypes.CDLL("libcuda.so.1")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for _ in range(20):
            driver.cuDriverGetVersion(ctypes.byref(ctypes.c_int()))
    os._exit(0)
os.wait()
"""


@dataclass
class Bench:
    """A collector, the run's folder, and a target's environment."""

    collector: Collector
    folder: Path
    environment: dict[str, str]
    caller: Path

    def start(self, *argv: object) -> int:
        return self.collector.spawn([str(word) for word in argv], self.environment, self.folder, "target", 1)

    def calls_and_ends(self) -> tuple[str, ...]:
        """A program that makes CALLS calls and ends."""
        return self._caller(CALLS)

    def goes_on(self) -> tuple[str, ...]:
        """One that calls until it is killed."""
        return self._caller(0)

    def _caller(self, calls: int) -> tuple[str, ...]:
        counts = self.folder / "counts"
        counts.touch()
        counts.chmod(0o666)
        return (str(self.caller), str(counts), "1", str(calls), "1000")

    def session(self) -> Session:
        return open_session(self.collector.directory)

    def ended(self, pid: int) -> Session:
        exits: set[int] = set()
        wait_until(
            lambda: (exits.update(one.pid for one in self.collector.poll()), pid in exits)[1], "its end"
        )
        return self.session()

    def told(self, pid: int) -> Process:
        """The process that is told as unrecorded, once it is; all are killed then."""
        session, found = self.session(), list[Process]()

        def is_told() -> bool:
            session.refresh()
            found[:] = [process for process in session.processes if process.unrecorded]
            return bool(found)

        wait_until(is_told, "a process that is told as unrecorded")
        os.killpg(pid, signal.SIGKILL)
        return found[0]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="shimbench-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bench(open_folder: Path, native_paths: NativePaths, target_programs: Path) -> Iterator[Bench]:
    yield from make_bench(open_folder, native_paths, target_programs)


def make_bench(folder: Path, native_paths: NativePaths, target_programs: Path) -> Iterator[Bench]:
    shim, caller = folder / "shim.so", folder / "caller"
    shutil.copy(native_paths.lib / "libcuda.so.1", shim)
    shutil.copy(target_programs / "caller", caller)
    collector = Collector.start(
        folder / "session", native_paths.model, program=native_paths.collector, idle_exit=False
    )
    run = folder / "run"
    run.mkdir()
    added = make_run_directory(run, native_paths, {"libcuda.so.1": shim}, collector.socket_path)
    yield Bench(collector, folder, dict(os.environ) | added, caller)
    collector.detach()
    collector.kill()


def versions_asked(session: Session) -> int:
    """How many calls of cuDriverGetVersion were recorded."""
    functions = session.calls.columns(0, len(session.calls), ["function"])["function"]
    return int((functions == session.schema.function_id("cuDriverGetVersion")).sum())


def needs(*command: str) -> None:
    """Skip where this can't be done: no root, no namespaces."""
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]} here")
    done = subprocess.run([*command, "true"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")


@pytest.mark.parametrize(
    "through",
    [
        NOBODY,
        ("runuser", "-u", "nobody", "--"),
        ("unshare", "-p", "-f"),
        ("unshare", "-m"),
        ("unshare", "-n"),
        ("unshare", "-U"),
        ("prlimit", "--as=200000000", "--"),
        ("prlimit", "--nofile=8:8", "--"),
    ],
    ids=lambda words: "-".join(word.lstrip("-") for word in words[:2]),
)
def test_it_is_recorded_through(bench: Bench, through: tuple[str, ...]) -> None:
    needs(*through)
    session = bench.ended(bench.start(*through, *bench.calls_and_ends()))
    assert versions_asked(session) == CALLS
    assert [event.fields for event in session.events if event.kind in ("unrecorded", "refused")] == []


@pytest.mark.parametrize("program", [CLOSES_ALL, DAEMON], ids=["closes-all-descriptors", "daemon"])
def test_it_is_recorded_when_it(bench: Bench, program: str) -> None:
    session = bench.session()
    bench.start(sys.executable, "-c", program)
    wait_until(lambda: (session.refresh(), versions_asked(session) == CALLS)[1], "its calls")
    assert unrecorded(session) == []


def test_another_users_process_that_no_target_started_is_refused(bench: Bench) -> None:
    needs(*NOBODY)
    ours = [f"{name}={bench.environment[name]}" for name in ("LD_PRELOAD", "LD_LIBRARY_PATH")]
    done = subprocess.run(
        [*NOBODY, "env", *ours, *bench.calls_and_ends()], cwd=bench.folder, capture_output=True
    )
    assert done.stdout == b"ready\ndone\n"
    session = bench.session()
    wait_until(
        lambda: (session.refresh(), any(e.kind == "refused" for e in session.events))[1], "the refusal"
    )
    assert (session.processes, len(session.calls)) == ([], 0)


def test_who_may_not_enter_the_sessions_folder_is_told_by_name(
    tmp_path: Path, native_paths: NativePaths, target_programs: Path
) -> None:
    needs(*NOBODY)
    tmp_path.chmod(0o700)
    for bench in make_bench(tmp_path, native_paths, target_programs):
        process = bench.told(bench.start(*NOBODY, "sleep", "1000"))
        assert process.argv == ["sleep", "1000"]
        assert process.unrecorded.startswith("it runs as nobody, who may not enter ")
        assert "--session DIR" in process.advice


def test_a_dropped_environment_is_told(bench: Bench) -> None:
    process = bench.told(bench.start("env", "-i", "sleep", "1000"))
    assert process.unrecorded.startswith("LD_PRELOAD was dropped from its environment")
    told = unrecorded(bench.session())
    assert [(row["program"], row["pids"]) for row in told] == [("sleep", [process.pid])]
    lines = bench.session().log.lines(0, len(bench.session().log))
    said = [line.text.decode() for line in lines if line.role == "workbench"]
    assert said == [
        f"shimbench: sleep: calls of it are not recorded: {process.unrecorded} ({process.advice})"
    ]


def test_a_child_that_nobody_told_of_is_found(bench: Bench) -> None:
    """Python starts it by vfork, so that no tap hears of it."""
    program = "import subprocess; subprocess.run(['sleep', '1000'], env={})"
    process = bench.told(bench.start(sys.executable, "-c", program))
    assert (process.argv, process.parent_index) == (["sleep", "1000"], 0)


def test_a_program_linked_statically_is_told(bench: Bench) -> None:
    source, program = bench.folder / "still.c", bench.folder / "still"
    source.write_text("#include <unistd.h>\nint main(void) { return pause(); }\n")
    subprocess.run(["cc", "-static", "-o", program, source], check=True)
    assert "linked statically" in bench.told(bench.start(program)).unrecorded


def test_a_setuid_program_is_told(bench: Bench) -> None:
    needs(*NOBODY)
    program = bench.folder / "sleep"
    shutil.copy("/bin/sleep", program)
    os.chown(program, 65534, 65534)
    program.chmod(0o4755)
    assert bench.told(bench.start(program, "1000")).unrecorded.startswith("it is setuid")


def test_another_root_is_told(bench: Bench) -> None:
    needs("chroot", "/")
    root = bench.folder / "root"
    listed = subprocess.run(["ldd", "/bin/sleep"], capture_output=True, text=True, check=True).stdout
    for file in ("/bin/sleep", *(word for word in listed.split() if word.startswith("/"))):
        place = root / file.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    assert bench.told(bench.start("chroot", root, "/bin/sleep", "1000")).unrecorded.startswith("its root")


def test_a_seccomp_filter_is_told(bench: Bench) -> None:
    process = bench.told(bench.start(sys.executable, "-c", SECCOMP, *bench.goes_on()))
    assert process.unrecorded.startswith("a seccomp filter forbids")


def test_a_child_without_descriptors_is_recorded_as_long_as_its_hard_limit_has_room(bench: Bench) -> None:
    session = bench.ended(bench.start(sys.executable, "-c", NO_DESCRIPTORS, "100"))
    assert versions_asked(session) == 1
    assert unrecorded(session) == []


def test_a_child_that_can_have_no_more_descriptors_is_told_by_its_parent(bench: Bench) -> None:
    session = bench.ended(bench.start(sys.executable, "-c", NO_DESCRIPTORS, "64"))
    wait_until(lambda: (session.refresh(), unrecorded(session) != [])[1], "the child that is not recorded")
    (told,) = unrecorded(session)
    assert told["why"] == "1 of its forked children: it could not register: Too many open files"
    assert "ulimit -Hn" in told["advice"]


def test_a_limit_of_file_size_ends_no_target(bench: Bench) -> None:
    """The region is a file in memory; one above the limit would bring SIGXFSZ."""
    needs("prlimit", "--fsize=1000")
    pid = bench.start("prlimit", "--fsize=1000", "--", *bench.goes_on())
    process = bench.told(pid)
    assert process.unrecorded.startswith("its limit of file size")
