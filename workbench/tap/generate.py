"""Generates the tap's wrappers from the API model: one C function per export, and a table of them.

Run by CMake: ``generate.py MODEL OUTPUT_FOLDER --parts N``. The output needs none of NVIDIA's headers:
what a wrapper must know of a parameter is its size and whether it travels in a vector register.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Functions whose answers are more ways to call: these end otherwise (driver/answers.c).
ENDINGS = {
    "cuGetProcAddress": "tap_leave_with_address",
    "cuGetProcAddress_v2": "tap_leave_with_address",
    "cuGetExportTable": "tap_leave_with_table",
}

#: Base names of calls after which all is done that was under way in a stream (its parameter), or in all.
SYNCHRONISING = {
    "cuStreamSynchronize": "hStream",
    "cuStreamQuery": "hStream",
    "cuCtxSynchronize": None,
}

#: Base names of calls after which handles of functions may mean other functions.
UNLOADING = ("cuModuleUnload", "cuLibraryUnload")

#: Functions that the tap itself has to do with, by a constant TAP_ID_name in tap_model.h.
NAMED = ("cuFuncGetParamInfo", "cuKernelGetParamInfo")

#: What an error is called that says "there is no such function", by library.
MISSING = {"cuda": 500, "nvml": 13}

INTEGERS = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}

TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<number>\d+)|(?P<operator>[-+*/()<>]))")


@dataclass(frozen=True)
class Parameter:
    """One parameter as C sees it. ``length`` counts elements of ``pointee_size`` bytes, as C text over the
    array ``w`` of argument words; None when it isn't known."""

    c_type: str
    kind: str
    direction: str
    pointee_kind: str
    pointee_size: int
    depth: int
    length: str | None
    name: str = ""
    launched: str = ""  # of kernelParams: the parameter that names the function

    @property
    def word(self) -> str:
        """C that turns this parameter, called ``{}``, into a 64-bit word."""
        if self.c_type in ("float", "double"):
            return f"tap_{self.c_type}_word({{}})"
        return "0" if self.c_type.startswith("struct") else "(uint64_t){}"


def length_expression(text: str | int | None, names: list[str], sizes: dict[str, int]) -> str | None:
    """C for a length of the model, e.g. ``Width * Height`` or ``*count`` (a count behind a pointer).
    None when the model doesn't say, or says it in a way that is not safe to evaluate."""
    if text is None:
        return None
    if isinstance(text, int):
        return f"{text}u"
    out: list[str] = []
    position = 0
    while position < len(text.rstrip()):
        match = TOKEN.match(text, position)
        if match is None:
            return None
        position = match.end()
        if (operator := match["operator"]) is not None:
            out.append(operator)
        elif (number := match["number"]) is not None:
            out.append(f"{number}u")
        elif match["name"] not in names:
            return None
        else:
            name = match["name"]
            word = f"w[{names.index(name)}]"
            if out and out[-1] == "*" and (len(out) == 1 or out[-2] in "(+-*/<>"):
                out[-1] = f"tap_count_behind({word}, {sizes[name]}u)"
            else:
                out.append(word)
    return " ".join(out)


def read_parameters(function: dict[str, Any]) -> list[Parameter]:
    """The parameters of one function of the model."""
    names = [parameter["name"] for parameter in function["params"]]
    sizes = {parameter["name"]: parameter["pointee_size"] or 0 for parameter in function["params"]}
    parameters = []
    for raw in function["params"]:
        kind, size = raw["kind"], raw["size"]
        if kind == "float":
            c_type = "float" if size == 4 else "double"
        elif size in INTEGERS:
            c_type = INTEGERS[size]
        else:
            c_type = f"struct tap_bytes_{size}"
        parameters.append(
            Parameter(
                c_type=c_type,
                kind=kind,
                direction=raw["direction"] or "in",
                pointee_kind=raw["pointee_kind"] or "",
                pointee_size=raw["pointee_size"] or (1 if raw["pointee_kind"] == "void" else 0),
                depth=raw["depth"] or 0,
                length=length_expression(raw["length"], names, sizes),
                name=raw["name"],
                launched=_launched(raw["length"]),
            )
        )
    return parameters


def _launched(length: str | int | None) -> str:
    match = re.fullmatch(r"kernel_parameters\((\w+)\)", str(length))
    return match[1] if match else ""


def buffer_value(base: str, parameters: list[Parameter], index: int) -> tuple[str, str, str] | None:
    """How a parameter is recorded only when buffers are: kind (enum tap_capture_kind), `count` and the
    body of `counter`; None when it is not one of those."""
    parameter = parameters[index]
    names = [each.name for each in parameters]
    if parameter.launched:
        extra = names.index("extra") if "extra" in names else 0
        return "TAP_CAPTURE_KERNEL", str(extra), f"w[{names.index(parameter.launched)}]"
    if parameter.name in ("image", "code", "fatCubin") and parameter.length is None:
        return "TAP_CAPTURE_IMAGE", "0", ""
    if re.fullmatch(r"cuMemcpy\w*toHAsync", base) and parameter.direction == "out":
        return "TAP_CAPTURE_OUT_LATER", str(names.index("hStream")), parameter.length or "0"
    if base in ("cuMemcpy", "cuMemcpyAsync") and parameter.name == "src":
        return "TAP_CAPTURE_HOST", "0", f"w[{names.index('ByteCount')}]"
    return None


def needs_capture(parameters: list[Parameter]) -> bool:
    """Whether anything has to be recorded that doesn't fit a record's head."""
    return len(parameters) > 3 or any(p.depth > 0 or p.c_type.startswith("struct") for p in parameters)


def is_capturing(function: dict[str, Any], parameters: list[Parameter]) -> bool:
    """The same, where buffers count too."""
    base = function["base"]
    return needs_capture(parameters) or any(
        buffer_value(base, parameters, index) for index in range(len(parameters))
    )


def captured(parameter: Parameter) -> str | None:
    """The kind of capture (enum tap_capture_kind) that a parameter gets, None for none."""
    if parameter.kind == "string" and parameter.direction == "in":
        return "TAP_CAPTURE_STRING"
    if parameter.kind not in ("pointer", "string") or parameter.length is None or not parameter.pointee_size:
        return None
    return {"in": "TAP_CAPTURE_IN", "out": "TAP_CAPTURE_OUT", "inout": "TAP_CAPTURE_INOUT"}[
        parameter.direction
    ]


def prototype(function: dict[str, Any], parameters: list[Parameter]) -> list[str]:
    """The description of a function that capturing reads, driver/driver.h: struct tap_prototype."""
    number = function["id"]
    lines = []
    values = []
    for index, parameter in enumerate(parameters):
        buffered = buffer_value(function["base"], parameters, index)
        if buffered is not None:
            way, count, body = buffered
            counter = f"count_{number}_{index}" if body else "NULL"
            if body:
                lines.append(f"static uint64_t {counter}(const uint64_t *w) {{ return {body}; }}")
            size = parameter.pointee_size if way == "TAP_CAPTURE_OUT_LATER" else 1
            values.append(f"    {{{way}, {index}, false, {size}, {count}, {counter}}},")
            continue
        kind = captured(parameter)
        if kind is None:
            continue
        length = parameter.length or "0u"
        constant = re.fullmatch(r"(\d+)u", length)
        counter = "NULL"
        if constant is None:
            counter = f"count_{number}_{index}"
            lines.append(f"static uint64_t {counter}(const uint64_t *w) {{ return {length}; }}")
        # A value of a constant size that the model knows is as sure as memory gets; bytes of void and
        # computed lengths aren't.
        sure = constant is not None and parameter.pointee_kind != "void"
        values.append(
            f"    {{{kind}, {index}, {str(sure).lower()}, {parameter.pointee_size}, "
            f"{constant[1] if constant else 0}, {counter}}},"
        )
    vectors = sum(1 << i for i, p in enumerate(parameters) if p.c_type in ("float", "double"))
    by_value = any(p.c_type.startswith("struct") for p in parameters)
    if values:
        lines += [f"static const struct tap_value values_{number}[] = {{", *values, "};"]
    lines.append(
        f"TAP_HIDDEN const struct tap_prototype tap_prototype_{number} = "
        f"{{{number}, {len(parameters)}, {len(values)}, {vectors}u, {str(by_value).lower()}, "
        f"{f'values_{number}' if values else 'NULL'}}};"
    )
    return lines


def wrapper(function: dict[str, Any], parameters: list[Parameter]) -> list[str]:
    """One exported wrapper."""
    number, name = function["id"], function["name"]
    typed = ", ".join(f"{p.c_type} a{i}" for i, p in enumerate(parameters)) or "void"
    types = ", ".join(p.c_type for p in parameters) or "void"
    names = ", ".join(f"a{i}" for i in range(len(parameters)))
    words = [p.word.format(f"a{i}") for i, p in enumerate(parameters)]
    head = ", ".join((words + ["0"] * 4)[:4])
    pointer_result = function["result"].rstrip().endswith("*")
    result = "uint64_t" if pointer_result else "int32_t"
    capture = is_capturing(function, parameters) or pointer_result
    both_ways = any(captured(p) == "TAP_CAPTURE_INOUT" for p in parameters)
    ending = ENDINGS.get(name)
    lines = [
        f"TAP_HIDDEN {result} tap_{number}({typed}) {{",
        f"    {result} (*real)({types}) = ({result} (*)({types}))tap_real_of({number});",
        "    uint64_t caller = (uint64_t)__builtin_return_address(0);",
        "    struct tap_call call;",
    ]
    if capture:
        lines.append(f"    const uint64_t words[] = {{{', '.join(words) or '0'}}};")
    lines.append(f"    if (TAP_UNLIKELY(!tap_enter(&call, {number}, caller, {head})))")
    if ending:
        lines.append(f"        return {ending}(NULL, &tap_prototype_{number}, words, real({names}));")
    else:
        lines.append(f"        return real({names});")
    lines.append("    tap_mark_internal(&call);")
    if capture:
        lines += [
            "    if (TAP_UNLIKELY(call.wants & TAP_BUFFERED))",
            f"        tap_capture_ahead(&call, &tap_prototype_{number}, words);",
        ]
    before = "NULL"
    if both_ways:
        before = "&before"
        lines += [
            "    struct tap_before before;",
            f"    tap_capture_before(&tap_prototype_{number}, words, &before);",
        ]
    lines.append(f"    {result} result = real({names});")
    if ending:
        lines.append(f"    {ending}(&call, &tap_prototype_{number}, words, result);")
    elif pointer_result:
        lines.append(f"    tap_leave_with_pointer(&call, &tap_prototype_{number}, words, result);")
    elif capture:
        lines.append(f"    tap_leave_with(&call, &tap_prototype_{number}, words, {before}, result);")
    elif function["base"] in SYNCHRONISING:
        stream = SYNCHRONISING[function["base"]]
        place = [parameter.name for parameter in parameters].index(stream) if stream else 0
        waited = words[place] if stream else "TAP_EVERY_STREAM"
        lines.append(f"    tap_leave_synchronised(&call, {waited}, result);")
    else:
        lines.append("    tap_leave(&call, result);")
    if function["base"] in UNLOADING:
        lines.append("    tap_forget_layouts();")
    lines += [
        "    return result;",
        "}",
        f'TAP_PUBLIC {result} {name}({types}) __attribute__((alias("tap_{number}")));',
        "",
    ]
    return lines


BANNER = "/* Generated by workbench/tap/generate.py from the API model. */"


def write_if_changed(path: Path, lines: list[str]) -> None:
    """Keeps the time stamp of a file that stays the same, so that nothing is compiled again."""
    text = "\n".join(lines) + "\n"
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def generate(model: dict[str, Any], out: Path, parts: int) -> None:
    """Writes tap_model.h, exports.c and wrappers_0.c .. into ``out``."""
    functions = [(function, read_parameters(function)) for function in model["functions"]]
    out.mkdir(parents=True, exist_ok=True)
    count = max((f["id"] for f, _ in functions), default=0) + 1
    header = [BANNER, f'#define MODEL_HASH "{model["hash"]}"', f"#define TAP_FUNCTION_COUNT {count}"]
    ids = {function["name"]: function["id"] for function, _ in functions}
    header += [f"#define TAP_ID_{name} {ids.get(name, 0)}" for name in NAMED]
    write_if_changed(out / "tap_model.h", header)

    sizes = sorted({p.c_type for _, ps in functions for p in ps if p.c_type.startswith("struct")})
    structs = [f"{name} {{ unsigned char bytes[{name.rpartition('_')[2]}]; }};" for name in sizes]
    for part in range(parts):
        lines = [BANNER, '#include "driver.h"', "", *structs, ""]
        for function, parameters in functions[part::parts]:
            lines += prototype(function, parameters)
            lines += wrapper(function, parameters)
        write_if_changed(out / f"wrappers_{part}.c", lines)

    table = [BANNER, '#include "driver.h"', ""]
    for function, _ in functions:
        table.append(f"extern TAP_HIDDEN const struct tap_prototype tap_prototype_{function['id']};")
        table.append(f"extern TAP_HIDDEN char tap_{function['id']}[]; /* code: only its address is used */")
    table.append("const struct tap_export tap_exports[TAP_FUNCTION_COUNT] = {")
    for function, _ in functions:
        number = function["id"]
        table.append(
            f'    [{number}] = {{"{function["name"]}", "{function["base"]}", {function["version"]}, '
            f"{str(function['per_thread']).lower()}, {MISSING[function['library']]}, tap_{number}, "
            f"&tap_prototype_{number}}},"
        )
    table.append("};")
    write_if_changed(out / "exports.c", table)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--parts", type=int, default=4, help="number of wrapper files, built in parallel")
    arguments = parser.parse_args()
    generate(json.loads(arguments.model.read_text()), arguments.out, arguments.parts)


if __name__ == "__main__":
    main()
