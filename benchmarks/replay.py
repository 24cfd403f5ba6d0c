"""How long the replay of a recording of many calls takes: making the plan, performing it, comparing.

    python -m benchmarks.replay [CALLS]

The recording is made here: tests/replay/native/program.c under our own shim, a hundred thousand calls unless
said. Beside it stands how long the program itself took for them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sessions import open_session
from sessions.replay import Results, compare_replay, make_plan, processes_with_calls
from sessions.replay.compare import Ending
from workbench.replay.perform import Wish, perform
from workbench.replay.stage import stage_of

SOURCE = Path(__file__).resolve().parent.parent / "tests" / "replay" / "native" / "program.c"


def main() -> None:
    count = int(float(sys.argv[1])) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program, path = folder / "program", folder / "session"
        subprocess.run(["cc", "-O2", "-pthread", "-o", str(program), str(SOURCE)], check=True)
        command = [sys.executable, "-m", "workbench.cli", "run", "--session", str(path), "--buffers", "--"]
        subprocess.run([*command, str(program), "calls", str(count)], check=True, capture_output=True)
        session = open_session(path)
        (process,) = processes_with_calls(session)
        columns = session.calls.columns(0, len(session.calls), ["time", "duration"])
        recorded = int((columns["time"] + columns["duration"]).max() - columns["time"].min()) / 1e9
        began = time.process_time()
        plan = make_plan(session, process, folder / "plan")
        planned = time.process_time() - began
        began = time.perf_counter()
        replay = perform(Wish(session, (process,)), stage_of(folder), folder)
        whole = time.perf_counter() - began
        (done,) = replay.performances
        results, began = done.results, time.perf_counter()
        compare_replay(plan, results, open_session(replay.session), Ending())
        compared = time.perf_counter() - began
        performed = int(results.ended.max() - results.began[results.began > 0].min()) / 1e9
        assert isinstance(results, Results) and done.verdict.same
        print(f"{len(plan.rows)} calls, recorded over {recorded:.2f} s (its start and end included)")
        print(f"plan {planned:.2f} s, performed in {performed:.2f} s, compared {compared:.2f} s")
        print(f"whole replay {whole:.2f} s: also a forwarder, a collector and a session of its own")


if __name__ == "__main__":
    main()
