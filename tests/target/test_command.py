"""Which command is the target, and what an Ollama of ours is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.config import Config, TargetConfig
from workbench.errors import UsageError
from workbench.target import ollama
from workbench.target.command import find_target


@pytest.fixture
def with_ollama(tmp_path: Path) -> dict[str, str]:
    """An environment whose PATH holds an `ollama`."""
    program = tmp_path / "bin" / "ollama"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return {"PATH": str(program.parent)}


def test_without_a_command_it_is_ollama_on_a_port_of_its_own(
    tmp_path: Path, with_ollama: dict[str, str]
) -> None:
    target = find_target(Config(tmp_path), [], tmp_path / "home", with_ollama)
    assert target.title == "ollama serve"
    assert target.env["OLLAMA_MODELS"] == str(tmp_path / "home/ollama/models")
    assert target.env["OLLAMA_NO_CLOUD"] == "1"
    assert target.url == f"http://{target.env['OLLAMA_HOST']}"


def test_what_the_user_set_for_ollama_stays(tmp_path: Path, with_ollama: dict[str, str]) -> None:
    environ = {**with_ollama, "OLLAMA_HOST": "0.0.0.0:8080"}
    config = Config(tmp_path, target=TargetConfig(env={"OLLAMA_MODELS": "/models"}))
    target = find_target(config, [], tmp_path, environ)
    assert target.url == "http://127.0.0.1:8080"
    assert "OLLAMA_HOST" not in target.env and target.env["OLLAMA_MODELS"] == "/models"


def test_the_command_line_comes_before_the_configuration(tmp_path: Path) -> None:
    config = Config(tmp_path, target=TargetConfig(("/bin/false",), {"A": "1"}))
    assert find_target(config, ["/bin/true", "x"], tmp_path, {}).argv == ("/bin/true", "x")
    assert find_target(config, [], tmp_path, {}).argv == ("/bin/false",)
    assert find_target(config, [], tmp_path, {}).env == {"A": "1"}


def test_nothing_to_run_points_to_the_demo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shimbench demo"):
        find_target(Config(tmp_path), [], tmp_path, {"PATH": ""})


def test_a_program_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such program"):
        find_target(Config(tmp_path), ["./nothing"], tmp_path, {})


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("127.0.0.1:5", "http://127.0.0.1:5"),
        ("https://[::1]:7", "https://[::1]:7"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
    ],
)
def test_the_servers_address_is_read_as_ollama_reads_it(host: str, url: str) -> None:
    assert ollama.server_url({"OLLAMA_HOST": host}) == url
