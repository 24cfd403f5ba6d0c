"""From exec to the first frame of the workbench on the terminal (budget 500 ms), and to the session in it.

    python -m benchmarks first_paint [--times 9]

`shimbench open SESSION`, `shimbench -- sleep` (live, on our own shim) and `shimbench --help` as a user starts
them, each as a process of its own; the first two in a 120x40 pseudo terminal, until the whole frame has come
(its last line, with the keys), and until the session's own header has. Printed: median and worst, ms.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.panes import keep_priority, terminal_size  # noqa: E402
from sessions.testing import SessionBuilder  # noqa: E402
from workbench import native  # noqa: E402

KEYS = b"quit"  #: stands in the frame's last line alone
HEADER = b"run 1"  #: stands in the session's header alone


def first_paint(words: list[str], environment: dict[str, str], folder: str) -> tuple[float, float]:
    """Seconds from exec until the frame, and until the session, has been written to the terminal."""
    began = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        terminal_size(1)
        keep_priority(os.getpid())
        os.chdir(folder)
        os.execve(sys.executable, [sys.executable, "-m", "workbench.cli", *words], environment)
    seen, framed = b"", 0.0
    try:
        while HEADER not in seen:
            seen += os.read(terminal, 1 << 16)
            if not framed and KEYS in seen:
                framed = time.perf_counter() - began
        return framed, time.perf_counter() - began
    finally:
        os.kill(pid, signal.SIGTERM)  # a live one has a target to end
        with contextlib.suppress(OSError):
            while os.read(terminal, 1 << 16):
                pass
        os.waitpid(pid, 0)
        os.close(terminal)


def help_text(environment: dict[str, str]) -> float:
    """Seconds that `shimbench --help` takes."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "workbench.cli", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - began


def main() -> None:
    """Measure in turn, so that what disturbs one disturbs the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=9)
    options = parser.parse_args()
    keep_priority(os.getpid())
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "session"
        with SessionBuilder(path, native.paths().model.read_bytes()) as builder:
            builder.process(["target"], run=1)
            builder.publish()
        # Bytecode is kept as an installed tool's is, whatever this shell asks for.
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(Path(name) / "bytecode")
        environment["PYTHONPATH"] = str(ROOT)
        ways = {"open": ["open", str(path)], "live": ["--", "/bin/sleep", "600"]}
        taken: dict[str, list[float]] = {}
        for _ in range(options.times + 1):  # the first fills the caches
            for way, words in ways.items():
                framed, filled = first_paint(words, environment, name)
                taken.setdefault(f"{way}: first frame", []).append(framed)
                taken.setdefault(f"{way}: session in it", []).append(filled)
            taken.setdefault("--help", []).append(help_text(environment))
    for what, times in taken.items():
        times = [each * 1000 for each in times[1:]]
        print(f"{what:>20}  median {statistics.median(times):6.0f} ms   worst {max(times):6.0f} ms")


if __name__ == "__main__":
    main()
