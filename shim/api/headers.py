"""NVIDIA's headers, found in the installed packages, preprocessed and read by a C parser.

Nothing of them is kept but what the model says: names, types, numbers.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from pycparser import CParser, c_ast
from pycparser.c_generator import CGenerator

HERE = Path(__file__).resolve().parent
FREESTANDING = HERE / "freestanding"
FOREIGN_TYPES = HERE / "include"

CUDA_HEADERS = ["cuda.h", "cudaProfiler.h", "cudaGL.h", "cudaEGL.h", "cudaVDPAU.h"]
CUDA_TYPEDEFS = [name.replace(".h", "Typedefs.h") for name in CUDA_HEADERS]

#: What NVIDIA's headers must see to declare every entry point of every version.
DEFINES = ["__CUDA_API_VERSION_INTERNAL", "NVML_NO_UNVERSIONED_FUNC_DEFS"]

#: Packages with headers, the newest release of the API first: it decides where releases differ.
CUDA_PACKAGES = ["nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12"]
NVML_PACKAGES = ["nvidia-nvml-dev", "nvidia-nvml-dev-cu12"]
#: Headers that some of the packages above lack come from these.
EXTRA_PACKAGES = ["nvidia-cuda-profiler-api"]


class HeaderError(Exception):
    """The headers are missing or can't be read."""


@dataclass(frozen=True)
class HeaderSet:
    """The headers of one release of one library."""

    library: str  #: "cuda" or "nvml"
    package: str
    version: str  #: of the package
    include: tuple[Path, ...]
    names: tuple[str, ...]  #: headers to include, in order
    api_version: int  #: CUDA_VERSION such as 13050; for NVML the one its package belongs to


@dataclass
class Declarations:
    """What one header set declares."""

    headers: HeaderSet
    functions: dict[str, c_ast.Decl] = field(default_factory=dict)
    typedefs: dict[str, c_ast.Node] = field(default_factory=dict)
    tags: dict[str, c_ast.Node] = field(default_factory=dict)  #: "struct X", "union X", "enum X" with a body
    pointers: set[str] = field(default_factory=set)  #: names of the PFN_ typedefs


def include_directory(package: str, header: str) -> Path:
    """The directory of an installed package that holds `header`; HeaderError if there is none."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise HeaderError(f"package {package} is not installed: pip install {package}") from None
    for entry in files:
        if entry.name == header:
            return Path(str(entry.locate())).resolve().parent
    raise HeaderError(f"package {package} {metadata.version(package)} holds no {header}")


def find_header_sets() -> list[HeaderSet]:
    """All installed header sets, per library the newest first."""
    found = []
    extra = [include_directory(package, "cudaProfiler.h") for package in EXTRA_PACKAGES]
    for package in CUDA_PACKAGES:
        include = include_directory(package, "cuda.h")
        path = [include, *(directory for directory in extra if directory != include)]
        names = [name for name in (*CUDA_HEADERS, *CUDA_TYPEDEFS) if any((d / name).exists() for d in path)]
        version = re.search(r"^#define CUDA_VERSION (\d+)", (include / "cuda.h").read_text(), re.MULTILINE)
        if version is None:
            raise HeaderError(f"{include / 'cuda.h'} does not define CUDA_VERSION")
        names.insert(0, "vdpau/vdpau.h")
        found.append(
            HeaderSet("cuda", package, metadata.version(package), tuple(path), tuple(names), int(version[1]))
        )
    for package in NVML_PACKAGES:
        include = include_directory(package, "nvml.h")
        major, minor = metadata.version(package).split(".")[:2]
        api_version = int(major) * 1000 + int(minor) * 10
        found.append(
            HeaderSet("nvml", package, metadata.version(package), (include,), ("nvml.h",), api_version)
        )
    return found


def include_directories() -> list[Path]:
    """What the generated prototype headers need on the include path: the newest of each library."""
    found: dict[Path, None] = {FOREIGN_TYPES: None}
    newest = {headers.library: headers for headers in reversed(find_header_sets())}
    for headers in newest.values():
        found.update(dict.fromkeys(headers.include))
    return list(found)


def compiler_arguments(headers: HeaderSet) -> list[str]:
    """Flags with which both the parser's text and the layout program see the headers."""
    flags = ["-std=c11", "-nostdinc", "-D__attribute__(x)="]
    flags += [f"-D{name}" for name in DEFINES]
    flags += [f"-isystem{directory}" for directory in (FREESTANDING, FOREIGN_TYPES, *headers.include)]
    return flags


def includes(headers: HeaderSet) -> str:
    """The #include lines for a header set."""
    return "".join(f"#include <{name}>\n" for name in headers.names)


def preprocess(headers: HeaderSet, compiler: str = "cc") -> str:
    """The text of a header set, without comments, macros and conditions."""
    command = [compiler, "-E", "-P", *compiler_arguments(headers), "-x", "c", "-"]
    done = subprocess.run(command, input=includes(headers), capture_output=True, text=True, check=False)
    if done.returncode:
        raise HeaderError(f"{compiler} could not preprocess the headers of {headers.package}:\n{done.stderr}")
    return done.stdout


def parse(headers: HeaderSet, text: str) -> Declarations:
    """Every function, type and PFN_ typedef of preprocessed headers."""
    found = Declarations(headers)
    for node in CParser().parse(text).ext:
        _collect_tags(node, found.tags)
        if isinstance(node, c_ast.Typedef):
            found.typedefs[node.name] = node.type
            if node.name.startswith("PFN_"):
                found.pointers.add(node.name)
        elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
            found.functions[node.name] = node
    return found


def _collect_tags(node: c_ast.Node, tags: dict[str, c_ast.Node]) -> None:
    """Structs, unions and enums with a body, by "struct tag", wherever they are declared."""
    if isinstance(node, c_ast.Struct) and node.name and node.decls:
        tags[f"struct {node.name}"] = node
    elif isinstance(node, c_ast.Union) and node.name and node.decls:
        tags[f"union {node.name}"] = node
    elif isinstance(node, c_ast.Enum) and node.name and node.values:
        tags[f"enum {node.name}"] = node
    for _, child in node.children():
        _collect_tags(child, tags)


def spelling(node: c_ast.Node) -> str:
    """A type as C writes it, on one line, without a declared name."""
    text = CGenerator().visit(_nameless(node))
    return re.sub(r"\s+", " ", text).strip()


def _nameless(node: c_ast.Node) -> c_ast.Node:
    """A copy of a type node without the name of what it declares."""
    if isinstance(node, c_ast.TypeDecl):
        return c_ast.TypeDecl(None, node.quals, node.align, node.type)
    if isinstance(node, c_ast.PtrDecl):
        return c_ast.PtrDecl(node.quals, _nameless(node.type))
    if isinstance(node, c_ast.ArrayDecl):
        return c_ast.ArrayDecl(_nameless(node.type), node.dim, node.dim_quals)
    if isinstance(node, c_ast.FuncDecl):
        return c_ast.FuncDecl(node.args, _nameless(node.type))
    return node
