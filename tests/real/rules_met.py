"""Which test meets which rule of the diagnosis, under which CUDA runtime: what the tests say of themselves by
`@meets("call-hangs")`, and are held to when they run.

    python -m tests.real.rules_met      prints the table: a rule, the runtimes, how many tests
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import get_args

import pytest

from sessions import Session, open_session
from workbench.diagnosis import diagnose
from workbench.diagnosis.model import Rule

GENERATIONS = ("12", "13")
#: Rules that no runtime of one generation, or of either, can meet, and why.
UNMET: Mapping[Rule, tuple[tuple[str, ...], str]] = {
    "port-taken": (GENERATIONS, "a server that gets no address has nothing to do with a runtime"),
    "host-not-started": (GENERATIONS, "without its forwarder no process of the target is begun"),
    "nvml-driver-too-old": (("13",), "Ollama asks for NVML's driver under a runtime 12.x alone"),
}
_CONSUMERS = {"llama_12": "12.9", "llama_13": "13.0"}


def meets(sessions: Iterable[Path], rule: str, version: str) -> bool:
    """Does that rule speak about one of these sessions, in which a process had that runtime?"""
    return any(
        any(found.rule == rule for found in diagnose(session)) and _had_runtime(session, version)
        for session in map(open_session, sessions)
    )


def _had_runtime(session: Session, version: str) -> bool:
    """Did a process name or map that runtime, or would have found it where it looks for libraries?"""
    soname = f"libcudart.so.{version.partition('.')[0]}"
    return not version or any(
        any(soname in word for word in process.argv)
        or any(soname in module.path for module in process.maps)
        or any(Path(folder, soname).exists() for folder in process.env.get("LD_LIBRARY_PATH", "").split(":"))
        for process in session.processes
    )


def said_by(item: pytest.Item) -> Iterator[tuple[str, str]]:
    """The rules that a test says it meets, with the version of the runtime: "" where there is none."""
    for marker in item.iter_markers("meets"):
        yield marker.args[0], _version(item)


def _version(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params if callspec is not None else {}
    if "version" in parameters:
        return str(parameters["version"])
    if "llama" in parameters:
        return _CONSUMERS[parameters["llama"]]
    consumers = [_CONSUMERS[name] for name in getattr(item, "fixturenames", ()) if name in _CONSUMERS]
    return consumers[0] if consumers else ""


class Meetings:
    """A plugin of pytest that collects them."""

    def __init__(self) -> None:
        self.versions: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for rule, version in said_by(item):
                self.versions[rule][version] += 1


def missing(versions: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What keeps it from being true that each rule is met under a runtime of each generation."""
    found = [f"{rule} is no rule" for rule in versions if rule not in get_args(Rule)]
    for rule in get_args(Rule):
        excused = UNMET.get(rule, ((), ""))[0]
        met = {version.partition(".")[0] for version in versions.get(rule, {})}
        found += [
            f"{rule} is not met under a runtime {g}.x" for g in GENERATIONS if g not in {*met, *excused}
        ]
        found += [f"{rule} is met under {g}.x, and excused" for g in excused if g in met]
        if not versions.get(rule):
            found.append(f"{rule} is met by no test")
    return found


def main() -> int:
    """Print the table; -> 1 when something is missing."""
    meetings = Meetings()
    pytest.main(["--collect-only", "-qq", "--no-header", str(Path(__file__).parent)], plugins=[meetings])
    for rule in get_args(Rule):
        told = ", ".join(
            f"{version or 'no runtime'} x{count}"
            for version, count in sorted(meetings.versions[rule].items())
        )
        why = f"; {UNMET[rule][1]}" if rule in UNMET else ""
        print(f"{rule:28} {told}{why}")
    gaps = missing(meetings.versions)
    print("\n".join(gaps), file=sys.stderr)
    return 1 if gaps else 0


if __name__ == "__main__":
    sys.exit(main())
