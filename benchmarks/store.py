"""What a person does with a large session: open it cold, scroll, filter by function and result, compare runs.

    python benchmarks/store.py [--rows 100000000] [--calls 1000000] [--folder DIR]

Each is measured in a process of its own, with its peak memory. With --folder the sessions made are kept
there and taken again. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.session import decode_rows, drop_from_cache  # noqa: E402
from sessions import open_session  # noqa: E402
from sessions.testing import SessionBuilder  # noqa: E402

_ERRORS = 100_000  # one call in so many fails
_BATCH = 1 << 20


def make_large(path: Path, rows: int) -> None:
    """A decode of many tokens, as a killed writer leaves it; a few calls failed."""
    from workbench import native

    model = native.paths().model.read_bytes()
    builder = SessionBuilder(path, model)
    builder.process(["llama-server"], pid=4242)
    part = decode_rows(_BATCH)
    part["payload"] = 0
    part["result"][:: _ERRORS // 8] = 719
    step = int(part["time"][-1]) + 1000
    for written in range(0, rows, _BATCH):
        builder.calls(part[: min(_BATCH, rows - written)])
        builder.publish()
        part["time"] += step
    builder.abandon()


def make_runs(path: Path, calls: int) -> None:
    """Two runs of one program; the second fails once in the middle and makes three calls more."""
    from workbench import native

    with SessionBuilder(path, native.paths().model.read_bytes()) as builder:
        rows = decode_rows(calls)
        rows["payload"] = 0
        for run in (1, 2):
            rows["process"] = builder.process(["llama-server"], pid=4242, run=run)
            if run == 2:
                rows["result"][calls // 2] = 719
                rows = np.insert(rows, calls // 2 + 10, rows[5:8])
                rows["sequence"] = np.arange(1, len(rows) + 1)
            builder.calls(rows)
            builder.publish()


def opening(path: Path) -> dict[str, Any]:
    """From nothing in memory to the last call; what Python takes to start is not counted."""
    drop_from_cache(path)
    began = time.perf_counter()
    session = open_session(path)
    last = session.calls.row(len(session.calls) - 1)
    return {"calls": last.number, "seconds": round(time.perf_counter() - began, 4)}


def scrolling(path: Path) -> dict[str, Any]:
    """Screens of 40 calls as lines: 200 after one another, and 100 anywhere, each a new part of the file."""
    from sessions.decode import CallDecoder

    session = open_session(path)
    decoder = CallDecoder(session.schema)
    dice = random.Random(1)

    def took(first: int) -> float:
        began = time.perf_counter()
        for row in range(first, first + 40):
            decoder.text(session, row)
        return 1e3 * (time.perf_counter() - began)

    start = len(session.calls) // 3
    nearby = [took(start + 40 * page) for page in range(200)]
    anywhere = [took(dice.randrange(len(session.calls) - 40)) for _ in range(100)]
    names = ("next_page_ms", "anywhere_ms")
    return {
        name: {"median": round(float(np.median(times)), 2), "p99": round(float(np.percentile(times, 99)), 2)}
        for name, times in zip(names, (nearby, anywhere), strict=True)
    }


def filtering(path: Path) -> dict[str, Any]:
    """All calls through the filter language, by function and result."""
    from workbench.filter import parse

    session = open_session(path)
    name = session.schema.function_name(300)
    chosen = parse(f"{name} !ok")
    began, cpu, found = time.perf_counter(), time.process_time(), 0
    for start in range(0, len(session.calls), _BATCH):
        found += int(chosen.mask(session, start, min(start + _BATCH, len(session.calls))).sum())
    return {
        "filter": f"{name} !ok",
        "found": found,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }


def comparing(path: Path) -> dict[str, Any]:
    """Two runs, call by call."""
    from sessions.diff import compare

    session = open_session(path)
    began, cpu = time.perf_counter(), time.process_time()
    found = compare(session, session, 1, 2)
    return {
        "calls": [found.a.calls(), found.b.calls()],
        "counts": dict(found.counts),
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }


def peak_megabytes() -> int:
    """Of this program; getrusage would count what forked it as well."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


MEASURES: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "opening": ("large", opening),
    "scrolling": ("large", scrolling),
    "filtering": ("large", filtering),
    "comparing": ("runs", comparing),
}


def measured(name: str, folder: Path) -> dict[str, Any]:
    """One measure in a process of its own."""
    words = [sys.executable, __file__, "--measure", name, "--folder", str(folder)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000_000, help="calls of the large session")
    parser.add_argument("--calls", type=int, default=1_000_000, help="calls of each run that is compared")
    parser.add_argument("--folder", type=Path, help="where sessions are kept")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        which, measure = MEASURES[options.measure]
        answer = measure(options.folder / which)
        print(json.dumps({**answer, "peak_megabytes": peak_megabytes()}))
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="store-bench-"))
    try:
        if not (folder / "large").exists():
            make_large(folder / "large", options.rows)
        if not (folder / "runs").exists():
            make_runs(folder / "runs", options.calls)
        os.sync()
        print(json.dumps({name: measured(name, folder) for name in MEASURES}, indent=2))
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
