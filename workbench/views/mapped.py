"""Which driver libraries each process of a run has really mapped, and a warning for every other than ours.

A consumer may find a libcuda.so.1 where no LD_LIBRARY_PATH of ours reaches: in a folder that is put before
it, by an RPATH, in the current directory. Everything such a process does is done without the shim.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessions import Process, Session


@dataclass(frozen=True)
class WrongLibrary:
    """A process that mapped another library than the one that was built."""

    process: int  #: index into Session.processes
    pid: int
    soname: str
    path: str  #: what it mapped
    expected: str
    how: str  #: how the loader came to it, as far as can be told

    @property
    def text(self) -> str:
        """A sentence."""
        return f"process {self.pid} mapped {self.path} as {self.soname}, not {self.expected}: {self.how}"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "pid": self.pid,
            "soname": self.soname,
            "path": self.path,
            "expected": self.expected,
            "how": self.how,
        }


def wrong_libraries(session: Session, run: int | None = None) -> list[WrongLibrary]:
    """Of a run, the newest unless told. [] when each process mapped what it was given, or nothing."""
    run = session.newest_run if run is None else run
    given: dict[str, str] = {}
    for event in session.events:
        if event.kind == "run" and event.fields.get("run") == run:
            libraries = event.fields.get("libraries")
            given = dict(libraries) if isinstance(libraries, dict) else {}
    found: list[WrongLibrary] = []
    own = str(PurePosixPath(str(session.path.absolute())) / "runs" / str(run))
    for process in session.processes:
        if process.run != run or process.role not in ("", "target", "exercise"):
            continue
        for soname, expected in given.items():
            paths = [m.path for m in process.maps if _is(m.soname, m.path, soname)]
            if expected in paths or any(_is_ours(path, own, run) for path in paths):
                continue  # any other beside it may be what the shim itself passes calls on to
            for path in dict.fromkeys(paths):
                if path != expected and not _is_ours(path, own, run):
                    how = _how(process, path)
                    found.append(WrongLibrary(process.index, process.pid, soname, path, expected, how))
    return found


def _is(soname: str, path: str, wanted: str) -> bool:
    return (soname or PurePosixPath(path).name) == wanted or PurePosixPath(path).name == wanted


def _is_ours(path: str, own: str, run: int) -> bool:
    """The tap in the folder of the run; a session that was moved has it under another path."""
    return path.startswith(f"{own}/") or f"/runs/{run}/tap/" in path or f"/runs/{run}/lib/" in path


def _how(process: Process, path: str) -> str:
    folder = str(PurePosixPath(path).parent)
    preloaded = process.env.get("LD_PRELOAD", "").replace(":", " ").split()
    if path in preloaded:
        return "it stands in LD_PRELOAD"
    searched = [entry for entry in process.env.get("LD_LIBRARY_PATH", "").split(":") if entry]
    if not any("/runs/" in entry for entry in searched):
        return "our LD_LIBRARY_PATH was dropped on the way to this process"
    if folder in searched:
        return f"{folder} comes before ours in LD_LIBRARY_PATH"
    if folder == process.cwd:
        return "it lies in the current directory, which an empty entry of a search path names"
    beside = [m.path for m in process.maps if str(PurePosixPath(m.path).parent) == folder and m.path != path]
    if beside:
        return f"it lies beside {PurePosixPath(beside[0]).name}, whose RPATH or RUNPATH leads there"
    return "it was opened by its path, or by an RPATH or RUNPATH"
