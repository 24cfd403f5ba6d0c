"""The command line: fast, quiet on stdout, and free of Textual unless panes are shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench import cli

HEADLESS = [name for name in cli.COMMANDS if name not in ("demo", "open")]


def shimbench(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workbench.cli", *words], capture_output=True, text=True, cwd=cwd
    )


def test_help_lists_every_command_and_imports_next_to_nothing() -> None:
    code = (
        "import sys; from workbench import cli; cli.main(['--help']);"
        "print([name for name in ('numpy', 'textual', 'asyncio', 'watchdog') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in cli.COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", [*HEADLESS, cli.WORKBENCH])
def test_every_command_explains_itself_without_textual(name: str) -> None:
    words = ["--no-tap"] if name == cli.WORKBENCH else [name]  # a bare --help is the general one
    code = (
        "import sys; from workbench import cli\n"
        f"try: cli.main({[*words, '--help']!r})\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'textual' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: shimbench")


@pytest.mark.parametrize(
    "module", ["workbench.loop.headless", "workbench.commands.setting", "workbench.actions"]
)
def test_what_runs_headless_imports_no_textual(module: str) -> None:
    code = f"import sys, {module}; assert 'textual' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_stands_behind_the_dashes_is_the_targets_command() -> None:
    assert cli.split_command(["run", "--json", "--", "a", "--", "--json"]) == (
        ["run", "--json"],
        ["a", "--", "--json"],
    )
    assert cli.split_command(["run"]) == (["run"], [])


def test_no_command_is_listed_that_is_not_there() -> None:
    folder = Path(cli.__file__).parent / "commands"
    assert [name for name in cli.COMMANDS if not (folder / f"{name}.py").is_file()] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--timout", "5", "--", "true"], "there is no --timout; did you mean --timeout?"),
        (["calls", "--cuont=3"], "there is no --cuont; did you mean --count?"),
        (["doctor", "a", "b"], "b is one word too many; shimbench doctor --help lists what there is"),
        (["systemd", "frob"], "frob: say install, status or remove"),
        (["doctor", "/no/such/directory"], "/no/such/directory is not a directory"),
        (["sessions", "name"], "usage: shimbench sessions name SESSION NAME"),
    ],
)
def test_a_mistyped_word_is_named_with_what_may_have_been_meant(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status: object = cli.main(words)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--timeout", "soon"],
        ["run", "--timeout", "0", "--", "true"],
        ["run", "--", "no-such-program-anywhere"],
        ["run", "/no/such/directory", "--", "true"],
        ["open", "no-such-session"],
        ["build", "/"],
        ["--unknown"],
    ],
)
def test_a_usage_error_has_status_2_and_says_why_on_stderr(words: list[str], tmp_path: Path) -> None:
    done = shimbench(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "shimbench" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["open", "gallery:crash"], ["--", "true"]])
def test_the_workbench_without_a_terminal_says_what_to_use_instead(words: list[str], tmp_path: Path) -> None:
    done = shimbench(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr and "run, calls" in done.stderr


def test_what_a_command_says_of_each_action_stays_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["systemd", "--help"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for action in ("install", "status", "remove"):
        assert any(line.startswith(f"shimbench systemd {action}  ") for line in lines)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("cals", "did you mean `shimbench calls`?"),
        ("ollama", "to run a program: shimbench -- ollama"),
        ("no/where", "no/where is not a directory"),
    ],
)
def test_a_word_that_is_neither_command_nor_directory_is_told_with_what_was_meant(
    word: str, told: str, tmp_path: Path
) -> None:
    done = shimbench(word, cwd=tmp_path)
    assert done.returncode == 2 and told in done.stderr
