"""shimbench.toml: what it may say, what it means when it is silent, and how it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from workbench.config import Config, ConfigError, load_config
from workbench.errors import UsageError

DESIGN = """
[shim]
watch = ["shim/**/*.[ch]"]
build = "make -C shim"                # any command; GCC and Clang diagnostics are understood
logs = ["/var/log/shim*.log"]
[shim.libraries]                      # any soname: cuda, nvml, cudart, cublas, helpers
"libcuda.so.1" = "build/libvgpu-cuda.so"
"libnvidia-ml.so.1" = "build/libvgpu-nvml.so"
[host]
watch = ["host/**"]
run = "build/shimhost --device soft"
[target]
command = ["ollama", "serve"]
env = { OLLAMA_LLM_LIBRARY = "cuda_v13" }
exercise = { http = "/api/generate", json = { model = "tiny", prompt = "hi" } }
"""


def ours() -> Mapping[str, Path]:
    return {"libcuda.so.1": Path("/ours/libcuda.so.1")}


def read(directory: Path, text: str) -> Config:
    (directory / "shimbench.toml").write_text(text)
    return load_config(directory, ours)


def test_the_example_of_the_design_is_read_in_full(tmp_path: Path) -> None:
    config = read(tmp_path, DESIGN)
    assert config.shim.build == "make -C shim"
    assert config.shim.libraries["libcuda.so.1"] == tmp_path / "build/libvgpu-cuda.so"
    assert config.host.run == ("build/shimhost", "--device", "soft")
    assert config.target.command == ("ollama", "serve")
    assert config.target.env == {"OLLAMA_LLM_LIBRARY": "cuda_v13"}
    assert config.target.exercise is not None and config.target.exercise.http == "/api/generate"
    assert config.watch == ("shim/**/*.[ch]", "host/**")
    assert not config.own_shim


def test_without_a_file_our_own_shim_and_forwarder_are_used(tmp_path: Path) -> None:
    config = load_config(tmp_path, ours)
    assert config.own_shim and config.path is None
    assert config.shim.libraries == ours()
    assert config.host.run == ("shimbench-host", "--device", "soft")
    assert config.target.command is None and config.watch == ()


def test_a_foreign_shim_gets_no_forwarder_of_ours(tmp_path: Path) -> None:
    assert read(tmp_path, '[shim.libraries]\n"libcuda.so.1" = "a.so"\n').host.run is None


@pytest.mark.parametrize(
    ("text", "line", "meant"),
    [
        ("[shim]\n\nwacth = []\n", 3, "did you mean watch?"),
        ("[shmi]\n", 1, "did you mean shim?"),
        ("[target]\ncommand = []\n", 2, "wants a command"),
        ("\n[shim]\nwatch = 'a'\n", 3, "wants a list of strings"),
        ("[target]\nenv = { A = 1 }\n", 2, 'write A = "1"'),
        ('[shim.libraries]\n"cuda" = "a.so"\n', 2, "is no soname"),
        ('[shim.libraries]\n"libcuda.so.1" = 7\n', 1, "wants a string"),
        ("shim = 3\n", 1, "write [shim]"),
        ("[shim]\nbuild = make\n", 2, "Invalid value"),
        ("[host]\nshim.run = 'x'\n", 2, "known are watch, run"),
        ('[target]\nexercise = { http = "/", jsno = {} }\n', 2, "did you mean json?"),
        ('[target]\nexercise = "/api/generate"\n', 2, "wants { http"),
        ('[target]\nexercise = { http = "/", command = "a" }\n', 2, "not http and command"),
        ("[target]\nexercise = { json = { a = 1 } }\n", 2, "there is none"),
        ('[target]\nexercise = { http = "api/generate" }\n', 2, 'as "/api/generate"'),
        ('[target]\nexercise = { http = "/", expect = "gpu" }\n', 2, 'knows "cpu" alone'),
        ('[target]\nexercise = { output = "(" }\n', 2, "no regular expression"),
        ('[target]\nexercise = { command = "a", timeout = 0 }\n', 2, "seconds above 0"),
        ('[target]\nexercise = { command = "a", json = { } }\n', 2, "body of an http request"),
        ('[target]\nladder = ["prob"]\n', 2, "did you mean probe?"),
        ('[target]\nladder = ["discovery"]\n', 2, "seen in the target's run"),
        ("[target]\nladder = { list-devices = 7 }\n", 2, "list-devices wants a list of strings"),
    ],
)
def test_a_line_without_meaning_is_refused_with_its_number(
    tmp_path: Path, text: str, line: int, meant: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/shimbench.toml:{line}: ")
    assert meant in str(caught.value)


def test_a_directory_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a directory"):
        load_config(tmp_path / "nowhere", ours)
