"""The commented shimbench.toml of what was found."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from workbench.init.libraries import Library, find_libraries, find_programs
from workbench.init.service import Service, find_service
from workbench.init.sources import BuildSystem, find_build_systems, find_watch_globs

HOST_NAMES = ("host", "server", "forward", "daemon", "worker", "proxy")


@dataclass(frozen=True)
class Findings:
    """What a directory holds."""

    directory: Path
    builds: list[BuildSystem]
    libraries: list[Library]
    programs: list[Path]
    globs: list[str]
    service: Service | None

    def chosen(self) -> dict[str, Library]:
        """One library a soname: the newest."""
        return {library.stands_for or "": library for library in reversed(self.libraries)}

    def host(self) -> Path | None:
        """The program that looks like a forwarder."""
        likely = [path for path in self.programs if any(word in path.name.lower() for word in HOST_NAMES)]
        return likely[0] if likely else None


def look(directory: Path, root: Path = Path("/")) -> Findings:
    """Look at `directory` and, for an ollama.service, at the system below `root`."""
    return Findings(
        directory,
        find_build_systems(directory),
        find_libraries(directory),
        find_programs(directory),
        find_watch_globs(directory),
        find_service(root=root),
    )


def describe(found: Findings) -> list[str]:
    """What was found, a line each, for the person who asked."""
    lines = [f"{system.name}: {_relative(found, system.file)}" for system in found.builds]
    for library in found.libraries:
        soname = f"soname {library.soname}" if library.soname else "no soname"
        stands = f"stands for {library.stands_for}"
        lines.append(f"library: {_relative(found, library.path)}, {soname}, {stands}, {library.described}")
    host = found.host()
    if host:
        lines.append(f"forwarder, by its name: {_relative(found, host)}")
    if found.service:
        files = ", ".join(map(str, found.service.files))
        lines.append(f"ollama.service: {files}: {len(found.service.environment)} variables")
    if found.builds and not found.libraries:
        lines.append(
            "no library of CUDA's yet: those that the build makes are taken; --force names them then"
        )
    return lines or ["nothing to build and no library of CUDA's"]


def render(found: Findings) -> str:
    """The text of shimbench.toml; it loads, and says in comments what it could not know."""
    lines = ["# shimbench: which sources are watched, what builds them, which libraries are the shim.", ""]
    lines += ["[shim]", "# A save in one of these runs the build. Globs as in .gitignore."]
    lines.append(f"watch = {_list(found.globs)}" if found.globs else '# watch = ["src/**/*.[ch]"]')
    if found.builds:
        lines.append(f"build = {json.dumps(found.builds[0].command)}")
        lines += [f"# build = {json.dumps(other.command)}   # {other.name}" for other in found.builds[1:]]
    else:
        lines.append('# build = "make"')
    lines += ["# Files the shim writes its log to.", '# logs = ["/tmp/shim*.log"]', ""]
    chosen = found.chosen()
    lines += [
        "# soname = what the build makes. Without this table those of CUDA's libraries that it makes;",
        "# without a build shimbench's own shim.",
    ]
    lines.append("[shim.libraries]" if chosen else "# [shim.libraries]")
    for soname, library in sorted(chosen.items()):
        path = _relative(found, library.path)
        lines.append(f"{json.dumps(soname)} = {json.dumps(path)}   # exports {library.described}")
        lines += [
            f"# {json.dumps(soname)} = {json.dumps(_relative(found, other.path))}   # an older one"
            for other in found.libraries
            if other is not library and other.stands_for == soname
        ]
    if not chosen:
        lines.append('# "libcuda.so.1" = "build/libmyshim.so"')
    lines += ["", *_host(found), "", *_target(found)]
    return "\n".join(lines) + "\n"


def _host(found: Findings) -> list[str]:
    host = found.host()
    if host is None:
        return [
            "# The process that owns the GPU, if the shim has one.",
            "# [host]",
            '# run = "build/shimhost"',
        ]
    return ["# The process that owns the GPU.", "# [host]", f"# run = {json.dumps(_relative(found, host))}"]


def _target(found: Findings) -> list[str]:
    lines = ["[target]"]
    if found.service and found.service.command:
        lines.append(
            "# As in ollama.service; stop the service, or leave OLLAMA_HOST out for a port of its own."
        )
        lines.append(f"command = {_list(found.service.command)}")
    else:
        lines.append('# command = ["ollama", "serve"]   # the default')
    if found.service and found.service.environment:
        pairs = ", ".join(
            f"{json.dumps(name)} = {json.dumps(value)}"
            for name, value in found.service.environment.items()
            if name not in ("PATH", "OLLAMA_HOST")
        )
        lines.append(f"env = {{ {pairs} }}" if pairs else "# env = { }")
    else:
        lines.append('# env = { OLLAMA_LLM_LIBRARY = "cuda_v13" }')
    lines.append("# One request after each launch, so that every edit is tried on the same road.")
    lines.append('# exercise = { http = "/api/generate", json = { model = "tiny", prompt = "hi" } }')
    return lines


def _relative(found: Findings, path: Path) -> str:
    return str(path.relative_to(found.directory))


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(json.dumps(word) for word in words) + "]"
