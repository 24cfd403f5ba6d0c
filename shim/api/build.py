"""Joins the headers of all releases with our annotations into the model, and writes what is
generated from it: model.json, cuda_prototypes.h, nvml_prototypes.h, function_ids.h."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from pycparser import c_ast

from shim.api import emit
from shim.api.absence import absence_rows, private_names
from shim.api.annotate import AnnotationError, Annotations, load_annotations
from shim.api.headers import Declarations, HeaderSet, find_header_sets, parse, preprocess
from shim.api.layout import Layouts, measure
from shim.api.types import CType, describe

EXPORT_NAME = re.compile(r"(?P<base>\w+?)(_v(?P<number>\d+))?(?P<stream>_ptsz|_ptds)?")
POINTER_NAME = re.compile(r"PFN_(?P<base>\w+?)_v(?P<version>\d{4,5})(?P<stream>_ptsz|_ptds)?")
FORMAT = 1
HASH_LENGTH = 31

Json = dict[str, Any]


def build(out: Path, compiler: str = "cc") -> Json:
    """Write everything into `out` (files that stay the same are not touched); the model comes back."""
    header_sets = find_header_sets()
    declared = read_declared(header_sets, out / "headers-cache.json", compiler)
    annotations = load_annotations()
    model = join(declared, header_sets, annotations)
    out.mkdir(parents=True, exist_ok=True)
    emit.write_if_changed(out / "model.json", json.dumps(model, separators=(",", ":")) + "\n")
    emit.write_if_changed(
        out / "cuda_prototypes.h", emit.prototypes(model, "cuda", header_sets, annotations.aliases)
    )
    emit.write_if_changed(out / "nvml_prototypes.h", emit.prototypes(model, "nvml", header_sets, ()))
    emit.write_if_changed(out / "function_ids.h", emit.function_ids(model))
    return model


def read_declared(header_sets: list[HeaderSet], cache: Path, compiler: str) -> list[Json]:
    """What each header set declares, parsed anew only when its text or its readers changed."""
    own = hashlib.sha256()
    for source in ("build.py", "headers.py", "layout.py", "types.py"):
        own.update((Path(__file__).parent / source).read_bytes())
    texts = [preprocess(headers, compiler) for headers in header_sets]
    keys = [hashlib.sha256(own.digest() + text.encode()).hexdigest() for text in texts]
    try:
        cached = json.loads(cache.read_text())
    except (OSError, ValueError):
        cached = {}
    if set(cached) != set(keys):
        declared = [
            declared_json(parse(headers, text), compiler)
            for headers, text in zip(header_sets, texts, strict=True)
        ]
        cached = dict(zip(keys, declared, strict=True))
        cache.parent.mkdir(parents=True, exist_ok=True)
        emit.write_if_changed(cache, json.dumps(cached, separators=(",", ":")))
    return [cached[key] for key in keys]


def declared_json(declarations: Declarations, compiler: str) -> Json:
    """One header set as plain data: functions, structs, enums, typedefs, versions of entry points."""
    layouts = measure(declarations, compiler)
    enum_names = _enum_names(declarations)
    functions = {}
    for name, decl in declarations.functions.items():
        arguments = decl.type.args.params if decl.type.args else []
        params: list[Json] = []
        for argument in arguments:
            kind = describe(argument, declarations)
            if kind.kind == "void":
                continue
            params.append(
                {"name": argument.name or f"arg{len(params)}", **_type_json(kind, layouts, enum_names)}
            )
        functions[name] = {"result": describe(decl.type.type, declarations).spelling, "params": params}
    structs = {
        name: {
            "size": layout.size,
            "fields": [
                {
                    "name": member.name,
                    "type": member.type.spelling,
                    "kind": member.type.kind,
                    "offset": member.offset,
                    "size": member.size,
                    "count": member.count,
                    **_name_json(member.type, enum_names),
                    **({"bits": member.bits, "first_bit": member.first_bit} if member.bits else {}),
                }
                for member in layout.fields
            ],
        }
        for name, layout in layouts.structs.items()
    }
    enums = {enum_names.get(name, name): values for name, values in layouts.enums.items()}
    typedefs = {}
    for name in declarations.typedefs:
        if not name.startswith("PFN_"):
            meaning = describe(declarations.typedefs[name], declarations)
            if meaning.kind == "struct" and meaning.name and meaning.name != name:
                typedefs[name] = meaning.name
    return {
        "functions": functions,
        "structs": structs,
        "enums": enums,
        "typedefs": typedefs,
        "pointers": sorted(declarations.pointers),
    }


def _enum_names(declarations: Declarations) -> dict[str, str]:
    """Enum tag -> the name it is used by (`cudaError_enum` -> `CUresult`)."""
    names: dict[str, str] = {}
    for name, node in declarations.typedefs.items():
        inner = node.type if isinstance(node, c_ast.TypeDecl) else None
        if isinstance(inner, c_ast.Enum) and inner.name:
            names.setdefault(inner.name, name)
    return names


def _name_json(kind: CType, enum_names: dict[str, str]) -> Json:
    if kind.kind == "enum" and kind.name:
        return {"enum": enum_names.get(kind.name, kind.name)}
    if kind.kind == "struct" and kind.name:
        return {"struct": kind.name}
    return {}


def _size(kind: CType, layouts: Layouts) -> int:
    if kind.kind == "struct" and kind.name in layouts.structs:
        return layouts.structs[kind.name].size
    return kind.size


def _type_json(kind: CType, layouts: Layouts, enum_names: dict[str, str]) -> Json:
    described: Json = {
        "type": kind.spelling,
        "kind": kind.kind,
        "size": _size(kind, layouts),
        "direction": "in",
        "pointee": None,
        "pointee_kind": None,
        "pointee_size": 0,
        "length": None,
        "depth": kind.depth,
        "enum": None,
        "struct": None,
    }
    target = kind
    if kind.pointee is not None:
        target = kind.pointee
        described["pointee"] = target.spelling
        described["pointee_kind"] = target.kind
        described["pointee_size"] = _size(target, layouts)
        if kind.kind == "pointer" and not target.constant and target.kind != "void":
            described["direction"] = "out"
        if kind.kind == "pointer" and target.kind != "void":
            described["length"] = 1
    described.update(_name_json(target, enum_names))
    return described


def join(declared: list[Json], header_sets: list[HeaderSet], annotations: Annotations) -> Json:
    """The union of all releases, annotated. The newest release decides where they differ."""
    functions: dict[str, Json] = {}
    structs: Json = {}
    enums: Json = {}
    typedefs: Json = {}
    pointers: set[str] = set()
    for release, headers in zip(declared, header_sets, strict=True):
        for name, value in release["functions"].items():
            known = functions.setdefault(name, {"library": headers.library, "headers": [], **value})
            known["headers"].append(headers.api_version)
        for mine, theirs in ((structs, "structs"), (typedefs, "typedefs")):
            for name, value in release[theirs].items():
                mine.setdefault(name, value)
        for name, values in release["enums"].items():
            enums[name] = {**values, **enums.get(name, {})}
        pointers.update(release["pointers"])
    for name, original in annotations.aliases.items():
        functions.setdefault(name, json.loads(json.dumps(functions[original])))
    ladders, versions = _ladders(functions, pointers, annotations)
    rows = []
    for number, (name, value) in enumerate(
        sorted(functions.items(), key=lambda item: (item[1]["library"], item[0])), 1
    ):
        parts = EXPORT_NAME.fullmatch(name)
        assert parts is not None
        for param in value["params"]:
            if param["kind"] == "pointer":
                _annotate(param, annotations.pointer_effects(name, param["name"]), structs)
        rows.append(
            {
                "id": number,
                "name": name,
                "library": value["library"],
                "base": parts["base"],
                "version": versions.get(name, int(parts["number"] or 1)),
                "per_thread": parts["stream"] is not None,
                "headers": sorted(value["headers"]),
                "result": value["result"],
                "params": value["params"],
            }
        )
    unused = [rule for rule in annotations.rules if not rule.used]
    if unused:
        raise AnnotationError(f"pointers.toml: no parameter matches {unused[0].functions} {unused[0].params}")
    unknown = sorted(set(annotations.performed) - set(functions))
    if unknown:
        raise AnnotationError(f"performed.toml: no such function: {', '.join(unknown)}")
    content = {"functions": rows, "structs": structs, "enums": enums}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:HASH_LENGTH]
    performed = set(annotations.performed)
    for row in rows:
        row["performed"] = row["name"] in performed
    return {
        "format": FORMAT,
        "hash": digest,
        "sources": [
            {"package": h.package, "version": h.version, "cuda_version": h.api_version} for h in header_sets
        ],
        "functions": rows,
        "enums": enums,
        "structs": structs,
        "typedefs": typedefs,
        "ladders": ladders,
        "absence": absence_rows(annotations.absence),
        "private_names": private_names(annotations, {*functions, *ladders}),
        "tables": annotations.tables,
    }


def _annotate(param: Json, effects: Json, structs: Json) -> None:
    if effects.pop("opaque", False):
        effects = {"direction": "in", "length": None, **effects}
    elif not effects and param["direction"] == "out" and param["struct"] in structs:
        # A struct that says its own version is read before it is written.
        fields = structs[param["struct"]]["fields"]
        if fields and fields[0]["name"] == "version":
            effects = {"direction": "inout"}
    param.update(effects)


def _ladders(
    functions: dict[str, Json], pointers: set[str], annotations: Annotations
) -> tuple[dict[str, list[Json]], dict[str, int]]:
    """Which export answers a name at a version, and the version of each export.

    The Typedefs headers list a pointer type for each version of each entry point, and the exports
    of a name are numbered in the same order: the n-th version is the n-th export.
    """
    asked: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for pointer in pointers:
        parts = POINTER_NAME.fullmatch(pointer)
        if parts is not None:
            asked[parts["base"], parts["stream"] is not None].append(int(parts["version"]))
    exports: dict[tuple[str, bool], list[tuple[int, str]]] = defaultdict(list)
    for name, value in functions.items():
        parts = EXPORT_NAME.fullmatch(name)
        if value["library"] == "cuda" and parts is not None and name not in annotations.aliases:
            key = parts["base"], parts["stream"] is not None
            exports[key].append((int(parts["number"] or 1), name))
    ladders: dict[str, list[Json]] = defaultdict(list)
    versions: dict[str, int] = {}
    for (base, per_thread), named in sorted(exports.items()):
        known = sorted(asked.get((base, per_thread), []))
        if len(known) != len(named):
            raise AnnotationError(
                f"{base}: versions {known} against exports {[name for _, name in sorted(named)]}; "
                "say which is which in annotations/ladders.toml"
            )
        for version, (_, name) in zip(known, sorted(named), strict=True):
            versions[name] = version
            ladders[base].append({"version": version, "per_thread": per_thread, "export": name})
    for name, original in annotations.aliases.items():
        versions[name] = versions[original]
        parts = EXPORT_NAME.fullmatch(name)
        assert parts is not None
        ladders[parts["base"]].append(
            {"version": versions[name], "per_thread": parts["stream"] is not None, "export": name}
        )
    for rung in annotations.rungs:
        ladders[rung["name"]].append(
            {
                "version": rung["version"],
                "per_thread": rung.get("per_thread", False),
                "export": rung["export"],
            }
        )
    for rungs in ladders.values():
        rungs.sort(key=lambda rung: (rung["per_thread"], rung["version"]))
    return dict(ladders), versions
