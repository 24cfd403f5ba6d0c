"""What the live diagnosis costs: seconds of its thread per million calls, and how long the rules take.

    python benchmarks/diagnosis.py [MILLIONS]

Rows are written by the session's real writer in steps of 250 000, as a target that makes a million calls a
second would in each of the thread's periods; the share of a core is that of such a target.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sessions import format
from sessions.testing import SessionBuilder
from workbench import native
from workbench.diagnosis.engine import explain_facts
from workbench.diagnosis.gather import Gatherer

STEP = 250_000
MIXES = {
    "launches": (("cuLaunchKernel", "cuStreamSynchronize", "cuMemcpyHtoDAsync_v2", "cuCtxGetDevice_v2"), 0),
    "all failing": (("cuStreamQuery",), 600),
}


def rows_of(builder: SessionBuilder, names: tuple[str, ...], result: int) -> np.ndarray:
    """One step of calls by four threads."""
    rows = np.zeros(STEP, dtype=format.CALL_ROW)
    numbers = np.array([builder.function(name) for name in names], np.uint16)
    rows["function"] = numbers[np.arange(STEP) % len(numbers)]
    rows["thread"] = 4121 + np.arange(STEP) // 1000 % 4
    rows["sequence"] = np.arange(1, STEP + 1)
    rows["duration"], rows["result"] = 900, result
    return rows


def main() -> None:
    steps = int(float(sys.argv[1]) * 4) if len(sys.argv) > 1 else 16
    model = json.loads(native.paths().model.read_text())
    for title, (names, result) in MIXES.items():
        with tempfile.TemporaryDirectory() as folder:
            builder = SessionBuilder(Path(folder) / "s", model)
            builder.event("run", run=1, reason="start", command=["target"], ours=False)
            builder.process(["target"], pid=4121)
            rows = rows_of(builder, names, result)
            builder.publish()
            session = builder.open()
            gatherer = Gatherer()
            looks: list[float] = []
            for step in range(steps):
                rows["time"] = (step * STEP + np.arange(STEP)) * 1000
                builder.calls(rows)
                builder.publish()
                began = time.thread_time()
                session.refresh()
                gatherer.update(session)
                looks.append(time.thread_time() - began)
            began = time.thread_time()
            explain_facts(gatherer.facts())
            rules = time.thread_time() - began
            builder.finish()
        share = sorted(looks)[len(looks) // 2] / (STEP / 1e6)
        print(
            f"{title}: {1000 * share:.0f} ms per million calls ({100 * share:.1f} % of a core at 1 M/s), "
            f"longest look {1000 * max(looks):.0f} ms, rules {1000 * rules:.1f} ms"
        )


if __name__ == "__main__":
    main()
