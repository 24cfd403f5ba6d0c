"""Real consumers, shims that are not ours, and a way to record them.

Packages are fetched once by their registries' clients into .cache/consumers of the checkout (or what
SHIMBENCH_CONSUMERS names); a test whose package can't be had is skipped with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sessions import Session, SessionError, open_session
from tests.patience import PATIENCE_SECONDS
from tests.real import rules_met
from workbench import native
from workbench.demo.consumer import LLAMA_CUDA_12, DownloadError, NpmPackage, Package, Wheel, fetch
from workbench.demo.model import make_tiny_model

ROOT = Path(__file__).parent.parent.parent
FOREIGN_SHIM = ROOT / "tests" / "fixtures" / "foreign_shim"
# A shim of another build: C++, behind a version script, before a driver that it opens itself.
PROXY_SHIM = ROOT / "tests" / "fixtures" / "proxy_shim"

LLAMA_CUDA_13 = NpmPackage(
    "@node-llama-cpp/linux-x64-cuda",
    "3.22.1",
    "8rQCjyNNLZJUFit+YpjwlC4hwkKgOMIkB2wuycKBf8NU2O3ySKbiWZQ8aw9ku2nUTXjSnUIrE6KB88itduTBuA==",
    "package/bins/linux-x64-cuda",
)
CUDART: dict[str, Package] = {
    "12.4": Wheel(
        "nvidia-cuda-runtime-cu12",
        "12.4.127",
        "64403288fa2136ee8e467cdc9c9427e0434110899d07c779f25b5c068934faa5",
        "nvidia/cuda_runtime/lib",
    ),
    "12.8": Wheel(
        "nvidia-cuda-runtime-cu12",
        "12.8.90",
        "adade8dcbd0edf427b7204d480d6066d33902cab2a4707dcfc48a2d0fd44ab90",
        "nvidia/cuda_runtime/lib",
    ),
    "12.9": Wheel(
        "nvidia-cuda-runtime-cu12",
        "12.9.79",
        "25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3",
        "nvidia/cuda_runtime/lib",
    ),
    "13.0": Wheel(
        "nvidia-cuda-runtime",
        "13.0.96",
        "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        "nvidia/cu13/lib",
    ),
    "13.5": Wheel(
        "nvidia-cuda-runtime",
        "13.5.37",
        "df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d",
        "nvidia/cu13/lib",
    ),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that says which rule it meets under which runtime is held to it (rules_met.py)."""
    result = yield
    for rule, version in rules_met.said_by(item):
        recorder: Recorder = item.funcargs["recorder"]
        assert rules_met.meets(recorder.sessions, rule, version), f"{rule} was not met under cudart {version}"
    return result


def get_package(package: Package) -> Path:
    """The package's libraries, or a skipped test that says why not."""
    cache = Path(os.environ.get("SHIMBENCH_CONSUMERS", ROOT / ".cache" / "consumers"))
    try:
        return fetch(package, cache)
    except DownloadError as error:
        pytest.skip(str(error))


@dataclass(frozen=True)
class Consumer:
    """A build of llama.cpp with the CUDA runtime it wants."""

    name: str
    libraries: Path
    cudart: Path
    cudart_version: str

    def command(self, native_paths: native.NativePaths, *words: object) -> list[str]:
        driver = native_paths.bin / "shimbench-llama"
        return [str(driver), "--libs", str(self.libraries), *map(str, words)]

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_LIBRARY_PATH": str(self.cudart), "GGML_NO_BACKTRACE": "1"}

    def under_shim(self, native_paths: native.NativePaths) -> dict[str, str]:
        """The environment in which it finds our libraries by itself, without a workbench."""
        major = self.cudart_version.split(".")[0]
        blas = [native_paths.lib / f"lib{name}.so.{major}" for name in ("cublas", "cublasLt")]
        return {
            **self.environment,
            "LD_LIBRARY_PATH": f"{native_paths.lib}:{self.cudart}",
            "LD_PRELOAD": ":".join(map(str, blas)),
        }


@pytest.fixture(scope="session")
def cudart() -> Callable[[str], Path]:
    """version -> the folder of that libcudart."""
    return lambda version: get_package(CUDART[version])


@pytest.fixture(scope="session")
def llama_13(cudart: Callable[[str], Path]) -> Consumer:
    return Consumer("npm", get_package(LLAMA_CUDA_13), cudart("13.0"), "13.0")


@pytest.fixture(scope="session")
def llama_12(cudart: Callable[[str], Path]) -> Consumer:
    return Consumer("cyllama", get_package(LLAMA_CUDA_12), cudart("12.9"), "12.9")


@pytest.fixture(params=["llama_13", "llama_12"])
def llama(request: pytest.FixtureRequest) -> Consumer:
    """Each of the real consumers in turn."""
    consumer: Consumer = request.getfixturevalue(request.param)
    return consumer


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="session")
def foreign_shim(
    tmp_path_factory: pytest.TempPathFactory, native_paths: native.NativePaths
) -> Callable[..., Path]:
    """Make a directory with the foreign shim in it, its shimbench.toml, and its build made.

    Words are make's variables: FAULT="INIT_100", EXCEPT="cuInit", NAMES=120. Equal ones are made once, and
    those that differ in their FAULT alone are one build, stamped.
    """
    made: dict[tuple[tuple[str, str], ...], Path] = {}

    def make(**variables: object) -> Path:
        fault = str(variables.pop("FAULT", "NONE"))
        key = tuple(sorted((name, str(value)) for name, value in variables.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("foreign")
            made[key] = copy_foreign_shim(folder / "shim", native_paths, dict(key))
        if fault == "NONE":
            return made[key]
        broken = (*key, ("FAULT", fault))
        if broken not in made:
            made[broken] = break_foreign_shim(
                made[key], tmp_path_factory.mktemp(fault.lower()) / "shim", fault
            )
        return made[broken]

    return make


def break_foreign_shim(whole: Path, directory: Path, fault: str) -> Path:
    """A copy of one that was built, broken in one of the ways of fault.h, with nothing to build."""
    shutil.copytree(whole, directory, symlinks=True)
    stamp(directory / "build" / "libvgpu-common.so", fault)
    configuration = directory / "shimbench.toml"
    lines = [line for line in configuration.read_text().splitlines() if not line.startswith("build =")]
    configuration.write_text("\n".join(lines) + "\n")
    return directory


def stamp(library: Path, fault: str) -> None:
    """Have that library be broken by `fault`: over the NONE that was compiled into it."""
    there = b" is broken by: NONE\0"
    content = library.read_bytes()
    place = content.index(there) + len(b" is broken by: ")
    assert content.count(there) == 1
    name = fault.encode() + b"\0"
    library.write_bytes(content[:place] + name + content[place + len(name) :])


def copy_foreign_shim(
    directory: Path, native_paths: native.NativePaths, variables: Mapping[str, str]
) -> Path:
    """A copy of the fixture in `directory`, with a shimbench.toml that builds it so; -> `directory`."""
    shutil.copytree(FOREIGN_SHIM, directory)
    words = " ".join(f'{name}="{value}"' for name, value in variables.items())
    libraries = {
        "libcuda.so.1": "build/libvgpu-cuda.so",
        "libnvidia-ml.so.1": "build/libvgpu-nvml.so",
        "libvgpu-common.so": "build/libvgpu-common.so",
    }
    for name in ("libcublas.so.12", "libcublasLt.so.12", "libcublas.so.13", "libcublasLt.so.13"):
        libraries[name] = str(native_paths.lib / name)
    lines = ["[shim]", 'watch = ["*.c", "*.h", "*.txt"]', f"build = '''make {words}'''", "[shim.libraries]"]
    lines += [f'"{soname}" = "{path}"' for soname, path in libraries.items()]
    (directory / "shimbench.toml").write_text("\n".join(lines) + "\n")
    subprocess.run(["make", "-s", *(f"{k}={v}" for k, v in variables.items())], cwd=directory, check=True)
    return directory


@pytest.fixture(scope="session")
def proxy_shim(
    tmp_path_factory: pytest.TempPathFactory, foreign_shim: Callable[..., Path]
) -> Callable[[str], Path]:
    """Make the C++ shim in front of the foreign one, broken in that way; -> the folder of its shimbench.toml,
    a new one each time."""
    built: list[Path] = []

    def make(fault: str) -> Path:
        if not built:
            built.append(build_proxy_shim(tmp_path_factory.mktemp("proxy"), foreign_shim()))
        folder = tmp_path_factory.mktemp(f"proxy-{fault.lower()}")
        return break_proxy_shim(built[0], folder, fault)

    return make


def build_proxy_shim(folder: Path, foreign: Path) -> Path:
    """Build it whole into `folder`, in front of what was built in `foreign`; -> `folder`."""
    behind = foreign / "build" / "libvgpu-cuda.so"
    words = ["c++", "-std=c++20", "-g", "-Wall", "-Wextra", "-fPIC", "-shared"]
    words += [f'-DBEHIND="{behind}"', f"-Wl,--version-script={PROXY_SHIM / 'exports.map'}"]
    words += ["-Wl,-soname,libcuda.so.1"]
    words += ["-o", str(folder / "libproxy.so"), str(PROXY_SHIM / "proxy.cpp"), "-ldl", "-pthread"]
    subprocess.run(words, check=True)
    (folder / "shimbench.toml").write_text('[shim.libraries]\n"libcuda.so.1" = "libproxy.so"\n')
    return folder


def break_proxy_shim(whole: Path, folder: Path, fault: str) -> Path:
    """A copy in `folder` of one that was built, broken in one of the ways of proxy.cpp; -> `folder`."""
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    stamp(folder / "libproxy.so", fault)
    return folder


@dataclass(frozen=True)
class Recording:
    """What `shimbench run` did."""

    status: int
    stdout: str
    stderr: str
    session_path: Path
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def session(self) -> Session:
        return open_session(self.session_path)

    @property
    def log(self) -> list[str]:
        """Every line of the target's processes, as the session has it, without its newline."""
        log = self.session.log
        return [
            line.text.decode(errors="replace").rstrip("\n")
            for line in log.lines(0, len(log))
            if line.role == "target"
        ]


class Recorder:
    """Runs `shimbench run` as a user does, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sessions: list[Path] = []
        self._started: list[subprocess.Popen[bytes] | subprocess.Popen[str]] = []

    def words(self, directory: Path | None, options: list[str], command: list[str]) -> tuple[list[str], Path]:
        """The command line of one run, and where its session will be."""
        session = self._folder / f"session-{len(self.sessions) + 1}"
        self.sessions.append(session)
        words = [sys.executable, "-m", "workbench.cli", "run"]
        words += [str(directory or self._own_directory()), "--session", str(session)]
        return [*words, *options, "--", *command], session

    def _own_directory(self) -> Path:
        """An empty directory: without shimbench.toml it is our own shim that runs."""
        directory = self._folder / "own"
        directory.mkdir(exist_ok=True)
        return directory

    def run(
        self,
        command: list[str],
        directory: Path | None = None,
        *,
        tap: bool = True,
        json_report: bool = True,
        buffers: bool = False,
        environment: Mapping[str, str] | None = None,
        timeout: float = PATIENCE_SECONDS,
        until: Callable[[Session], bool] | None = None,
    ) -> Recording:
        """Record `command` under the shim of `directory` (default: our own) until it ends.

        `until`: what does not end by itself is interrupted once this is true of the session.
        """
        options = ["--timeout", f"{timeout:g}"]
        options += ["--json"] if json_report else []
        options += [] if tap else ["--no-tap"]
        options += ["--buffers"] if buffers else []
        words, session = self.words(directory, options, command)
        process = subprocess.Popen(
            words,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._started.append(process)
        if until is not None:
            wait_until(lambda: process.poll() is not None or _true_of(session, until), until.__doc__ or "it")
            process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=timeout + PATIENCE_SECONDS)
        assert stdout or not json_report, f"shimbench run ended with {process.returncode}: {stderr}"
        report = json.loads(stdout) if json_report and stdout else {}
        return Recording(process.returncode, stdout, stderr, session, report)

    def start(
        self, command: list[str], directory: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> tuple[subprocess.Popen[bytes], Path]:
        """Begin a recording and return at once: the process of shimbench, and where the session is."""
        words, session = self.words(directory, [], command)
        process = subprocess.Popen(
            words,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / f"stderr-{len(self.sessions)}").open("wb"),
        )
        self._started.append(process)
        return process, session

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(PATIENCE_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path)
    yield recorder
    recorder.close()


def looked_at(session: Session) -> bool:
    """the stacks of a target that hangs"""
    targets = {process.index for process in session.processes if process.role == "target"}
    return any(event.kind == "stacks" and event.fields.get("process") in targets for event in session.events)


def _true_of(path: Path, condition: Callable[[Session], bool]) -> bool:
    """Is it, of the session that lies or will lie there?"""
    try:
        return condition(open_session(path))
    except (SessionError, OSError):
        return False


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true answer of `condition`; fails when there is none in `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    pytest.fail(f"waited {seconds:g} s in vain for {what}")


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until
