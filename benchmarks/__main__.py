"""Run the benchmarks: `python -m benchmarks` all of them, `python -m benchmarks NAME [...]` one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    names = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("__"))
    chosen, words = (sys.argv[1:2], sys.argv[2:]) if len(sys.argv) > 1 else (names, [])
    for name in chosen:
        if name not in names:
            raise SystemExit(f"no benchmark {name}; there are: {', '.join(names)}")
        print(f"== {name}", flush=True)
        status = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *words], cwd=HERE.parent
        ).returncode
        if status:
            raise SystemExit(status)


if __name__ == "__main__":
    main()
