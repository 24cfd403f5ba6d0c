"""Calls as text."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any

from target_libraries import CUDART

from sessions.blobs import Item
from sessions.decode import CallDecoder
from sessions.format import CallFlag, ItemKind, Pseudo
from sessions.testing import SessionBuilder, out_item, resolved_item, string_item


def decoded(builder: SessionBuilder) -> str:
    session = builder.open()
    return CallDecoder(session.schema).text(session, len(session.calls) - 1)


def test_an_allocation_shows_its_size_and_the_address_that_came_back(builder: SessionBuilder) -> None:
    address = out_item(0, struct.pack("<Q", 0x7F0000000000))
    builder.call("cuMemAlloc_v2", args=(0x7FFC0, 4096), items=[address])
    assert decoded(builder) == (
        "cuMemAlloc_v2(dptr=0x7ffc0, bytesize=4096) -> CUDA_SUCCESS [*dptr=0x7f0000000000]"
    )


def test_enums_have_names(builder: SessionBuilder) -> None:
    builder.call("cuDeviceGetAttribute", args=(0x10, 75, 0), items=[out_item(0, struct.pack("<i", 8))])
    assert "attrib=CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, dev=0" in decoded(builder)
    assert decoded(builder).endswith("[*pi=8]")


def test_an_error_has_its_name_and_one_without_a_name_its_number(builder: SessionBuilder) -> None:
    builder.call("cuInit", args=(0,), result=100)
    assert decoded(builder) == "cuInit(Flags=0) -> CUDA_ERROR_NO_DEVICE"
    builder.call("cuInit", args=(0,), result=4711)
    assert decoded(builder) == "cuInit(Flags=0) -> CUresult 4711"


def test_a_lookup_shows_which_export_the_answer_is(
    builder: SessionBuilder, identify: Callable[[str], int]
) -> None:
    answer = [
        string_item(0, "cuMemAlloc"),
        out_item(1, struct.pack("<Q", 0x4000)),
        resolved_item(identify("cuMemAlloc_v2"), 0x4000),
    ]
    builder.call("cuGetProcAddress_v2", args=(1, 2, 3020, 0, 0), items=answer)
    text = decoded(builder)
    assert 'symbol="cuMemAlloc"' in text
    assert "cudaVersion=3020" in text
    assert "*pfn=cuMemAlloc_v2 0x4000" in text


def test_a_table_is_named_by_its_uuid(builder: SessionBuilder) -> None:
    table = uuid.UUID("d4082055-bde6-704b-8d34-ba123c66e1f2")
    builder.call("cuGetExportTable", args=(1, 2), items=[Item(ItemKind.TABLE, 1, table.bytes, 16)])
    assert "pExportTableId=d4082055-bde6-704b-8d34-ba123c66e1f2 (IntegrityCheck)" in decoded(builder)


def test_structs_are_shown_by_member(builder: SessionBuilder) -> None:
    location = struct.pack("<ii", 1, 0)
    prop = struct.pack("<ii", 1, 0) + location + bytes(16)
    builder.call(
        "cuMemGetAllocationGranularity",
        args=(1, 2, 1),
        items=[Item(ItemKind.IN, 1, prop, len(prop)), out_item(0, struct.pack("<Q", 2 << 20))],
    )
    text = decoded(builder)
    assert "prop={type=CU_MEM_ALLOCATION_TYPE_PINNED" in text
    assert "location={type=CU_MEM_LOCATION_TYPE_DEVICE, id=0}" in text
    assert "[*granularity=2097152]" in text


def test_text_arrays_and_uuids_read_as_such(builder: SessionBuilder) -> None:
    builder.call("cuDeviceGetName", args=(1, 100, 0), items=[out_item(0, b"Some GPU".ljust(100, b"\0"))])
    assert decoded(builder).endswith('[*name="Some GPU"]')
    builder.call("cuDeviceGetUuid", args=(1, 0), items=[out_item(0, bytes(range(16)))])
    assert decoded(builder).endswith("[*uuid=00010203-0405-0607-0809-0a0b0c0d0e0f]")


def test_a_call_that_never_returned_has_no_result(builder: SessionBuilder) -> None:
    builder.call("cuStreamSynchronize", args=(0,), flags=int(CallFlag.UNRETURNED))
    assert decoded(builder) == "cuStreamSynchronize(hStream=NULL) -> never returned"


def test_negative_and_narrow_values_ignore_what_lies_above_them(builder: SessionBuilder) -> None:
    builder.call("cuDeviceGet", args=(1, 0xDEAD_0000_0000_0000 | 0xFFFFFFFF))
    assert "ordinal=-1" in decoded(builder)


def test_lookups_and_loads_that_are_no_functions_read_as_sentences(
    builder: SessionBuilder, identify: Callable[[str], int]
) -> None:
    builder.call(Pseudo.DLSYM, result=0, items=[string_item(0, "cuFoo")], caller=CUDART)
    assert decoded(builder) == 'dlsym("cuFoo") -> not found'
    builder.call(
        Pseudo.DLSYM, result=1, items=[string_item(0, "cuInit"), resolved_item(identify("cuInit"), 16)]
    )
    assert decoded(builder) == 'dlsym("cuInit") -> cuInit'
    builder.call(Pseudo.DLOPEN, result=-1, items=[string_item(0, "libcuda.so.1")])
    assert decoded(builder) == 'dlopen("libcuda.so.1") -> not loaded'
    reason = [string_item(0, "/x/libcuda.so.1"), string_item(1, "undefined symbol: foo")]
    builder.call(Pseudo.LOAD, result=-1, items=reason)
    assert decoded(builder) == 'load of the shim("/x/libcuda.so.1") -> failed: "undefined symbol: foo"'


def test_a_call_through_a_table_names_table_and_slot(builder: SessionBuilder) -> None:
    table = uuid.UUID("c693336e-1121-df11-a8c3-68f355d89593")
    item = Item(ItemKind.TABLE, 0, table.bytes, 16)
    builder.call(Pseudo.TABLE_SLOT, args=(2, 0x10, 0x20, 0x30), result=400, items=[item])
    text = decoded(builder)
    assert text == "ContextLocalStorage[2](0x10, 0x20, 0x30) -> 400"


def test_every_function_of_the_model_can_be_decoded(builder: SessionBuilder, model: dict[str, Any]) -> None:
    for row in model["functions"]:
        builder.call(row["name"], args=(1, 2, 3, 4, 5))
    session = builder.open()
    decoder = CallDecoder(session.schema)
    for number, row in enumerate(model["functions"]):
        assert decoder.text(session, number).startswith(f"{row['name']}(")
