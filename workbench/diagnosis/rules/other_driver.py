"""A process has mapped another libcuda.so.1 (or NVML) than the one that was built for the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from sessions.items import Pseudo, string_of
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

_NAMES = ("libcuda.so", "libnvidia-ml.so")


def find(facts: Facts) -> Iterator[Diagnosis]:
    found = next(_mapped(facts), None) or next(_unseen(facts), None)
    if found is not None:
        yield found


def _mapped(facts: Facts) -> Iterator[Diagnosis]:
    libraries = facts.run_event.get("libraries")
    given = {str(path) for path in libraries.values()} if isinstance(libraries, dict) else set()
    sonames = [name for name in libraries if name.startswith(_NAMES)] if isinstance(libraries, dict) else []
    ours = f"/runs/{facts.run}/"  # of the session where it was recorded; it may have been moved since
    for process in facts.processes:
        mapped = {m.path for m in process.maps if (m.soname or PurePosixPath(m.path).name).startswith(_NAMES)}
        mapped |= {m.path for m in process.modules if PurePosixPath(m.path).name.startswith(_NAMES)}
        for path in sorted(mapped):
            name = next(
                (s for s in sonames if PurePosixPath(path).name.startswith(s.partition(".so")[0])), None
            )
            if name is None or path in given or ours in path or _behind(facts, process.index, path):
                continue
            family = name.partition(".so")[0]
            right = any(
                (other in given or ours in other) and PurePosixPath(other).name.startswith(family)
                for other in mapped
            )
            # Beside the right one it may stand behind the shim, which passes calls on to it.
            if right and not _opened_past(facts, process.index, path, given, ours):
                continue
            where = _way(path, process.cwd, process.env.get("LD_LIBRARY_PATH", ""))
            yield Diagnosis(
                rule="other-driver-mapped",
                what="the shim is not the one that runs",
                cause=f"process {process.pid} mapped {path}{where}, not the build of this run",
                fix=f"take {path} away, or name it under [shim.libraries]; a folder of the program's own is "
                "searched before LD_LIBRARY_PATH only by RPATH or an absolute path",
                certainty="proved",
                stage=Stage.LOAD,
                evidence=[Evidence(f"process {process.pid} {' '.join(process.argv[:2])} maps {path}")],
                process=process.index,
                independent=True,
            )
            return


def _unseen(facts: Facts) -> Iterator[Diagnosis]:
    """A process that ended before its maps were read: it got a driver, and no tap was loaded with it."""
    if not facts.run_event.get("tap"):
        return
    loaded = {call.process for call in facts.calls if call.function == Pseudo.LOAD} | facts.last_rows.keys()
    for process in facts.processes:
        got = [call for call, _ in facts.opened("libcuda.so", process.index) if call.result != -1]
        if not got or process.index in loaded:
            continue
        path = process.env.get("LD_LIBRARY_PATH", "")
        yield Diagnosis(
            rule="other-driver-mapped",
            what="the shim is not the one that runs",
            cause=f"process {process.pid} asked for libcuda.so.1 and got another than the build of this run"
            + (f"; its LD_LIBRARY_PATH begins with {path.split(':')[0]}" if path else ""),
            fix="take the other libcuda.so.1 away, or have LD_LIBRARY_PATH reach the program as it was given",
            certainty="proved",
            stage=Stage.LOAD,
            evidence=[facts.call_evidence(got[0].row)],
            process=process.index,
            independent=True,
        )
        return


def _behind(facts: Facts, process: int, path: str) -> bool:
    """What a tap has loaded, it has loaded on purpose."""
    return any(
        call.function == Pseudo.LOAD and call.process == process and string_of(facts.items(call), 0) == path
        for call in facts.calls
    )


def _opened_past(facts: Facts, process: int, path: str, given: set[str], ours: str) -> bool:
    """Did anything but the shim open that very file?"""
    known = facts.process(process)
    for call, name in facts.opened(PurePosixPath(path).name, process):
        module = known.module_at(call.caller) if known is not None else None
        if name == path and module is not None and module.path not in given and ours not in module.path:
            return True
    return False


def _way(path: str, cwd: str, library_path: str) -> str:
    folder = str(PurePosixPath(path).parent)
    if folder in library_path.split(":"):
        return " (through LD_LIBRARY_PATH)"
    return " (the current directory)" if cwd == folder else ""
