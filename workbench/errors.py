"""Errors that are told to a person as one sentence, without a traceback."""

from __future__ import annotations


class ShimbenchError(Exception):
    """What happened, to what, and what to do next; ends a command with `status`."""

    status = 1


class UsageError(ShimbenchError):
    """The command line or shimbench.toml asks for something that has no meaning."""

    status = 2
