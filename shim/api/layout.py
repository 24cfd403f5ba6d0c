"""Struct layouts and enum values, asked of the compiler: one small program per header set."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pycparser import c_ast

from shim.api.headers import Declarations, HeaderError, compiler_arguments, includes
from shim.api.types import CType, describe


@dataclass(frozen=True)
class FieldLayout:
    """A member of a struct or union. Bit fields have `bits` > 0 and their first bit's number."""

    name: str
    type: CType
    offset: int
    size: int  #: of the whole member, in bytes
    count: int  #: elements of an array; 1 otherwise
    bits: int = 0
    first_bit: int = 0


@dataclass(frozen=True)
class StructLayout:
    name: str
    size: int
    fields: list[FieldLayout]


@dataclass(frozen=True)
class Layouts:
    """Everything measured of one header set, by the model's names."""

    structs: dict[str, StructLayout]
    enums: dict[str, dict[str, int]]


@dataclass
class _Member:
    path: str
    name: str
    type: CType
    dimensions: int = 0
    bits: int = 0


@dataclass
class _Struct:
    name: str
    spelling: str  #: of the outermost type, for sizeof
    path: str  #: of this struct inside of it; "" for the outermost itself
    members: list[_Member] = field(default_factory=list)


def measure(declarations: Declarations, compiler: str = "cc") -> Layouts:
    """Compile and run a program that prints the layout of every complete type."""
    structs = list(_structs(declarations))
    enums = list(_enums(declarations))
    output = _run(_program(declarations, structs, enums), declarations, compiler)
    numbers = ([int(word) for word in line.split()] for line in output.splitlines())
    measured: dict[str, StructLayout] = {}
    for struct in structs:
        (size,) = next(numbers)
        fields = []
        for member in struct.members:
            offset, whole, element, first_bit = next(numbers)
            fields.append(
                FieldLayout(member.name, member.type, offset, whole, whole // element, member.bits, first_bit)
            )
        measured.setdefault(struct.name, StructLayout(struct.name, size, fields))
    values: dict[str, dict[str, int]] = {}
    for name, enumerators in enums:
        values[name] = {enumerator: next(numbers)[0] for enumerator in enumerators}
    return Layouts(measured, values)


def _structs(declarations: Declarations) -> Iterator[_Struct]:
    for tag, node in sorted(declarations.tags.items()):
        if isinstance(node, (c_ast.Struct, c_ast.Union)):
            # A type defined inside of another one has no name of its own in C++, but has in C.
            yield from _walk(tag.split(" ", 1)[1], tag, "", node, declarations)
    for name, node in sorted(declarations.typedefs.items()):
        body = node.type if isinstance(node, c_ast.TypeDecl) else None
        if isinstance(body, (c_ast.Struct, c_ast.Union)) and not body.name:
            yield from _walk(name, name, "", body, declarations)


def _walk(
    name: str, spelled: str, path: str, body: c_ast.Struct | c_ast.Union, declarations: Declarations
) -> Iterator[_Struct]:
    """A struct and the nameless structs inside of it; those are called OUTER::member."""
    struct = _Struct(name, spelled, path)
    nested: list[tuple[str, str, c_ast.Struct | c_ast.Union]] = []

    def visit(members: list[c_ast.Decl]) -> None:
        for decl in members:
            if decl.name is None:
                if isinstance(decl.type, (c_ast.Struct, c_ast.Union)) and decl.type.decls:
                    visit(decl.type.decls)
                continue
            member_path = f"{path}.{decl.name}" if path else decl.name
            node, dimensions = decl.type, 0
            while isinstance(node, c_ast.ArrayDecl):
                node, dimensions = node.type, dimensions + 1
            inner = node.type if isinstance(node, c_ast.TypeDecl) else None
            if isinstance(inner, (c_ast.Struct, c_ast.Union)) and inner.decls and not inner.name:
                inner_name = f"{name}::{decl.name}"
                kind = CType(inner_name, "struct", 0, inner_name)
                nested.append((inner_name, member_path + "[0]" * dimensions, inner))
            else:
                kind = describe(node, declarations)
            bits = int(decl.bitsize.value, 0) if decl.bitsize is not None else 0
            struct.members.append(_Member(member_path, decl.name, kind, dimensions, bits))

    visit(body.decls)
    yield struct
    for inner_name, member_path, inner in nested:
        yield from _walk(inner_name, spelled, member_path, inner, declarations)


def _enums(declarations: Declarations) -> Iterator[tuple[str, list[str]]]:
    for tag, node in sorted(declarations.tags.items()):
        if isinstance(node, c_ast.Enum):
            yield tag.split(" ", 1)[1], [item.name for item in node.values.enumerators]
    for name, node in sorted(declarations.typedefs.items()):
        body = node.type if isinstance(node, c_ast.TypeDecl) else None
        if isinstance(body, c_ast.Enum) and body.values and not body.name:
            yield name, [item.name for item in body.values.enumerators]


def _program(declarations: Declarations, structs: list[_Struct], enums: list[tuple[str, list[str]]]) -> str:
    lines = [
        includes(declarations.headers),
        "int printf(const char *, ...);",
        "#define FIRST_BIT(T, f) __extension__({ union { T v; unsigned char b[sizeof(T)]; } u; "
        "for (size_t i = 0; i < sizeof(T); i++) u.b[i] = 0; u.v.f = ~0; size_t n = 0; "
        "while (!(u.b[n / 8] >> (n % 8) & 1)) n++; n; })",
        "int main(void) {",
    ]
    for struct in structs:
        base = f"(({struct.spelling} *)0)->{struct.path}" if struct.path else f"*({struct.spelling} *)0"
        lines.append(f'printf("%zu\\n", sizeof({base}));')
        origin = f"__builtin_offsetof({struct.spelling}, {struct.path})" if struct.path else "0"
        for member in struct.members:
            at = f"(({struct.spelling} *)0)->{member.path}"
            if member.bits:
                bit = f"FIRST_BIT({struct.spelling}, {member.path})"
                lines.append(f'printf("%zu 4 4 %zu\\n", {bit} / 32 * 4, {bit} % 32);')
                continue
            offset = f"__builtin_offsetof({struct.spelling}, {member.path}) - {origin}"
            element = at + "[0]" * member.dimensions
            lines.append(f'printf("%zu %zu %zu 0\\n", {offset}, sizeof({at}), sizeof({element}));')
    for _, enumerators in enums:
        lines += [f'printf("%lld\\n", (long long){enumerator});' for enumerator in enumerators]
    return "\n".join([*lines, "return 0;", "}", ""])


def _run(program: str, declarations: Declarations, compiler: str) -> str:
    with tempfile.TemporaryDirectory(prefix="shimbench-layout-") as directory:
        source = Path(directory) / "layout.c"
        binary = Path(directory) / "layout"
        source.write_text(program)
        flags = [*compiler_arguments(declarations.headers), "-O0", "-w"]
        done = subprocess.run(
            [compiler, *flags, str(source), "-o", str(binary)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise HeaderError(f"the layout program does not compile:\n{done.stderr[:4000]}")
        return subprocess.run([binary], capture_output=True, text=True, check=True).stdout
