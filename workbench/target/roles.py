"""What each process of an Ollama does, read from its command line, environment and parent.

Three generations of Ollama look for GPUs in three ways (facts/ollama.md); the tree of processes tells which
one runs. A program we know nothing of has no role.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Literal


class Role(StrEnum):
    """What a process is there for."""

    SERVE = "serve"
    BOOTSTRAP = "bootstrap"  #: llama-server without a model, killed once it has told its devices
    LIST_DEVICES = "list-devices"
    GPU_DISCOVER = "gpu-discover"
    DISCOVER = "discover"  #: before 0.30: a runner without a model, asked by HTTP and killed
    RUNNER = "runner"
    OTHER = ""

    @property
    def discovers(self) -> bool:
        """Is it one of the short processes that look for devices?"""
        return self in (Role.BOOTSTRAP, Role.LIST_DEVICES, Role.GPU_DISCOVER, Role.DISCOVER)


Era = Literal["<=0.12.3", "0.12.4-0.24", ">=0.30"]
"""Which generation: the server itself looks, a runner looks, or llama-server and gpu-discover look."""

PassKind = Literal["bootstrap", "validation", "refresh", "load"]

_INTERPRETER = re.compile(r"(?:python[\d.]*|bash|dash|sh|env)\Z")
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Limit:
    """How long Ollama waits for something; `seconds` None: for ever."""

    what: str
    seconds: float | None


FIRST_PASS = Limit("first pass of a library folder", 30.0)
VALIDATION = Limit("validation, all devices together", 30.0)
NATIVE_PROBE = Limit("gpu-discover", 15.0)
REFRESH = Limit("refresh before a model loads", 3.0)
LOAD_STALL_SECONDS = 300.0


def is_kernel_probe(argv: Sequence[str]) -> bool:
    """A process of ours that tries what a kernel does (target/kernel_probe.py): no part of the target."""
    return len(argv) > 3 and PurePosixPath(argv[3]).name == "kernel_probe.py" and argv[1] == "-I"


def command_words(argv: Sequence[str]) -> list[str]:
    """The command line without an interpreter in front: what a script's author calls its own."""
    words = list(argv)
    if len(words) > 1 and _INTERPRETER.match(PurePosixPath(words[0]).name) and not words[1].startswith("-"):
        del words[0]
    return words


def program_name(argv: Sequence[str]) -> str:
    """The file name of what runs."""
    words = command_words(argv)
    return PurePosixPath(words[0]).name if words else ""


def role_of(argv: Sequence[str], parent_argv: Sequence[str] = ()) -> Role:
    """By the words of the command line, and of the parent's where they don't say enough."""
    words = command_words(argv)
    name = program_name(argv)
    model = any(word in ("--model", "-m", "-hf") or word.startswith("--model=") for word in words[1:])
    if name.startswith("llama-server"):
        if "--list-devices" in words:
            return Role.LIST_DEVICES
        asked_by_ollama = program_name(parent_argv).startswith("ollama")
        return Role.BOOTSTRAP if asked_by_ollama and not model else Role.RUNNER
    if name.startswith("ollama_llama_server"):
        return Role.RUNNER
    if not name.startswith("ollama"):
        return Role.OTHER
    sub = next((word for word in words[1:] if not word.startswith("-")), "")
    if sub in ("serve", "start"):
        return Role.SERVE
    if sub == "gpu-discover":
        return Role.GPU_DISCOVER
    if sub == "runner":
        return Role.RUNNER if model else Role.DISCOVER
    return Role.OTHER


def pass_kind(env: Mapping[str, str], parent_env: Mapping[str, str]) -> PassKind:
    """Which pass a looking process belongs to, by what its parent put into its environment."""
    if env.get("GGML_CUDA_INIT") and not parent_env.get("GGML_CUDA_INIT"):
        return "validation"
    chosen = any(env.get(name) and env[name] != parent_env.get(name) for name in _VISIBLE)
    return "refresh" if chosen else "bootstrap"


def library_folder(env: Mapping[str, str], parent_env: Mapping[str, str]) -> str:
    """Which of Ollama's library folders it was sent to (`cuda_v13`), "" when that can't be told."""
    backend = env.get("GGML_BACKEND_PATH", "")
    if backend and backend != parent_env.get("GGML_BACKEND_PATH"):
        return PurePosixPath(backend).parent.name
    given = env.get("OLLAMA_LIBRARY_PATH", "")
    if not given or given == parent_env.get("OLLAMA_LIBRARY_PATH"):
        path, inherited = env.get("LD_LIBRARY_PATH", ""), parent_env.get("LD_LIBRARY_PATH", "")
        given = path.removesuffix(inherited).rstrip(":") if inherited else path
    folders = [folder for folder in given.split(":") if folder]
    # The first is lib/ollama itself: alone, no CUDA folder was chosen.
    return PurePosixPath(folders[-1]).name if len(folders) > 1 else ""


def era_of(roles: Sequence[Role], server_opened_driver: bool = False) -> Era | None:
    """Which generation a tree of processes shows; None while it shows none."""
    if Role.GPU_DISCOVER in roles or Role.BOOTSTRAP in roles or Role.LIST_DEVICES in roles:
        return ">=0.30"
    if Role.DISCOVER in roles:
        return "0.12.4-0.24"
    return "<=0.12.3" if Role.SERVE in roles and server_opened_driver else None


def limit_of(kind: PassKind, env: Mapping[str, str]) -> Limit:
    """What Ollama allows for a pass; `env` is the server's."""
    if kind == "load":
        seconds = go_seconds(env.get("OLLAMA_LOAD_TIMEOUT", ""))
        if seconds is None:
            seconds = LOAD_STALL_SECONDS
        return Limit("standstill while a model loads", seconds if seconds > 0 else None)
    return {"bootstrap": FIRST_PASS, "validation": VALIDATION, "refresh": REFRESH}[kind]


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h)")


def go_seconds(text: str) -> float | None:
    """`5m0s` or a bare number of seconds, as Ollama reads its times; None for what is neither."""
    text = text.strip()
    negative, text = text.startswith("-"), text.removeprefix("-")
    if text.isdigit():
        return -float(text[:12]) if negative else float(text[:12])
    at, total = 0, 0.0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            return None
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    return (-total if negative else total) if text else None
