"""The whole path: ring -> collector -> session -> filter -> screen, at a rate, and how fast keys are.

    python -m benchmarks panes [--seconds 5] [--rates 100000 1000000] [--filters "" '!ok' 'cuMem*']

A native target of four threads records a decode's calls into its rings, the collector writes the
session, and the workbench, a process of its own in a 120x40 pseudo terminal, follows it. Printed a rate
and filter, each over the time without keys:

    shown/s   calls the workbench took in (all of them: `lost` stands beside)
    behind    how far the screen was behind the rings when a frame left, in ms of calls, median and p99
    app, collector    CPU of each as a share of one core (budget: both together 60 %)
    fps       frames that reached the terminal
    key       from the byte written to the terminal to the last byte of the frame that shows it (p99 < 50 ms)
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gc
import mmap
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sessions import Session, open_session  # noqa: E402
from workbench import native  # noqa: E402
from workbench.tap.collector import Collector  # noqa: E402

THREADS = 4
#: What a decode with CUDA graphs off calls in turn (benchmarks/session.py), by name.
DECODE = ["cuLaunchKernel"] * 6 + ["cuMemcpyAsync", "cuEventRecord"]
TOKEN = DECODE * 59 + ["cuMemcpyDtoHAsync_v2"] * 2 + ["cuStreamSynchronize"] * 6
FAILS = 997  #: one call in so many
#: Following, moving about in what stands still, and back.
KEYS = [*"kkkkjjjkkk", "G", *"kkkj", "g", *"jjj", "F", "e", *"kj", "F"]
_MARK = re.compile(rb"\x1b\]777;(\w+) ?(\d*) ?(\d*)\x07")


def compile_producer(folder: Path) -> Path:
    """The collector tests' native target."""
    source = ROOT / "tests" / "collector" / "producer.c"
    flags = ["-std=gnu11", "-O2", "-pthread", f"-I{ROOT / 'workbench' / 'tap' / 'include'}"]
    subprocess.run(["cc", *flags, "-o", str(folder / "producer"), str(source)], check=True)
    return folder / "producer"


def keep_priority(pid: int) -> None:
    """Have a process's session stand against others' by the priority we were started with: where sessions
    are scheduled as groups (sched_autogroup), `nice` means nothing beyond its own."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))


@dataclass
class Target:
    """A native target at work. `counts` has the calls each of its threads completed."""

    collector: Collector
    path: Path
    pid: int
    counts: np.ndarray[tuple[int], np.dtype[np.uint64]]

    @property
    def calls(self) -> int:
        """Completed so far."""
        return int(self.counts[:63].sum())


@contextlib.contextmanager
def target_at_work(folder: Path, producer: Path, rate: int) -> Iterator[Target]:
    """A session into which `rate` calls a second are recorded until the context ends."""
    model = native.paths().model
    path = folder / f"session-{rate}-{time.monotonic_ns()}"
    with Collector.start(path, model) as collector:
        schema = open_session(path).schema
        mix = ",".join(str(schema.function_id(name)) for name in TOKEN)
        options = [f"threads={THREADS}", f"calls={1 << 40}", f"rate={rate // THREADS}", "chunks=4096"]
        counts = path.with_suffix(".counts")
        command = [str(producer), str(collector.socket_path), str(counts), *options, f"mix={mix}"]
        pid = collector.spawn([*command, f"fail={FAILS}"], dict(os.environ), folder, "target", 1)
        keep_priority(collector.pid)
        keep_priority(pid)
        while not counts.exists() or counts.stat().st_size < 512:
            time.sleep(0.01)
        with counts.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 512, prot=mmap.PROT_READ)
        try:
            yield Target(collector, path, pid, np.frombuffer(mapped, np.uint64))
        finally:
            collector.signal(pid, signal.SIGKILL)
            while not collector.poll():
                time.sleep(0.01)


def terminal_size(fd: int) -> None:
    """Make a pseudo terminal one of 120x40."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))


class Terminal:
    """A program in a pseudo terminal; what it writes is looked through for marks, with times."""

    def __init__(self, command: list[str]) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            terminal_size(1)
            keep_priority(os.getpid())
            environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execve(command[0], command, environment)
        self.marks: list[tuple[float, str, int, int]] = []
        self.bytes = 0
        self._told = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        left = b""
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:  # the other end is closed
                data = b""
            now = time.perf_counter()
            if not data:
                return
            self.bytes += len(data)
            left += data
            found = None
            with self._told:
                for found in _MARK.finditer(left):
                    self.marks.append((now, found[1].decode(), int(found[2] or 0), int(found[3] or 0)))
                self._told.notify_all()
            left = left[found.end() if found else max(len(left) - 64, 0) :]

    def press(self, key: str) -> None:
        os.write(self._fd, key.encode())

    def wait_for(self, name: str, after: int, timeout: float = 10) -> int:
        """Index of the first mark of that name from index `after` on."""
        with self._told:
            at = after

            def there() -> bool:
                nonlocal at
                while at < len(self.marks) and self.marks[at][1] != name:
                    at += 1
                return at < len(self.marks)

            if not self._told.wait_for(there, timeout):
                raise TimeoutError(f"the workbench showed no {name} in {timeout} s")
        return at

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        with contextlib.suppress(OSError):
            while select.select([self._fd], [], [], 5)[0] and self._reader.is_alive():
                time.sleep(0.02)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


@dataclass
class Figures:
    """Of one rate and filter; times in ms."""

    shown: float
    behind: list[float]
    app: float
    collector: float
    frames: float
    keys: list[float] = field(default_factory=list)
    lost: int = 0

    def row(self, rate: int, filter_text: str) -> str:
        late, keys = np.percentile(self.behind, (50, 99)), np.percentile(self.keys, (50, 99))
        return (
            f"{rate:>9,} {filter_text or '-':>12.12} {self.shown:>9,.0f} {self.lost:>5} "
            f"{late[0]:>6.0f} {late[1]:>6.0f} {self.app:>7.0%} {self.collector:>9.0%} "
            f"{self.app + self.collector:>5.0%} {self.frames:>5.1f} {keys[0]:>7.1f} {keys[1]:>7.1f}"
        )


HEAD = (
    f"{'asked/s':>9} {'filter':>12} {'shown/s':>9} {'lost':>5} {'behind':>6} {'p99':>6} {'app':>7} "
    f"{'collector':>9} {'both':>5} {'fps':>5} {'key p50':>7} {'p99 ms':>7}"
)


def measure(
    folder: Path, producer: Path, rate: int, seconds: float, filter_text: str, presses: int
) -> Figures:
    """Follow a session at a rate without a key, then press some."""
    with target_at_work(folder, producer, rate) as target:
        command = [sys.executable, "-m", "benchmarks.panes", "--app", str(target.path), filter_text]
        terminal = Terminal(command)
        try:
            first = terminal.wait_for("frame", 0, 30)
            time.sleep(1.5)  # what had been recorded before the first frame is taken in
            figures = _follow(terminal, target, seconds, rate)
            figures.keys = _press(terminal, presses, terminal.wait_for("frame", first))
        finally:
            terminal.close()
    session: Session = open_session(target.path)
    # A thread that is killed between a call's record and its count leaves one call more.
    missing = max(target.calls - len(session.calls), 0)
    figures.lost = session.lost + missing + int(target.counts[63])
    return figures


def _follow(terminal: Terminal, target: Target, seconds: float, rate: int) -> Figures:
    app, collector = psutil.Process(terminal.pid), psutil.Process(target.collector.pid)
    used = [sum(process.cpu_times()[:2]) for process in (app, collector)]
    begun, at = time.perf_counter(), len(terminal.marks)
    done, behind, frames = [], [], 0
    while time.perf_counter() < begun + seconds:
        at = terminal.wait_for("frame", at)
        calls, (when, _, scanned, _) = target.calls, terminal.marks[at]
        # Of the calls that were there as the frame arrived, those it did not know of.
        behind.append((calls - scanned) / rate * 1000 - (time.perf_counter() - when) * 1000)
        done.append((when, scanned))
        frames, at = frames + 1, at + 1
    took = time.perf_counter() - begun
    shares = [
        (sum(process.cpu_times()[:2]) - before) / took
        for process, before in zip((app, collector), used, strict=True)
    ]
    shown = (done[-1][1] - done[0][1]) / max(done[-1][0] - done[0][0], 1e-9)
    return Figures(shown, behind, shares[0], shares[1], frames / took)


def _press(terminal: Terminal, presses: int, at: int) -> list[float]:
    taken = []
    pause = np.random.default_rng(1)
    for number in range(presses):
        at = len(terminal.marks)
        pressed = time.perf_counter()
        terminal.press(KEYS[number % len(KEYS)])
        at = terminal.wait_for("key", at)
        taken.append((terminal.marks[at][0] - pressed) * 1000)
        time.sleep(pause.uniform(0.01, 0.08))
    return taken


def run_app(path: str, filter_text: str) -> None:
    """The workbench as it is, telling through the terminal when a frame has been written."""
    from workbench.app import ShimbenchApp
    from workbench.filter import parse
    from workbench.panes.calls import CallsPane

    gc.disable()  # as `shimbench open` does
    handled = drawn = False

    class Measured(ShimbenchApp):
        def do(self, name: str) -> None:
            nonlocal handled, drawn
            super().do(name)
            handled, drawn = True, False

        def on_mount(self) -> None:
            super().on_mount()
            if filter_text:
                self.calls.set_filter(filter_text, parse(filter_text))

        def _display(self, screen, renderable) -> None:  # type: ignore[no-untyped-def]
            nonlocal handled
            super()._display(screen, renderable)
            if self._driver is None or not self.arrangement.whole:
                return
            self._driver.write(f"\x1b]777;frame {self.calls.calls.scanned} {len(self.session.calls)}\x07")
            if handled and drawn:
                handled = False
                self._driver.write("\x1b]777;key\x07")

    render = CallsPane.render_lines

    def noting(self, crop):  # type: ignore[no-untyped-def]
        nonlocal drawn
        drawn = True
        return render(self, crop)

    CallsPane.render_lines = noting  # type: ignore[method-assign]
    app = Measured(None, open_session(path))
    signal.signal(signal.SIGTERM, lambda *_: app.exit())
    app.run()


def main() -> None:
    """Each rate with each filter."""
    if sys.argv[1:2] == ["--app"]:
        run_app(sys.argv[2], sys.argv[3])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rates", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--filters", nargs="+", default=["", "!ok", "cuMem*"])
    parser.add_argument("--presses", type=int, default=200)
    options = parser.parse_args()
    keep_priority(os.getpid())
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix="panes-bench-") as name:
        folder = Path(name)
        producer = compile_producer(folder)
        for rate in options.rates:
            for text in options.filters:
                figures = measure(folder, producer, rate, options.seconds, text, options.presses)
                print(figures.row(rate, text), flush=True)


if __name__ == "__main__":
    main()
