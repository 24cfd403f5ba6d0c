"""The ladder: short programs that fail where the target would, long before it would.

    probe          cudaGetDeviceCount in a process with the target's own environment
    list-devices   the target's program lists its devices and ends
    discovery      the target has found a device       } seen in the target's own run
    load           a model lies on the device          }
    tokens         the exercise has brought tokens     }

After a save the workbench climbs from the first; where one fails, the target is not launched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.config import RUNGS, Config
from workbench.target import ollama
from workbench.target.installation import backend_paths, library_folder

if TYPE_CHECKING:
    from sessions import Line
    from workbench.target.command import Target

SHORT_RUNGS = RUNGS[:2]
"""What runs before the target."""
PATIENCE_SECONDS = 30.0
"""As long as Ollama waits for a discovery process."""
KERNEL_PATIENCE_SECONDS = 5.0
"""For a kernel of ours: nothing waits for its outcome."""

State = Literal["ok", "failed"]


@dataclass(frozen=True)
class Rung:
    """One rung, reached or not."""

    name: str
    state: State
    text: str
    seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name} {self.state}: {self.text}"


@dataclass(frozen=True)
class ShortRung:
    """A program to run before the target."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    """set on top of the target's; LD_LIBRARY_PATH is put before the target's"""


def short_rungs(config: Config, target: Target, environ: Mapping[str, str], answer: Path) -> list[ShortRung]:
    """The rungs below the target: what [target] ladder says, else those of an Ollama. `answer` is where
    the probe writes. A rung for which nothing is found here is left out."""
    wanted = config.target.ladder
    if wanted is None:
        wanted = {name: () for name in SHORT_RUNGS} if ollama.is_server(target.argv) else {}
    found = []
    for name, command in wanted.items():
        rung = ShortRung(name, command, {}) if command else _own_rung(name, target, environ, answer)
        if rung is not None:
            found.append(rung)
    return found


def _own_rung(name: str, target: Target, environ: Mapping[str, str], answer: Path) -> ShortRung | None:
    return _probe(target, environ, answer) if name == "probe" else _list_devices(target, environ)


def _probe(target: Target, environ: Mapping[str, str], answer: Path) -> ShortRung | None:
    import sys

    runtime = find_runtime(target, environ)
    if runtime is None:
        return None
    script = Path(__file__).with_name("probe.py")
    words = (sys.executable, "-I", "-S", str(script), str(answer), str(runtime))
    return ShortRung("probe", words, _libraries_of(target, environ))


def kernel_probe(probe: ShortRung, answer: Path) -> ShortRung:
    """What runs a kernel of ours where `probe` counted devices; `answer` gets its outcome."""
    script = Path(__file__).with_name("kernel_probe.py")
    words = (probe.argv[0], "-I", "-S", str(script), str(answer))
    return ShortRung("kernel", words, probe.environment)


def judge_kernel(answer: Path, status: int | None, ending: str, seconds: float) -> tuple[str, str]:
    """The outcome (computed, nothing, wrong, copies, failed) and what it means."""
    if status is None:
        return "failed", f"a kernel of ours was still at it after {seconds:.0f} s"
    try:
        found = json.loads(answer.read_text())
        return str(found["outcome"]), str(found["text"])
    except (OSError, ValueError, KeyError):
        return "failed", f"the process that tried a kernel of ours ended with {ending}"


def _list_devices(target: Target, environ: Mapping[str, str]) -> ShortRung | None:
    program = Path(target.argv[0])
    if ollama.is_server(target.argv):
        root, folder = library_folder(program, target.cwd), _backend_folder(target, environ)
        server = root / "llama-server" if root is not None else None
        if server is None or not server.is_file() or folder is None:
            return None  # before 0.30 there was no such program
        backend = next(iter(sorted(folder.glob("libggml-cuda*.so*"))))
        words: tuple[str, ...] = (str(server), "--list-devices", "--offline", "--verbose")
        return ShortRung(
            "list-devices", words, {**_libraries_of(target, environ), "GGML_BACKEND_PATH": str(backend)}
        )
    if program.name == "shimbench-llama" and "--libs" in target.argv[:-1]:
        at = target.argv.index("--libs")
        words = (str(program), *target.argv[at : at + 2], "--list-devices")
        return ShortRung("list-devices", words, {})
    if program.name.startswith("llama-"):
        return ShortRung("list-devices", (str(program), "--list-devices"), {})
    return None


def _backend_folder(target: Target, environ: Mapping[str, str]) -> Path | None:
    """Where the CUDA backend that Ollama will try first lies."""
    wanted = environ.get("OLLAMA_LLM_LIBRARY", "*")
    found = backend_paths(library_folder(Path(target.argv[0]), target.cwd))
    folders = [path.parent for path in found if fnmatch(path.parent.name, wanted)]
    return max(folders, default=None)


def _libraries_of(target: Target, environ: Mapping[str, str]) -> dict[str, str]:
    if not ollama.is_server(target.argv):
        return {}
    folder = _backend_folder(target, environ)
    if folder is None:
        return {}
    return {"LD_LIBRARY_PATH": ":".join(map(str, dict.fromkeys((folder.parent, folder))))}


def find_runtime(target: Target, environ: Mapping[str, str]) -> Path | None:
    """The libcudart the target itself would load: beside its backends and programs, in its
    LD_LIBRARY_PATH, in a toolkit; else the one that came with shimbench. The newest of one place."""
    folders: list[Path] = []
    program = Path(target.argv[0])
    if ollama.is_server(target.argv) and (backend := _backend_folder(target, environ)) is not None:
        folders.append(backend)
    for number, word in enumerate(target.argv[:-1]):
        if word == "--libs":
            folders.append(Path(target.cwd, target.argv[number + 1]))
    for path in filter(None, {**environ, **target.env}.get("LD_LIBRARY_PATH", "").split(":")):
        folders.append(Path(target.cwd, path))
    here = program.resolve().parent
    folders += [here, here / "lib", here.parent / "lib", Path("/usr/local/cuda/lib64")]
    for folder in folders:
        found = [path for path in folder.glob("libcudart.so.*") if path.is_file()]
        if found:
            return max(found, key=_version)
    return _packaged_runtime()


def _packaged_runtime() -> Path | None:
    import importlib.metadata

    for name in ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12"):
        try:
            files = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if re.fullmatch(r"libcudart\.so\.\d+", file.name):
                return Path(str(file.locate())).resolve()
    return None


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.name.partition(".so")[2]))


def judge(
    name: str, answer: Path, status: int | None, ending: str, output: str, seconds: float, own: bool
) -> Rung:
    """What a short rung's end means. `status` None: it had to be ended. `own`: the command is ours."""
    if status is None:
        return Rung(name, "failed", f"still at it after {seconds:.0f} s", seconds)
    if name == "probe" and own:
        return _judge_probe(answer, ending, seconds)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if own:
        devices = [line for line in lines if re.search(r"\bCUDA\d+\s*:", line)]
        if status == 0 and devices:
            return Rung(name, "ok", re.sub(r"^device ", "", devices[0]), seconds)
        blamed = [line for line in lines if _BLAME.search(line)]
        said = blamed[0] if blamed else "no CUDA device is listed" if status == 0 else ending
        return Rung(name, "failed", said, seconds)
    last = lines[-1] if lines else ending
    return Rung(
        name, "ok" if status == 0 else "failed", last if status == 0 else f"{ending}: {last}", seconds
    )


_BLAME = re.compile(r"failed to (?:initialize CUDA|load)|CUDA error|found 0 CUDA devices|error while loading")


def _judge_probe(answer: Path, ending: str, seconds: float) -> Rung:
    try:
        found = json.loads(answer.read_text())
    except (OSError, ValueError):
        return Rung("probe", "failed", f"cudaGetDeviceCount did not return: {ending}", seconds)
    version = found["version"]
    runtime = f"cudart {version // 1000}.{version % 1000 // 10}" if version else Path(found["library"]).name
    if found["code"] is None:
        return Rung("probe", "failed", found["text"], seconds)
    if found["code"]:
        text = f"{runtime}: error {found['code']} {found['name']}: {found['text']}"
        return Rung("probe", "failed", text, seconds)
    if not found["count"]:
        return Rung("probe", "failed", f"{runtime} finds 0 devices", seconds)
    count = found["count"]
    return Rung("probe", "ok", f"{runtime} finds {count} device{'' if count == 1 else 's'}", seconds)


_SEEN: tuple[tuple[str, State, re.Pattern[bytes]], ...] = (
    ("discovery", "ok", re.compile(rb"inference compute.* library=CUDA")),
    ("discovery", "failed", re.compile(rb"inference compute.* library=cpu")),
    ("discovery", "ok", re.compile(rb"ggml_cuda_init: found [1-9]\d* CUDA devices")),
    ("discovery", "failed", re.compile(rb"ggml_cuda_init: found 0 CUDA devices")),
    ("discovery", "failed", re.compile(rb"ggml_cuda_init: failed to initialize CUDA: .*")),
    ("load", "ok", re.compile(rb"offloaded [1-9]\d*/\d+ layers to GPU")),
    ("load", "failed", re.compile(rb"offloaded 0/\d+ layers to GPU")),
    (
        "load",
        "failed",
        re.compile(rb"(?:llama_model_load: error|error loading model|failed to load model).*"),
    ),
    ("load", "failed", re.compile(rb"CUDA error: .*")),
)
_ANY_SEEN = re.compile(b"|".join(pattern.pattern for _, _, pattern in _SEEN))


def seen_rung(line: Line) -> Rung | None:
    """The rung of the target's own run that a line of its output speaks of."""
    if not _ANY_SEEN.search(line.text):
        return None
    for name, state, pattern in _SEEN:
        if match := pattern.search(line.text):
            return Rung(name, state, match[0].decode(errors="replace").strip())
    return None


def summary(rungs: list[Rung]) -> str:
    """One line: `tokens` reached, or where it ends."""
    failed = next((rung for rung in rungs if rung.state == "failed"), None)
    if failed is not None:
        return f"{failed.name} failed: {failed.text}"
    return f"{rungs[-1].name} ok" if rungs else ""
