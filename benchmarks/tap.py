"""What recording a call costs: the tap against the bare floor and against an fprintf wrapper.

``python benchmarks/tap.py``: prints one JSON object with nanoseconds per call (of a call with two scalars),
and the ratios, which are what to compare between machines. All in one run, interleaved, best of the rounds.
The floor is two rdtsc and a 64-byte store around the same call. Budget: tap <= 1.3 x floor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "tap"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tap_registry import Registry

from workbench import native
from workbench.tap.rundir import make_run_directory

SOURCES = Path(__file__).parent / "tap"
INCLUDE = Path(__file__).parent.parent / "workbench" / "tap" / "include"
CALLS = 20_000  # a round: 1.3 MB of records, about what a collector lets pile up
REPEATS = 7


def compile_c(source: str, out: Path, *options: str) -> Path:
    """Compiles one of the C files beside this."""
    command = ["cc", "-O2", f"-I{INCLUDE}", str(SOURCES / source), "-o", str(out), *options, "-ldl"]
    subprocess.run(command, check=True)
    return out


def measure(program: Path, how: str, library: str, environment: dict[str, str]) -> float:
    """Nanoseconds per call."""
    command = [str(program), how, str(CALLS), library]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compile_c("calls.c", folder / "calls")
        shared = ("-shared", "-fPIC", "-Wl,-soname,libcuda.so.1")
        bare = compile_c("shim.c", folder / "shim.so", *shared)
        logging = compile_c("shim.c", folder / "logging.so", *shared, "-DLOGGING")
        environment = dict(os.environ)
        best: dict[str, float] = {}

        def keep(way: str, nanoseconds: float) -> None:
            best[way] = min(nanoseconds, best.get(way, nanoseconds))

        for number in range(REPEATS):
            run = folder / f"run{number}"
            run.mkdir()
            registry = Registry(run / "s")
            paths = native.paths()
            added = make_run_directory(run, paths, {"libcuda.so.1": bare}, registry.path, tee=False)
            keep("plain", measure(program, "library", str(bare), environment))
            keep("floor", measure(program, "floor", str(bare), environment))
            keep("tap", measure(program, "library", "libcuda.so.1", environment | added))
            keep("fprintf", measure(program, "library", str(logging), environment))
            assert registry.lost() == 0, "the tap lost records: the figure means nothing"
            registry.close()
            registry.regions.clear()
        ratios = {
            "tap / floor": round(best["tap"] / best["floor"], 2),
            "fprintf / tap": round(best["fprintf"] / best["tap"], 2),
        }
        print(json.dumps({"ns_per_call": best, "ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
