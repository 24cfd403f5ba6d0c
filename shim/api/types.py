"""C types as the model speaks of them: kind, size, what a pointer points to."""

from __future__ import annotations

from dataclasses import dataclass

from pycparser import c_ast

from shim.api.headers import Declarations, spelling

POINTER_SIZE = 8

#: The integer and floating types of the x86-64 System V ABI.
BASE_TYPES = {
    "void": ("void", 0),
    "char": ("int", 1),
    "signed char": ("int", 1),
    "unsigned char": ("uint", 1),
    "short": ("int", 2),
    "unsigned short": ("uint", 2),
    "int": ("int", 4),
    "unsigned": ("uint", 4),
    "unsigned int": ("uint", 4),
    "long": ("int", 8),
    "unsigned long": ("uint", 8),
    "long long": ("int", 8),
    "unsigned long long": ("uint", 8),
    "float": ("float", 4),
    "double": ("float", 8),
    "_Bool": ("uint", 1),
}


@dataclass(frozen=True)
class CType:
    """A type. `size` is 0 for void, functions and structs that only their layout can tell."""

    spelling: str
    kind: str  #: int uint float enum handle pointer string struct function void
    size: int
    name: str | None = None  #: of the enum or struct, as in the model's tables
    constant: bool = False
    pointee: CType | None = None  #: of pointers and strings

    @property
    def depth(self) -> int:
        """How many pointers stand before a value; a handle is a value."""
        return 0 if self.pointee is None else 1 + self.pointee.depth


def describe(node: c_ast.Node, declarations: Declarations, written: str | None = None) -> CType:
    """What a type node means. `written` keeps a typedef's spelling through its resolution."""
    text = written or spelling(node)
    if isinstance(node, (c_ast.Decl, c_ast.Typename)):
        return describe(node.type, declarations, written)
    if isinstance(node, c_ast.FuncDecl):
        return CType(text, "function", 0)
    if isinstance(node, (c_ast.PtrDecl, c_ast.ArrayDecl)):
        return _describe_pointer(node, declarations, text)
    assert isinstance(node, c_ast.TypeDecl), node
    constant = "const" in (node.quals or [])
    inner = node.type
    if isinstance(inner, c_ast.IdentifierType):
        name = _plain(inner.names)
        if name in BASE_TYPES:
            kind, size = BASE_TYPES[name]
            return CType(text, kind, size, constant=constant)
        resolved = describe(declarations.typedefs[name], declarations, text)
        if resolved.kind in ("struct", "enum") and resolved.name is None:
            return CType(text, resolved.kind, resolved.size, name, constant)
        return CType(
            text, resolved.kind, resolved.size, resolved.name, constant or resolved.constant, resolved.pointee
        )
    if isinstance(inner, c_ast.Enum):
        return CType(text, "enum", 4, inner.name, constant)
    assert isinstance(inner, (c_ast.Struct, c_ast.Union)), inner
    return CType(text, "struct", 0, inner.name, constant)


def _plain(names: list[str]) -> str:
    """`long unsigned int` in the order of BASE_TYPES; other names as they are."""
    if len(names) == 1:
        return str(names[0])
    signs = [name for name in names if name in ("unsigned", "signed")]
    rest = [name for name in names if name not in ("unsigned", "signed", "int")]
    if signs == ["signed"] and rest != ["char"]:
        signs = []
    return " ".join([*signs, *rest]) or "int"


def _describe_pointer(node: c_ast.PtrDecl | c_ast.ArrayDecl, declarations: Declarations, text: str) -> CType:
    pointee = describe(node.type, declarations)
    if pointee.kind == "function":
        return CType(text, "function", POINTER_SIZE)
    if pointee.kind == "struct" and not is_complete(pointee, declarations):
        return CType(text, "handle", POINTER_SIZE)
    if pointee.constant and pointee.spelling in ("const char", "char const"):
        return CType(text, "string", POINTER_SIZE, pointee=pointee)
    return CType(text, "pointer", POINTER_SIZE, pointee=pointee)


def is_complete(struct: CType, declarations: Declarations) -> bool:
    """Whether the headers say what is inside of a struct or union."""
    if f"struct {struct.name}" in declarations.tags or f"union {struct.name}" in declarations.tags:
        return True
    node = declarations.typedefs.get(struct.name or "")
    body = node.type if isinstance(node, c_ast.TypeDecl) else None
    return isinstance(body, (c_ast.Struct, c_ast.Union)) and bool(body.decls)
