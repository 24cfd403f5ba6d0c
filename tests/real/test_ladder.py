"""The ladder and the exercise as `shimbench run` climbs and drives them, on NVIDIA's real runtimes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sessions import open_session
from workbench import native

sys.path.insert(0, str(Path(__file__).parent / "ollama_standin"))
from install import install

if TYPE_CHECKING:
    from conftest import Consumer

SERVER = Path(__file__).parent.parent / "fixtures" / "targets" / "answering_server.py"
ANSWER = r'{ output = "token \\d+: \\d+ -> (\\d+)", tokens = 4'


def run(directory: Path, *options: str, cudart: Path | None = None) -> tuple[int, dict[str, Any], str]:
    """-> exit status, the JSON report, stderr."""
    environment = {**os.environ, **({"LD_LIBRARY_PATH": str(cudart)} if cudart else {})}
    words = [sys.executable, "-m", "workbench.cli", "run", str(directory), "--json", "--timeout", "120"]
    done = subprocess.run(
        [*words, *options], env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def configure(
    directory: Path, command: list[str], rest: str = "", shim: dict[str, Path] | None = None
) -> Path:
    libraries = "".join(f'"{soname}" = "{path}"\n' for soname, path in (shim or {}).items())
    text = f"[shim.libraries]\n{libraries}" if shim else ""
    directory.mkdir(exist_ok=True)
    (directory / "shimbench.toml").write_text(f"{text}\n[target]\ncommand = {json.dumps(command)}\n{rest}\n")
    return directory


@pytest.mark.parametrize("version", ["12.4", "13.0", "13.5"])
def test_the_probe_asks_the_runtime_that_lies_in_the_targets_path(
    tmp_path: Path, version: str, cudart: Callable[[str], Path]
) -> None:
    directory = configure(tmp_path, ["true"], "ladder = true")
    status, report, _ = run(directory, "--top", "probe", cudart=cudart(version))
    assert status == 0
    (rung,) = report["ladder"]
    assert rung["name"] == "probe" and rung["state"] == "ok"
    assert rung["text"] == f"cudart {version} finds 1 device"
    assert report["calls"] > 0  # under the tap, as the target would be
    assert all("true" not in process["command"][:1] for process in report["processes"])


@pytest.mark.parametrize("version", ["12.9", "13.0"])
def test_the_probe_tries_a_kernel_and_a_shim_that_runs_none_is_proved_to(
    version: str, tmp_path: Path, cudart: Callable[[str], Path], foreign_shim: Callable[..., Path]
) -> None:
    build = foreign_shim() / "build"
    shim = {"libcuda.so.1": build / "libvgpu-cuda.so", "libvgpu-common.so": build / "libvgpu-common.so"}
    directory = configure(tmp_path, ["true"], "ladder = true", shim)
    status, report, _ = run(directory, "--top", "probe", cudart=cudart(version))
    assert status == 0  # it counts devices: what its kernels do is no matter of that rung
    [found] = report["diagnosis"]
    assert (found["rule"], found["certainty"]) == ("success-without-effect", "proved")
    assert "wrote nothing" in found["cause"]
    assert report["gpu_mode"] != "gpu"  # a kernel of ours is no work of the target's


def test_the_probes_kernel_computes_on_our_own_shim_and_no_rule_speaks(
    tmp_path: Path, cudart: Callable[[str], Path]
) -> None:
    directory = configure(tmp_path, ["true"], "ladder = true")
    status, report, _ = run(directory, "--top", "probe", cudart=cudart("13.0"))
    assert (status, report["diagnosis"]) == (0, [])
    events = open_session(Path(report["session"])).events
    assert [e.fields["outcome"] for e in events if e.kind == "kernel-probe"] == ["computed"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"EXCEPT": "cuGetExportTable"}, "error 36 cudaErrorCallRequiresNewerDriver"),
        ({"FAULT": "INIT_100"}, "error 100 cudaErrorNoDevice"),
    ],
)
def test_the_climb_ends_at_a_broken_shim_with_the_runtimes_own_words(
    tmp_path: Path,
    cudart: Callable[[str], Path],
    foreign_shim: Callable[..., Path],
    fault: dict[str, str],
    said: str,
) -> None:
    broken = foreign_shim(**fault) / "build"
    shim = {"libcuda.so.1": broken / "libvgpu-cuda.so", "libvgpu-common.so": broken / "libvgpu-common.so"}
    directory = configure(tmp_path, ["/bin/sh", "-c", "echo launched"], "ladder = true", shim)
    status, report, stderr = run(directory, "--top", "tokens", cudart=cudart("13.0"))
    assert status == 3
    (rung,) = report["ladder"]
    assert rung["state"] == "failed" and said in rung["text"] and said in stderr
    assert not any("launched" in " ".join(process["command"]) for process in report["processes"])


def test_a_real_llama_climbs_to_its_tokens_and_they_are_those_of_the_cpu(
    tmp_path: Path, llama_12: Consumer, tiny_model: Path, native_paths: native.NativePaths
) -> None:
    command = llama_12.command(native_paths, "--model", tiny_model, "--tokens", 4)
    on_cpu = json.dumps([*command, "--gpu-layers", "0"])
    rest = f'ladder = ["probe", "list-devices"]\nexercise = {ANSWER}, expect = "cpu", cpu = {on_cpu} }}'
    directory = configure(tmp_path, command, rest)
    status, report, stderr = run(directory, "--top", "tokens", cudart=llama_12.cudart)
    assert status == 0, stderr
    rungs = {rung["name"]: rung for rung in report["ladder"]}
    assert list(rungs)[:2] == ["probe", "list-devices"]
    assert {name: rung["state"] for name, rung in rungs.items()} == dict.fromkeys(
        ("probe", "list-devices", "discovery", "load", "tokens"), "ok"
    ) | {name: rungs[name]["state"] for name in rungs if name == "load"}
    assert rungs["list-devices"]["text"].startswith("CUDA0: ")
    exercise = report["exercise"]
    assert exercise["ok"] and exercise["tokens"] == 4 and exercise["first_token_seconds"] > 0
    assert exercise["same"] and exercise["expectation"] == "the same 4 tokens as the CPU backend"
    assert report["since"] is None
    again, second, _ = run(directory, cudart=llama_12.cudart)
    assert again == 0 and second["since"]["session"] == report["session"]


def test_a_server_is_driven_and_then_ended(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, str(SERVER), str(port), "a", "b"]
    url = f"http://127.0.0.1:{port}/api/generate"
    rest = f'exercise = {{ http = "{url}", json = {{ prompt = "hi" }} }}'
    status, report, _ = run(configure(tmp_path, words, rest))
    assert status == 0 and report["exercise"]["tokens"] == 2 and report["exercise"]["text"] == "ab"
    status, failed, stderr = run(configure(tmp_path, [*words[:3], "a", "?"], rest))
    assert status == 3 and failed["exercise"]["ok"] is False and "the exercise failed" in stderr


def test_a_script_drives_the_target_and_its_output_is_in_the_log(tmp_path: Path) -> None:
    directory = configure(tmp_path, ["sleep", "1000"], 'exercise = { script = "drive.sh" }')
    (directory / "drive.sh").write_text("echo driving $SHIMBENCH_RUN; echo noise >&2\n")
    status, report, stderr = run(directory)
    assert status == 0, stderr
    assert report["exercise"]["ok"] and report["exercise"]["text"].startswith("driving")
    (directory / "drive.sh").write_text("exit 4\n")
    status, report, _ = run(directory)
    assert status == 3 and report["exercise"]["error"] == "the exercise ended with exit status 4"
    assert report["since"]["changes"] == ["the exercise fails: the exercise ended with exit status 4"]


def test_an_ollama_climbs_by_itself_and_answers(tmp_path: Path, llama_13: Consumer, tiny_model: Path) -> None:
    """The stand-in for Ollama's processes (tests/real/ollama_standin), with the real libggml-cuda.so."""
    program = install(tmp_path / "installed", llama_13.libraries, llama_13.cudart, "0.33.0")
    body = f'{{ model = "{tiny_model}", prompt = "hi" }}'
    rest = f'exercise = {{ http = "/api/generate", json = {body} }}'
    directory = configure(tmp_path / "project", [str(program), "serve"], rest)
    status, report, stderr = run(directory, "--top", "tokens")
    rungs = {rung["name"]: rung for rung in report["ladder"]}
    assert status == 0, (stderr, rungs, report["exercise"])
    assert rungs["probe"]["text"] == "cudart 13.0 finds 1 device"
    assert rungs["list-devices"]["text"].startswith("CUDA0: ")
    assert rungs["discovery"]["state"] == "ok" and rungs["tokens"]["state"] == "ok"
    assert report["exercise"]["ok"] and report["gpu_mode"] == "gpu"
