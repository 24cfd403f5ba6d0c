"""Both ends of the forwarded calls, from the model and annotations/forward.toml.

    forward.h, forward.c   the client's stubs: CUresult forward_<export>(<same parameters>)
    dispatch.hpp           the host's: the interface DeviceCalls and dispatch_call(), which reads one message
    protocol_hash.h        what the greeting compares: model, annotations and shim/wire/protocol.h

A scalar travels as eight bytes. A pointer that is read travels as its length in bytes (all ones for
NULL) and the bytes; one that is written, as eight bytes that say whether the caller wants it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shim.api.emit import GENERATED, write_if_changed

API = Path(__file__).resolve().parent
ANNOTATIONS = API / "annotations" / "forward.toml"
PROTOCOL = API.parent / "wire" / "protocol.h"

Json = dict[str, Any]


class ForwardError(Exception):
    """An annotation that the model contradicts; says which function and parameter."""


@dataclass(frozen=True)
class Param:
    """One parameter of a forwarded call. `count` is a C expression, in elements of `pointee`."""

    name: str
    type: str
    pointee: str
    direction: str
    count: str
    string: bool
    created: bool

    @property
    def pointer(self) -> bool:
        return bool(self.pointee)

    @property
    def read(self) -> bool:
        return self.pointer and self.direction in ("in", "inout") and not self.created

    @property
    def written(self) -> bool:
        return self.pointer and self.direction in ("out", "inout") and not self.created

    @property
    def single(self) -> bool:
        return self.count == "1"

    @property
    def element(self) -> str:
        """The pointee without const."""
        return re.sub(r"\bconst\b", "", self.pointee).strip()

    @property
    def bytes(self) -> str:
        return f"sizeof({self.element})" if self.single else f"({self.count}) * sizeof({self.element})"


@dataclass(frozen=True)
class Call:
    """One forwarded function; manner is "blocking", "posted" or "written"."""

    name: str
    manner: str
    params: list[Param]
    answers_failed: bool

    def declare(self, prefix: str) -> str:
        parts = [f"{param.type} {param.name}" for param in self.params]
        return f"CUresult {prefix}{self.name}({', '.join(parts) or 'void'})"


def read_calls(model: Json, annotations: Json) -> list[Call]:
    """The calls that forward.toml names, in the order of their ids."""
    functions = {row["name"]: row for row in model["functions"]}
    creates = annotations["creates"]
    calls = []
    for manner in ("blocking", "posted", "written"):
        for name in (name for names in annotations[manner].values() for name in names):
            if name not in functions:
                raise ForwardError(f"forward.toml: the model has no function {name}")
            row = functions[name]
            params = [_param(name, param, manner, creates.get(name)) for param in row["params"]]
            calls.append(Call(name, manner, params, name in annotations["answers"]["failed"]))
    return sorted(calls, key=lambda call: int(functions[call.name]["id"]))


def _param(function: str, param: Json, manner: str, created: str | None) -> Param:
    generated = manner != "written"
    string = param["kind"] == "string"
    pointee = param["pointee"] or "" if param["kind"] in ("pointer", "string") else ""
    count = str(param["length"])
    if (
        generated
        and param["kind"] == "pointer"
        and (param["depth"] > 2 or param["pointee_kind"] == "function")
    ):
        raise ForwardError(
            f"forward.toml: {function}: {param['name']} ({param['type']}) must be written by hand"
        )
    if param["pointee_kind"] == "void" or (param["kind"] == "pointer" and param["length"] is None):
        pointee = ""  # an address, which means the same on both sides
    return Param(
        param["name"], param["type"], pointee, param["direction"], count, string, created == param["name"]
    )


def emit_header(calls: list[Call]) -> str:
    lines = [GENERATED, "#pragma once", "", "#include <cuda_prototypes.h>", ""]
    lines += ["#ifdef __cplusplus", 'extern "C" {', "#endif"]
    lines += [f"{call.declare('forward_')};" for call in calls]
    return "\n".join([*lines, "#ifdef __cplusplus", "}", "#endif", ""])


def emit_client(calls: list[Call]) -> str:
    lines = [GENERATED, "#include <forward.h>", "#include <function_ids.h>", "", '#include "wire/call.h"', ""]
    for call in calls:
        if call.manner != "written":
            lines += [*_client_stub(call), ""]
    return "\n".join(lines)


def _client_stub(call: Call) -> list[str]:
    blocking = call.manner == "blocking"
    fixed = sum(8 for param in call.params if not param.read)
    room = [str(fixed)]
    lines = [call.declare("forward_") + " {", "    struct wire_call call;"]
    for param in call.params:
        if param.read and param.string:
            lines.append(f"    size_t {param.name}_bytes = {param.name} ? strlen({param.name}) + 1 : 0;")
        elif param.read:
            lines.append(f"    size_t {param.name}_bytes = {param.bytes};")
        if param.read:
            room.append(f"wire_bytes_room({param.name}, {param.name}_bytes)")
        if param.created:
            lines.append(f"    if (!{param.name})\n        return CUDA_ERROR_INVALID_VALUE;")
            lines.append(f"    uint64_t {param.name}_made = wire_new_handle();")
    manner = "WIRE_BLOCKING" if blocking else "WIRE_POSTED"
    lines.append(f"    CUresult result = wire_begin(&call, FN_{call.name}, {manner}, {' + '.join(room)});")
    lines.append("    if (result != CUDA_SUCCESS)\n        return result;")
    for param in call.params:
        if param.created:
            lines.append(f"    wire_put(&call, {param.name}_made);")
        elif param.read:
            lines.append(f"    wire_put_bytes(&call, {param.name}, {param.name}_bytes);")
        elif param.written:
            lines.append(f"    wire_put(&call, {param.name} != NULL);")
        else:
            lines.append(f"    wire_put(&call, (uint64_t){_widened(param)});")
    if not blocking:
        lines.append("    result = wire_post(&call);")
        lines += [
            f"    *{param.name} = ({param.element})(uintptr_t){param.name}_made;"
            for param in call.params
            if param.created
        ]
        return [*lines, "    return result;", "}"]
    lines.append("    result = wire_ask(&call);")
    takes = [f"wire_take(&call, {param.name}, {param.bytes});" for param in call.params if param.written]
    if takes and not call.answers_failed:
        lines += ["    if (result == CUDA_SUCCESS) {", *(f"        {take}" for take in takes), "    }"]
    else:
        lines += [f"    {take}" for take in takes]
    return [*lines, "    wire_end(&call);", "    return result;", "}"]


def _widened(param: Param) -> str:
    """A handle or an address keeps its bits; an integer its value."""
    return f"(uintptr_t){param.name}" if _is_address(param) else param.name


def _is_address(param: Param) -> bool:
    return "*" in param.type or param.type in HANDLES


HANDLES = {
    "CUcontext", "CUmodule", "CUfunction", "CUlibrary", "CUkernel", "CUstream", "CUevent", "CUgraph",
    "CUgraphNode", "CUgraphExec", "CUmemoryPool",
}  # fmt: skip


def emit_dispatch(calls: list[Call]) -> str:
    generated = [call for call in calls if call.manner != "written"]
    lines = [GENERATED, "#pragma once", "", "#include <cuda_prototypes.h>", "#include <function_ids.h>", ""]
    lines += ['#include "server/message.hpp"', "", "namespace shimbench {", ""]
    lines += ["// The calls a device performs, with the meaning the driver API gives them. Pointers that are"]
    lines += ["// read point to private copies of the stated length, those that are written to room for it."]
    lines += ["struct DeviceCalls {", "    virtual ~DeviceCalls() = default;"]
    for call in generated:
        types = ", ".join(param.type for param in call.params)
        lines.append(f"    virtual CUresult {call.name}({types}) {{ return CUDA_ERROR_NOT_SUPPORTED; }}")
    lines += [
        "};",
        "",
        "// Reads one message's arguments, performs the call, and writes what it hands back. False:",
    ]
    lines += ["// the message is not what a shim of ours sends."]
    lines += ["inline bool dispatch_call(DeviceCalls &device, unsigned function, Reader &in, Writer &out,"]
    lines += ["                          CUresult &result) {", "    switch (function) {"]
    for call in generated:
        lines += _dispatch_case(call)
    lines += ["    default:", "        return false;", "    }", "}", "", "} // namespace shimbench", ""]
    return "\n".join(lines)


def _dispatch_case(call: Call) -> list[str]:
    lines = [f"    case FN_{call.name}: {{"]
    arguments = []
    # Counts may name parameters that come later, so everything is read before a length is checked.
    for param in call.params:
        name = f"a_{param.name}"
        if param.created:
            lines.append(f"        auto {name} = ({param.element})in.value();")
            arguments.append(f"&{name}")
        elif param.read:
            lines.append(f"        auto {name} = in.bytes();")
            arguments.append(f"{name}.as<{param.element}>()")
        elif param.written:
            lines.append(f"        const bool {name}_wanted = in.value() != 0;")
            arguments.append(f"{name}.get()")
        else:
            lines.append(f"        auto {param.name} = ({param.type})in.value();")
            arguments.append(param.name)
    for param in call.params:
        if param.read and param.string:
            lines.append(f"        in.expect_string(a_{param.name});")
        elif param.read:
            lines.append(f"        in.expect(a_{param.name}, {_checked(param)}, sizeof({param.element}));")
    lines.append("        if (!in.finished())\n            return false;")
    for param in call.params:
        if param.written:
            start = f", a_{param.name}" if param.read else ""
            name = f"o_{param.name}" if param.read else f"a_{param.name}"
            wanted = f"a_{param.name}.present()" if param.read else f"a_{param.name}_wanted"
            lines.append(f"        Out<{param.element}> {name}({wanted}, {_checked(param)}{start});")
    arguments = [
        f"o_{param.name}.get()" if param.read and param.written else argument
        for param, argument in zip(call.params, arguments, strict=True)
    ]
    lines.append(f"        result = device.{call.name}({', '.join(arguments)});")
    for param in call.params:
        if param.written:
            name = f"o_{param.name}" if param.read else f"a_{param.name}"
            lines.append(f"        {name}.write(out);")
    return [*lines, "        return true;", "    }"]


def _checked(param: Param) -> str:
    return "1" if param.single else f"(uint64_t)({param.count})"


def protocol_hash(model: Json) -> str:
    """31 hexadecimal digits that change whenever the two ends could misunderstand each other."""
    content = hashlib.sha256(model["hash"].encode())
    content.update(ANNOTATIONS.read_bytes())
    content.update(PROTOCOL.read_bytes())
    content.update(Path(__file__).read_bytes())
    return content.hexdigest()[:31]


def emit_all(model_path: Path, out: Path) -> None:
    """Write the four files into `out`; files that stay the same are not touched."""
    model = json.loads(model_path.read_text())
    calls = read_calls(model, tomllib.loads(ANNOTATIONS.read_text()))
    write_if_changed(out / "forward.h", emit_header(calls))
    write_if_changed(out / "forward.c", emit_client(calls))
    write_if_changed(out / "dispatch.hpp", emit_dispatch(calls))
    digest = protocol_hash(model)
    write_if_changed(
        out / "protocol_hash.h", f'{GENERATED}#pragma once\n\n#define PROTOCOL_HASH "{digest}"\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m shim.api.emit_forward", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        emit_all(options.model, options.out)
    except ForwardError as error:
        raise SystemExit(f"shim.api.emit_forward: {error}") from None


if __name__ == "__main__":
    main()
