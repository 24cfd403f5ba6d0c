"""Ollama's processes, played by a stand-in through the real libggml-cuda.so: all of them recorded, none of
their calls lost, their roles and ends told, and GPU mode found."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATIENCE_SECONDS, Consumer, Recorder, wait_until

from sessions import Session, open_session
from workbench.diagnosis import diagnose
from workbench.native import NativePaths
from workbench.target.roles import Role
from workbench.views.mapped import wrong_libraries
from workbench.views.summary import gpu_mode
from workbench.views.timeline import Timeline
from workbench.views.timeline_tracker import timeline_of

sys.path.insert(0, str(Path(__file__).parent / "ollama_standin"))
from install import install

DISCOVERY = [Role.BOOTSTRAP, Role.LIST_DEVICES, Role.GPU_DISCOVER]
CALLS_TO_A_FOUND_DEVICE = 578
"""facts/ollama.md: of the llama-server that is killed, with cudart 13.0, under a real Ollama as well."""


@pytest.fixture(scope="module")
def record(
    tmp_path_factory: pytest.TempPathFactory, llama_13: Consumer, tiny_model: Path
) -> Callable[[str], Session]:
    """version -> the session of an Ollama of that version that answered one request. Made once each."""
    made: dict[str, Path] = {}

    def of_version(version: str) -> Session:
        if version not in made:
            folder = tmp_path_factory.mktemp("ollama")
            ollama = install(folder / "installed", llama_13.libraries, llama_13.cudart, version)
            recorder = Recorder(folder)
            made[version] = _record(recorder, ollama, tiny_model)
            recorder.close()
        return open_session(made[version])

    return of_version


@pytest.mark.meets("capability-not-in-archs")
def test_a_backend_built_for_another_architecture_loses_the_gpu_as_ollama_loses_it(
    llama_12: Consumer, tiny_model: Path, tmp_path: Path, recorder: Recorder
) -> None:
    """This build for CUDA 12 knows 7.5 alone, our device says 8.0: PTX would do, but Ollama drops it."""
    ollama = install(tmp_path / "installed", llama_12.libraries, llama_12.cudart, "0.33.0", "cuda_v12")
    session = open_session(_record(recorder, ollama, tiny_model))
    timeline = timeline_of(session)
    first, load = timeline.passes
    assert (first.kind, first.folder, load.kind, load.folder) == ("bootstrap", "cuda_v12", "load", "")
    assert [note.text for note in first.notes] == ["compute capability not in compiled architectures"]
    assert [bar.opened_driver for bar in timeline.bars] == [False, True, True, True, False]
    assert "cuda_v12: cudart 12.9, machine code for 75, PTX 75" in timeline.installed
    # Its RPATH is searched before any LD_LIBRARY_PATH.
    assert any("RPATH" in warning for warning in timeline.warnings)
    assert wrong_libraries(session) == [] and session.lost == 0
    assert gpu_mode(session).mode == "cpu"


@pytest.mark.meets("nvml-driver-too-old")
def test_a_driver_that_nvml_says_is_too_old_for_cuda_12_loses_the_gpu(
    llama_12: Consumer,
    tiny_model: Path,
    foreign_shim: Callable[..., Path],
    native_paths: NativePaths,
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    """Our own driver beside another one's NVML."""
    old = foreign_shim(FAULT="NVML_OLD") / "build"
    directory = tmp_path / "project"
    directory.mkdir()
    libraries = {
        **{
            name: native_paths.lib / name for name in ("libcuda.so.1", "libcublas.so.12", "libcublasLt.so.12")
        },
        "libnvidia-ml.so.1": old / "libvgpu-nvml.so",
        "libvgpu-common.so": old / "libvgpu-common.so",
    }
    lines = ["[shim.libraries]", *(f'"{soname}" = "{path}"' for soname, path in libraries.items())]
    run = json.dumps(f"{native_paths.host} --device soft --compute-capability 7.5")
    (directory / "shimbench.toml").write_text("\n".join([*lines, "[host]", f"run = {run}"]) + "\n")
    ollama = install(tmp_path / "installed", llama_12.libraries, llama_12.cudart, "0.33.0", "cuda_v12")
    session = open_session(_record(recorder, ollama, tiny_model, directory))
    found = {each.rule: each for each in diagnose(session)}
    assert found["nvml-driver-too-old"].certainty == "proved"
    assert "470.82.01" in found["nvml-driver-too-old"].cause
    assert found["cpu-mode"].consequence_of == "nvml-driver-too-old"


@pytest.mark.meets("cpu-mode")
@pytest.mark.parametrize(
    ("llama", "folder", "capability"),
    [("llama_12", "cuda_v12", "7.5"), ("llama_13", "cuda_v13", "8.0")],
    indirect=["llama"],
)
def test_a_request_for_no_layers_on_the_gpu_is_found_in_the_runners_command_line(
    llama: Consumer, folder: str, capability: str, tiny_model: Path, tmp_path: Path, recorder: Recorder
) -> None:
    ollama = install(tmp_path / "installed", llama.libraries, llama.cudart, "0.33.0", folder)
    environment = {"SHIMBENCH_DEVICE_COMPUTE": capability}
    session = open_session(
        _record(recorder, ollama, tiny_model, options={"num_gpu": 0}, environment=environment)
    )
    assert gpu_mode(session).mode == "cpu"
    [found] = diagnose(session)
    assert (found.rule, found.certainty) == ("cpu-mode", "proved")
    assert "-ngl 0 stands in its command line" in found.cause


def test_a_driver_in_ollamas_own_folder_does_not_come_before_the_tap(
    llama_13: Consumer, tiny_model: Path, tmp_path: Path, native_paths: NativePaths, recorder: Recorder
) -> None:
    """Its folders stand before the user's in LD_LIBRARY_PATH; what is preloaded comes before all."""
    ollama = install(tmp_path / "installed", llama_13.libraries, llama_13.cudart, "0.33.0")
    placed = tmp_path / "installed" / "lib" / "ollama" / "cuda_v13" / "libcuda.so.1"
    placed.write_bytes((native_paths.lib / "libcuda.so.1").read_bytes())
    session = open_session(_record(recorder, ollama, tiny_model))
    told = next(event for event in session.events if event.kind == "target").fields
    assert any(str(placed) in warning for warning in told["warnings"])
    assert told["version"] == "0.33.0" and told["backends"][0]["runtime"] == [13, 0]
    assert wrong_libraries(session) == []
    timeline = timeline_of(session)
    # Preloaded, it is in the server and in what it starts, and still recorded as before.
    killed = [bar for bar in timeline.bars if bar.role is Role.BOOTSTRAP]
    assert [bar.calls for bar in killed] == [CALLS_TO_A_FOUND_DEVICE] * 3
    assert gpu_mode(session).mode == "gpu" and session.lost == 0


def _record(
    recorder: Recorder,
    ollama: Path,
    model: Path,
    directory: Path | None = None,
    options: dict[str, int] | None = None,
    environment: dict[str, str] | None = None,
) -> Path:
    """An `ollama serve` that answers one request, with these options of Ollama's; -> its session."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {"OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_DEBUG": "1", **(environment or {})}
    process, session = recorder.start([str(ollama), "serve"], directory, told)
    wait_until(lambda: process.poll() is not None or _ask(port) is not None, "the server listens")
    body = json.dumps({"model": str(model), "prompt": "hi", "options": options or {}}).encode()
    url = f"http://127.0.0.1:{port}/api/generate"
    with urllib.request.urlopen(url, body, timeout=PATIENCE_SECONDS) as answer:
        assert json.load(answer) == {"tokens": 4, "stop": True}
    process.send_signal(signal.SIGINT)
    process.wait(PATIENCE_SECONDS)
    return session


def _ask(port: int) -> bytes | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as answer:
            return bytes(answer.read())
    except OSError:
        return None


def passes(timeline: Timeline) -> list[tuple[str, list[Role]]]:
    return [(each.kind, [bar.role for bar in each.bars]) for each in timeline.passes]


def test_all_ten_processes_of_ollama_0_33_are_there_and_no_call_is_lost(
    record: Callable[[str], Session],
) -> None:
    session = record("0.33.0")
    timeline = timeline_of(session)
    assert passes(timeline) == [
        ("bootstrap", DISCOVERY),
        ("validation", DISCOVERY),
        ("refresh", DISCOVERY),
        ("load", [Role.RUNNER]),
    ]
    assert timeline.era == ">=0.30"
    opened = [bar for bar in timeline.bars if bar.opened_driver]
    assert len(opened) == 10
    assert [bar.role for bar in timeline.others] == [Role.SERVE]
    assert session.lost == 0
    killed = [bar for bar in opened if bar.role is Role.BOOTSTRAP]
    assert [bar.calls for bar in killed] == [CALLS_TO_A_FOUND_DEVICE] * 3
    assert {bar.ending_kind for bar in killed} == {"on-purpose"}
    assert all(bar.ending == "exit 0" for bar in opened if bar.role in DISCOVERY[1:])
    assert all(bar.result is not None and not bar.result.bad for bar in opened)
    assert [each.folder for each in timeline.passes] == ["cuda_v13"] * 4
    assert [each.limit.seconds for each in timeline.passes] == [30.0, 30.0, 3.0, 300.0]
    assert timeline.verdict is not None and timeline.verdict.text.startswith("CUDA")


def test_each_process_mapped_the_tap_and_what_stands_behind_it(record: Callable[[str], Session]) -> None:
    session = record("0.33.0")
    for bar in timeline_of(session).bars:
        if bar.opened_driver:
            paths = [m.path for m in session.processes[bar.process].maps if m.soname == "libcuda.so.1"]
            assert any(path.startswith(str(session.path)) for path in paths), paths


def test_gpu_mode_is_derived_from_launches_layers_and_ollamas_own_line(
    record: Callable[[str], Session],
) -> None:
    for version in ("0.33.0", "0.13.5", "0.11.0"):
        mode = gpu_mode(record(version))
        assert mode.mode == "gpu"
        texts = " ".join(piece.text for piece in mode.evidence)
        assert "cuLaunchKernel" in texts or "cuGraphLaunch" in texts
        assert "layers to GPU" in texts and "inference compute" in texts


def test_an_ollama_before_0_30_looks_by_a_runner_that_it_kills(record: Callable[[str], Session]) -> None:
    session = record("0.13.5")
    timeline = timeline_of(session)
    assert timeline.era == "0.12.4-0.24"
    assert passes(timeline) == [
        ("bootstrap", [Role.DISCOVER]),
        ("validation", [Role.DISCOVER]),
        ("load", [Role.RUNNER]),
    ]
    assert [bar.ending for each in timeline.passes[:2] for bar in each.bars] == ["SIGKILL on purpose"] * 2
    assert session.lost == 0


def test_an_ollama_up_to_0_12_3_opens_the_driver_itself(record: Callable[[str], Session]) -> None:
    session = record("0.11.0")
    timeline = timeline_of(session)
    assert timeline.era == "<=0.12.3"
    server = timeline.others[0]
    assert server.role is Role.SERVE and server.calls == 13
    assert passes(timeline) == [("load", [Role.RUNNER])]


def test_the_command_draws_it(record: Callable[[str], Session]) -> None:
    path = str(record("0.33.0").path)
    words = [sys.executable, "-m", "workbench.cli", "timeline", path]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    for word in (
        "first pass cuda_v13",
        "of 30 s",
        "validation",
        "refresh",
        "of 3 s",
        "model load",
        "of 5 min",
    ):
        assert word in shown
    told = json.loads(subprocess.run([*words, "--json"], capture_output=True, check=True).stdout)
    assert sum(len(each["processes"]) for each in told["passes"]) == 10
