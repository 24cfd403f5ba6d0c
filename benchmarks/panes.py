"""Session -> filter -> screen: what the workbench costs while calls pour in, and how fast keys are.

    python benchmarks/panes.py [--seconds 5] [--rates 100000 1000000]

A writer process of its own records rows at a rate; the workbench follows them in a 120x40 terminal.
Printed a rate: rows shown, CPU of the workbench's process as a share of one core (budget 60 %), and
the time from a key to the painted screen (budget p99 50 ms), with and without a filter.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MODEL = {
    "format": 1,
    "hash": "0" * 31,
    "functions": [
        {
            "id": number,
            "name": name,
            "result": "CUresult",
            "params": [{"name": "a", "type": "size_t"}, {"name": "b", "type": "size_t"}],
        }
        for number, name in enumerate(("cuLaunchKernel", "cuMemAlloc_v2", "cuMemFree_v2", "cuEventRecord"), 1)
    ],
    "enums": {"CUresult": {"CUDA_SUCCESS": 0, "CUDA_ERROR_OUT_OF_MEMORY": 2}},
    "structs": {},
}
WRITES_A_SECOND = 100


def write_calls(path: str, rate: int, ready: Event, stop: Event) -> None:
    """Record `rate` rows a second, runs of launches among other calls, until told to stop."""
    from sessions import format
    from sessions.testing import SessionBuilder

    with SessionBuilder(path, MODEL) as builder:
        builder.process(["target"], pid=4000)
        builder.publish()
        ready.set()
        rows = np.zeros(rate // WRITES_A_SECOND, format.CALL_ROW)
        random = np.random.default_rng(1)
        begun, batch = time.monotonic(), 0
        while not stop.is_set():
            first = batch * len(rows)
            rows["time"] = (first + np.arange(len(rows))) * (1_000_000_000 // rate)
            rows["duration"] = random.integers(100, 5000, len(rows))
            rows["function"] = np.where(random.random(len(rows)) < 0.7, 1, random.integers(2, 5, len(rows)))
            rows["result"] = np.where(random.random(len(rows)) < 0.001, 2, 0)
            rows["sequence"] = first + np.arange(len(rows)) + 1
            rows["thread"] = 4000
            builder.calls(rows)
            builder.publish()
            batch += 1
            time.sleep(max(begun + batch / WRITES_A_SECOND - time.monotonic(), 0))


async def watch(path: Path, seconds: float, filter_text: str) -> dict[str, float]:
    """Follow a live session; -> rows a second, CPU share, key-to-paint p50 and p99 in ms."""
    from sessions import open_session
    from workbench.app import ShimbenchApp
    from workbench.filter import parse

    app = ShimbenchApp(None, open_session(path))
    painted = asyncio.Event()
    async with app.run_test(size=(120, 40)) as pilot:
        display = app._display

        def note_paint(*arguments: Any) -> None:
            display(*arguments)
            painted.set()

        app._display = note_paint  # type: ignore[method-assign]
        if filter_text:
            app.calls.set_filter(filter_text, parse(filter_text))
        await pilot.pause(1)
        rows, cpu, begun = app.calls.calls.scanned, time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        wall = time.monotonic() - begun
        share = (time.process_time() - cpu) / wall
        rate = (app.calls.calls.scanned - rows) / wall
        taken = []
        for number in range(100):
            painted.clear()
            pressed = time.perf_counter()
            app.simulate_key("k" if number % 20 else "G")
            await painted.wait()
            taken.append((time.perf_counter() - pressed) * 1000)
            await asyncio.sleep(0.011)
        late = len(app.session.calls) - app.calls.calls.scanned
    return {
        "rows/s": rate,
        "cpu": share,
        "p50": float(np.percentile(taken, 50)),
        "p99": float(np.percentile(taken, 99)),
        "late": late,
    }


def main() -> None:
    """Each rate, without and with a filter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rates", type=int, nargs="+", default=[100_000, 1_000_000])
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print(f"{'asked/s':>10} {'shown/s':>10} {'filter':>22} {'of a core':>10} {'key p50':>9} {'key p99':>9}")
    for rate in options.rates:
        for filter_text in ("", "cuMem* result:CUDA_ERROR_*"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "session"
                ready, stop = context.Event(), context.Event()
                writer = context.Process(target=write_calls, args=(str(path), rate, ready, stop))
                writer.start()
                ready.wait()
                try:
                    result = asyncio.run(watch(path, options.seconds, filter_text))
                finally:
                    stop.set()
                    writer.join()
            print(
                f"{rate:>10,} {result['rows/s']:>10,.0f} {filter_text or '-':>22.22} {result['cpu']:>10.0%} "
                f"{result['p50']:>6.1f} ms {result['p99']:>6.1f} ms"
            )


if __name__ == "__main__":
    main()
