"""The command line. Each sub-command is a module of workbench/commands, loaded only when asked for.

A command module has two functions: `add_arguments(parser)` and `run(options) -> exit status`. Data goes
to stdout, talk to stderr. Exit status 2 is a usage error, 3 an expectation that was not met.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

COMMANDS = {
    "demo": "the workbench on a packaged real llama.cpp CUDA backend and a tiny model",
    "run": "record one run without the workbench; the target's exit status is ours",
    "open": "the workbench on a saved session",
    "calls": "print the recorded calls",
    "log": "print what the processes wrote",
    "coverage": "print which symbols were asked for, and which answered",
    "search": "search calls, arguments, log, notes and sources at once",
    "marks": "list or make marks and notes on calls and lines",
    "diagnose": "say why a run did not get to compute on the GPU",
    "timeline": "print each process of a run as a bar, with Ollama's passes and limits",
    "device": "print the state of the device, from the recorded calls",
    "kernels": "print the kernels of a run by time, their launches, and one with its PTX",
    "diff": "compare two runs call by call, the first divergence first",
    "replay": "perform a session's calls again on a shim, and compare results and outputs",
    "export": "write a span of a session for another tool: Perfetto, SQLite, Parquet, CSV, text",
    "report": "one zip for a bug report: the redacted session, a page, a status text",
    "init": "write a shimbench.toml from what a directory holds",
    "build": "run the build command and keep what it made",
    "doctor": "check what shimbench needs here",
    "deploy": "put the built libraries into a folder, and prove that the loader finds them there",
    "systemd": "run a systemd unit, as ollama.service, under the shim, recorded, and take it back",
    "host": "run the forwarder alone",
    "sessions": "list the recorded sessions, name them, remove what nobody needs",
}
"""name -> one line. In the order in which one meets them."""

WORKBENCH = "workbench"
"""The command that runs when none is named."""

USAGE = """\
usage: shimbench [DIR] [-- COMMAND ...]      the workbench; without a COMMAND: [target] of shimbench.toml,
                                             else `ollama serve` from PATH
       shimbench SUBCOMMAND [...]            one of the following; `shimbench SUBCOMMAND --help` says more
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point; -> exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    words, command = split_command(words)
    if words and words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if words and words[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"shimbench {version('shimbench')}")
        return 0
    name = words.pop(0) if words and words[0] in COMMANDS else WORKBENCH
    return _run(name, words, command)


def split_command(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the first `--`, and the target's command behind it."""
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def help_text() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:{width}}  {line}" for name, line in COMMANDS.items())
    which = "SESSION is a path, a name, @ for the newest (the default) or @-1 for the one before."
    return f"{USAGE}\n{rows}\n\n{which}"


class Parser(argparse.ArgumentParser):
    """Says of an option that there is not which one may have been meant."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        _, found, given = message.partition("unrecognized arguments: ")
        if found:
            word = given.split()[0].partition("=")[0]
            known = [option for action in self._actions for option in action.option_strings]
            near = get_close_matches(word, known, 1)
            message = f"there is no {word}" if word.startswith("-") else f"{word} is one word too many"
            message += f"; did you mean {near[0]}?" if near else f"; {self.prog} --help lists what there is"
        super().error(message)


def _run(name: str, words: list[str], command: list[str]) -> int:
    from workbench.errors import ShimbenchError

    module = importlib.import_module(f"workbench.commands.{name}")
    prog = "shimbench" if name == WORKBENCH else f"shimbench {name}"
    parser = Parser(prog=prog, description=module.__doc__, allow_abbrev=False)
    if name == WORKBENCH:
        parser.usage = "shimbench [DIR] [--session PATH] [--no-tap] [-- COMMAND ...]"
    module.add_arguments(parser)
    options = parser.parse_intermixed_args(words)  # a filter may stand behind an option
    options.command = command
    try:
        status: int = module.run(options)
        sys.stdout.flush()
        return status
    except ShimbenchError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        # Whoever read our output has had enough: `shimbench calls | head`.
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
