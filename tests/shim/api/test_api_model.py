"""The API model, read from the real headers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from shim.api.build import build
from shim.api.headers import include_directories
from shim.api.model import Model, load_model

RECORDING = Path("/work/shared/recordings/cudart-13.0-discovery-calls.txt")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("api")
    build(out)
    return out


@pytest.fixture(scope="module")
def model(generated: Path) -> Model:
    return load_model(generated / "model.json")


def test_the_union_holds_both_releases(model: Model) -> None:
    versions = {source["cuda_version"] // 1000 for source in model.sources}
    assert versions == {12, 13}
    assert len(model.exports["cuda"]) >= 720
    assert len(model.exports["nvml"]) >= 400
    assert {"cuCtxCreate_v2", "cuCtxCreate_v4", "cuProfilerStart", "cuGLInit"} <= model.exports["cuda"]


def test_ids_count_from_one_in_order_of_library_and_name(model: Model) -> None:
    assert [function.id for function in model.functions] == list(range(1, len(model.functions) + 1))
    order = [(function.library, function.name) for function in model.functions]
    assert order == sorted(order)


def test_pointers_say_direction_and_length(model: Model) -> None:
    dptr, bytesize = model.by_name["cuMemAlloc_v2"].params
    assert (dptr.kind, dptr.direction, dptr.pointee_size, dptr.length) == ("pointer", "out", 8, 1)
    assert (bytesize.kind, bytesize.size) == ("uint", 8)
    host = model.by_name["cuMemcpyHtoDAsync_v2_ptsz"].params[1]
    assert (host.direction, host.length) == ("in", "ByteCount")
    symbol = model.by_name["cuGetProcAddress_v2"].params[0]
    assert symbol.kind == "string"
    assert model.by_name["cuDeviceGetAttribute"].params[1].enum == "CUdevice_attribute"


def test_struct_layouts_are_the_compiler_s(model: Model) -> None:
    assert model.structs["CUuuid_st"].size == 16
    launch = {member.name: member.offset for member in model.structs["CUlaunchConfig_st"].fields}
    assert (launch["hStream"], launch["attrs"], launch["numAttrs"]) == (32, 40, 48)
    assert model.structs["CUmemAllocationProp_st"].size == 32


def test_enums_are_known_by_the_names_in_use(model: Model) -> None:
    assert model.enums["CUresult"]["CUDA_ERROR_NOT_FOUND"] == 500
    assert model.enums["CUdevice_attribute"]["CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR"] == 75


@pytest.mark.parametrize(
    ("name", "version", "per_thread", "export"),
    [
        ("cuMemAlloc", 3020, False, "cuMemAlloc_v2"),
        ("cuMemAlloc", 2000, False, "cuMemAlloc"),
        ("cuMemcpy", 7000, True, "cuMemcpy_ptds"),
        ("cuInit", 12000, True, "cuInit"),
        ("cuGetProcAddress", 11030, False, "cuGetProcAddress"),
        ("cuGetProcAddress", 12000, False, "cuGetProcAddress_v2"),
        ("cuCtxGetDevice", 12080, False, "cuCtxGetDevice"),
        ("cuCtxGetDevice", 13000, False, "cuCtxGetDevice_v2"),
        ("cuGraphInstantiate", 12000, False, "cuGraphInstantiateWithFlags"),
        ("cuInit", 1000, False, None),
        ("", 0, False, None),
    ],
)
def test_the_ladder_answers_as_the_driver_does(
    model: Model, name: str, version: int, per_thread: bool, export: str | None
) -> None:
    assert model.resolve_proc_address(name, version, per_thread) == export


@pytest.mark.skipif(not RECORDING.exists(), reason="recordings are not on this machine")
def test_the_ladder_answers_what_was_recorded_of_cudart_13_0(model: Model) -> None:
    requests = re.findall(
        r"PROC (\S*) ver=(\d+) flags=(\d+) -> (NOT FOUND|\w+)", RECORDING.read_text(errors="replace")
    )
    assert len(requests) >= 440
    interop = re.compile(r"cu(GL|EGL|VDPAU|Graphics(GL|EGL|VDPAU|ResourceGetMappedEgl))")
    for name, version, flags, answer in requests:
        resolved = model.resolve_proc_address(name, int(version), flags == "2")
        if answer != "NOT FOUND":
            assert resolved == answer
        else:
            # That fake driver had no interoperation; what it called unknown is that, or no name at all.
            assert resolved is None or interop.match(name)


@pytest.mark.skipif(not RECORDING.exists(), reason="recordings are not on this machine")
def test_every_name_a_runtime_asks_for_has_an_absence_row(model: Model) -> None:
    asked = set(re.findall(r"PROC (\w+) ver=", RECORDING.read_text(errors="replace")))
    assert asked <= set(model.absence)
    assert model.absence["cuGetExportTable"][0].effect == "fatal-at-init"
    assert model.absence["cuGetExportTable"][0].error == 36
    assert model.absence["cuGLInit"][-1].effect == "harmless"
    harmless = [name for name in asked if model.absence[name][0].effect == "harmless"]
    assert len(harmless) > 290


def test_names_no_header_declares_are_private(model: Model) -> None:
    assert "cuSubgridCreate" in model.private_names
    assert not model.private_names & set(model.by_name)


def test_the_tables_say_what_may_not_be_moved(model: Model) -> None:
    assert model.tables["6bd5fb6c-5bf4-e74a-8987-d93912fd9df9"].hashed == ("address",)
    assert model.tables["d4082055-bde6-704b-8d34-ba123c66e1f2"].hashed == ("address", 1)


@pytest.mark.parametrize("language", ["c", "c++"])
def test_the_generated_headers_declare_every_function_as_the_model_spells_it(
    generated: Path, model: Model, tmp_path: Path, language: str
) -> None:
    lines = ['#include "cuda_prototypes.h"', '#include "nvml_prototypes.h"', '#include "function_ids.h"']
    lines += ["#ifdef __cplusplus", 'extern "C" {', "#endif"]
    for function in model.functions:
        params = ", ".join(f"{param.type} {param.name}" for param in function.params) or "void"
        lines.append(f"{function.result} {function.name}({params});")
        lines.append(f"int id_{function.name}[FN_{function.name} == {function.id} ? 1 : -1];")
    lines += ["#ifdef __cplusplus", "}", "#endif"]
    source = tmp_path / "declares.c"
    source.write_text("\n".join(lines) + "\n")
    flags = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations", f"-I{generated}"]
    flags += [f"-isystem{directory}" for directory in include_directories()]
    subprocess.run(["cc", "-x", language, *flags, str(source)], check=True)


def test_building_again_touches_nothing(generated: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in generated.iterdir()}
    build(generated)
    assert {path.name: path.stat().st_mtime_ns for path in generated.iterdir()} == before


def test_the_command_line_tells_where_headers_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shim.api", "include-directories"], capture_output=True, text=True, check=True
    )
    assert any((Path(directory) / "cuda.h").exists() for directory in done.stdout.strip().split(";"))
