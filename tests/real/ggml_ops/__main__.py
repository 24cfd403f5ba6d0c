"""Compare ggml's CUDA backend with its CPU backend, operation by operation.

    python -m tests.real.ggml_ops --libs DIR [--group NAME] [--all] [--only WORDS] [--json]

The CUDA backend finds its driver as any program does; tests/real/test_ggml_ops.py says how to lead it to
our shim. Exit status: 0 all within ggml's tolerances, 1 some not.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.real.ggml_ops.attention_cases import GROUPS as ATTENTION_GROUPS
from tests.real.ggml_ops.case import Case
from tests.real.ggml_ops.compare import Backends, Outcome
from tests.real.ggml_ops.library import Ggml
from tests.real.ggml_ops.model_cases import GROUPS as MODEL_GROUPS
from tests.real.ggml_ops.other_cases import GROUPS as OTHER_GROUPS

GROUPS: dict[str, Callable[[], Iterator[Case]]] = MODEL_GROUPS | ATTENTION_GROUPS | OTHER_GROUPS


def chosen(group: str | None, everything: bool, words: str) -> list[Case]:
    """The cases of a group (or of all) whose names hold `words`; the usual selection or all of them."""
    cases = [case for name, make in GROUPS.items() if group in (None, name) for case in make()]
    return [case for case in cases if (everything or case.every) and words in case.name]


def described(outcome: Outcome, seconds: float) -> str:
    word = "unsupported" if outcome.error is None else "FAILED" if outcome.failed else "ok"
    error = "" if outcome.error is None else f"error {outcome.error:.2g} of {outcome.case.tolerance:g}"
    return f"{word:11} {outcome.case}  {error}{outcome.text}  {seconds * 1e3:.0f} ms"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.real.ggml_ops",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--libs", type=Path, required=True, help="the folder of ggml's libraries")
    parser.add_argument("--group", choices=sorted(GROUPS), help="only these operations")
    parser.add_argument("--all", action="store_true", help="the whole matrix, not the usual selection")
    parser.add_argument("--only", default="", metavar="WORDS", help="cases whose names hold these words")
    parser.add_argument("--json", action="store_true", help="one object on stdout, when all are done")
    options = parser.parse_args()
    backends = Backends(Ggml(options.libs))
    outcomes = []
    for case in chosen(options.group, options.all, options.only):
        start = time.perf_counter()
        outcomes.append(backends.compare(case))
        if not options.json:
            print(described(outcomes[-1], time.perf_counter() - start), flush=True)
    failed = [outcome for outcome in outcomes if outcome.failed]
    if options.json:
        rows = [{"case": str(o.case), "error": o.error, "tolerance": o.case.tolerance, "failed": o.failed,
                 "text": o.text} for o in outcomes]  # fmt: skip
        print(json.dumps({"cases": rows}))
    else:
        compared = sum(outcome.error is not None for outcome in outcomes)
        print(f"{compared} compared, {len(failed)} failed, {len(outcomes) - compared} unsupported")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
