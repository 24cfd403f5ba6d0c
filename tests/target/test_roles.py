"""What each process of an Ollama is there for, from its command line, environment and parent."""

from __future__ import annotations

import pytest

from workbench.target.roles import (
    REFRESH,
    VALIDATION,
    Role,
    era_of,
    go_seconds,
    library_folder,
    limit_of,
    pass_kind,
    program_name,
    role_of,
)

SERVE = ["/usr/local/bin/ollama", "serve"]
LLAMA = "/usr/local/lib/ollama/llama-server"


@pytest.mark.parametrize(
    ("argv", "parent", "role"),
    [
        (SERVE, [], Role.SERVE),
        (["python3", "/opt/bin/ollama", "serve"], [], Role.SERVE),
        ([LLAMA, "--port", "1", "--no-webui", "--offline"], SERVE, Role.BOOTSTRAP),
        ([LLAMA, "--port", "1"], [], Role.RUNNER),
        ([LLAMA, "--list-devices", "--offline"], SERVE, Role.LIST_DEVICES),
        ([LLAMA, "--model", "m.gguf", "--port", "1"], SERVE, Role.RUNNER),
        ([LLAMA, "--model=m.gguf"], SERVE, Role.RUNNER),
        (["ollama", "gpu-discover", "--lib-dir", "a"], SERVE, Role.GPU_DISCOVER),
        (["ollama", "runner", "--ollama-engine", "--port", "1"], SERVE, Role.DISCOVER),
        (["ollama", "runner", "--ollama-engine", "--model", "m", "--port", "1"], SERVE, Role.RUNNER),
        (["/tmp/ollama1/runners/cuda_v12/ollama_llama_server", "--model", "m"], SERVE, Role.RUNNER),
        (["ollama", "run", "llama3"], [], Role.OTHER),
        (["python3", "train.py"], [], Role.OTHER),
        (["python3", "-m", "ollama"], [], Role.OTHER),
        ([], [], Role.OTHER),
    ],
)
def test_a_role_is_read_from_the_command_line(argv: list[str], parent: list[str], role: Role) -> None:
    assert role_of(argv, parent) is role


def test_a_script_is_called_by_its_own_name() -> None:
    assert program_name(["/usr/bin/python3.11", "/opt/tool.py", "x"]) == "tool.py"
    assert program_name(["/usr/bin/python3", "-c", "1"]) == "python3"


def test_the_pass_is_told_by_what_ollama_adds_to_its_own_environment() -> None:
    assert pass_kind({}, {}) == "bootstrap"
    assert pass_kind({"CUDA_VISIBLE_DEVICES": "0", "GGML_CUDA_INIT": "1"}, {}) == "validation"
    assert pass_kind({"CUDA_VISIBLE_DEVICES": "0"}, {}) == "refresh"
    # What the user had set for all of it tells nothing.
    assert pass_kind({"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_VISIBLE_DEVICES": "1"}) == "bootstrap"


def test_the_library_folder_is_what_was_put_before_the_users_path() -> None:
    parent = {"LD_LIBRARY_PATH": "/run/tap:/run/lib"}
    path = "/usr/lib/ollama:/usr/lib/ollama/cuda_v13:/run/tap:/run/lib"
    assert library_folder({"LD_LIBRARY_PATH": path}, parent) == "cuda_v13"
    backend = "/usr/lib/ollama/cuda_v12/libggml-cuda.so"
    assert library_folder({"LD_LIBRARY_PATH": path, "GGML_BACKEND_PATH": backend}, parent) == "cuda_v12"
    given = {"OLLAMA_LIBRARY_PATH": "/usr/lib/ollama:/usr/lib/ollama/cuda_v11"}
    assert library_folder({**given, "LD_LIBRARY_PATH": path}, parent) == "cuda_v11"
    assert library_folder({}, {}) == ""
    assert library_folder({"LD_LIBRARY_PATH": "/usr/lib/ollama:/run/tap:/run/lib"}, parent) == ""


def test_the_tree_of_processes_tells_the_generation() -> None:
    assert era_of([Role.SERVE, Role.BOOTSTRAP, Role.RUNNER]) == ">=0.30"
    assert era_of([Role.SERVE, Role.DISCOVER]) == "0.12.4-0.24"
    assert era_of([Role.SERVE, Role.RUNNER], server_opened_driver=True) == "<=0.12.3"
    assert era_of([Role.SERVE]) is None and era_of([Role.OTHER]) is None


def test_ollamas_limits() -> None:
    assert limit_of("refresh", {}) is REFRESH and limit_of("validation", {}) is VALIDATION
    assert limit_of("load", {}).seconds == 300
    assert limit_of("load", {"OLLAMA_LOAD_TIMEOUT": "10m"}).seconds == 600
    assert limit_of("load", {"OLLAMA_LOAD_TIMEOUT": "0"}).seconds is None
    assert limit_of("load", {"OLLAMA_LOAD_TIMEOUT": "soon"}).seconds == 300


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m0s", 300.0),
        ("1h2m3.5s", 3723.5),
        ("90", 90.0),
        ("-1", -1.0),
        ("250ms", 0.25),
        ("x", None),
        ("", None),
    ],
)
def test_times_are_read_as_go_reads_them(text: str, seconds: float | None) -> None:
    assert go_seconds(text) == seconds
