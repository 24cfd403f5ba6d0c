"""Calls as text: `cuMemAlloc_v2(dptr=0x7f.., bytesize=4096) -> CUDA_SUCCESS [*dptr=0x...]`."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sessions.items import ItemKind, Pseudo, answer_of, item_map, words_of
from sessions.value_text import data_text, pointer_text, scalar_text, string_text, struct_name, struct_text

if TYPE_CHECKING:
    from sessions import Session
    from sessions.blobs import Item
    from sessions.calls import Row
    from sessions.schema import Function, Param, Schema

UNRETURNED = 2  # flag: the process ended while the call was under way
INTERNAL = 1  # flag: the shim called itself
_RESULT_ENUMS = {"CUresult", "nvmlReturn_t"}
_PSEUDO = {int(number) for number in Pseudo}


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument, or with `out` what the function wrote where one pointed to."""

    name: str
    type: str
    text: str
    out: bool


@dataclass(frozen=True, slots=True)
class DecodedCall:
    """A call in its parts; `result` is empty for what returns nothing worth saying."""

    name: str
    arguments: list[Argument]
    result: str

    def line(self) -> str:
        """All of it on one line."""
        given = ", ".join(
            f"{argument.name}={argument.text}" if argument.name else argument.text
            for argument in self.arguments
            if not argument.out
        )
        outs = ", ".join(f"*{argument.name}={argument.text}" for argument in self.arguments if argument.out)
        result = f" -> {self.result}" if self.result else ""
        return f"{self.name}({given}){result}" + (f" [{outs}]" if outs else "")


class CallDecoder:
    """Decodes by the schema a session carries; rows are counted from 0."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def text(self, session: Session, number: int) -> str:
        """A call on one line."""
        return self.call(session, number).line()

    def arguments(self, session: Session, number: int) -> list[Argument]:
        """Arguments in order, then what was written through them."""
        return self.call(session, number).arguments

    def call(self, session: Session, number: int) -> DecodedCall:
        """A call in its parts."""
        return self.row(session, session.calls.row(number))

    def row(self, session: Session, row: Row) -> DecodedCall:
        """The same of a row that was read already."""
        items = session.calls.payload_of(row.payload)
        if row.function in _PSEUDO:
            return self._pseudo(row, items)
        function = self.schema.functions.get(row.function)
        if function is None:
            words = [Argument("", "", f"0x{word:x}", False) for word in row.args]
            return DecodedCall(f"function {row.function}", words, self._result(row, None, items))
        given = list(self._given(function, row, items))
        return DecodedCall(
            function.name, given + self._written(function, items), self._result(row, function, items)
        )

    def result_text(self, function: int, result: int) -> str:
        """The name of what a function returned: `CUDA_ERROR_NOT_FOUND`."""
        known = self.schema.functions.get(function)
        if known is None:
            return str(result)
        if known.result in _RESULT_ENUMS:
            return self.schema.enum_name(known.result, result) or f"{known.result} {result}"
        return str(result)

    def _given(self, function: Function, row: Row, items: list[Item]) -> list[Argument]:
        words = words_of(row.args, items)
        strings = item_map(items, ItemKind.STRING)
        before = item_map(items, ItemKind.IN)
        table = next((item for item in items if item.kind == ItemKind.TABLE), None)
        arguments = []
        for index, param in enumerate(function.params):
            word = words[index] if index < len(words) else None
            if index in strings:
                item = strings[index]
                text = string_text(item.data, cut=item.original > len(item.data))
            elif param.kind == "string" and word:
                text = pointer_text(word)
            elif index in before:
                text = self._pointed(param, before[index])
            elif table is not None and param.pointee.endswith("CUuuid"):
                text = self._table_name(table.data)
            elif word is None:
                text = "?"
            elif param.kind == "struct":
                text = self._struct_by_value(param, word)
            else:
                text = scalar_text(
                    self.schema, word, param.kind, param.size, param.type, param.enum, param.name
                )
            arguments.append(Argument(param.name, param.type, text, False))
        return arguments

    def _struct_by_value(self, param: Param, word: int) -> str:
        name = struct_name(self.schema, param.type)
        if name is None or param.size > 8:
            return "{...}"
        return struct_text(self.schema, name, word.to_bytes(8, "little")[: param.size])

    def _written(self, function: Function, items: list[Item]) -> list[Argument]:
        written = []
        resolved = answer_of(items)
        for index, item in item_map(items, ItemKind.OUT).items():
            if index >= len(function.params):
                continue
            param = function.params[index]
            text = self._pointed(param, item)
            if resolved is not None and resolved.function and param.name == "pfn":
                text = f"{self.schema.function_name(resolved.function)} {text}"
            written.append(Argument(param.name, param.pointee, text, True))
        return written

    def _pointed(self, param: Param, item: Item) -> str:
        return data_text(
            self.schema,
            item.data,
            item.original,
            param.pointee_kind or "",
            param.pointee_size,
            param.pointee or "",
            param.enum,
        )

    def _table_name(self, data: bytes) -> str:
        text = str(uuid.UUID(bytes=data[:16])) if len(data) >= 16 else data.hex()
        table = self.schema.model.get("tables", {}).get(text)
        return f"{text} ({table['name']})" if table else text

    def _short_table_name(self, data: bytes) -> str:
        whole = self._table_name(data)
        return whole.partition("(")[2].removesuffix(")") or whole

    def _result(self, row: Row, function: Function | None, items: list[Item]) -> str:
        if row.flags & UNRETURNED:
            return "never returned"
        whole = next((item for item in items if item.kind == ItemKind.RETURN), None)
        if whole is not None:
            text = item_map(items, ItemKind.STRING).get(255)
            return string_text(text.data) if text else pointer_text(int.from_bytes(whole.data, "little"))
        if function is None:
            return str(row.result)
        return self.result_text(row.function, row.result) if function.result != "void" else ""

    def _pseudo(self, row: Row, items: list[Item]) -> DecodedCall:
        strings = item_map(items, ItemKind.STRING)
        texts = [string_text(strings[index].data) for index in sorted(strings)]
        name = self.schema.function_name(row.function)
        given = [Argument("", "const char *", text, False) for text in texts[:1]]
        if row.flags & UNRETURNED:
            return DecodedCall(name, given, "never returned")
        if row.function in (Pseudo.DLSYM, Pseudo.DLVSYM):
            return self._lookup(row, items, texts)
        if row.function == Pseudo.TABLE_SLOT:
            table = next((item.data for item in items if item.kind == ItemKind.TABLE), b"")
            slot, *words = words_of(row.args, items)
            given = [Argument("", "", f"0x{word:x}", False) for word in words]
            return DecodedCall(f"{self._short_table_name(table)}[{slot}]", given, str(row.result))
        if row.function == Pseudo.UNKNOWN:
            words = words_of(row.args, items)
            given = [Argument("", "", f"0x{word:x}", False) for word in words]
            bare = strings[0].data.decode("utf-8", "replace") if 0 in strings else name
            return DecodedCall(bare, given, str(row.result))
        if row.function == Pseudo.DLOPEN:
            return DecodedCall(name, given, {1: "loaded", -1: "not loaded"}.get(row.result, ""))
        reason = texts[1] if len(texts) > 1 else "?"
        return DecodedCall(name, given, "loaded" if row.result == 0 else f"failed: {reason}")

    def _lookup(self, row: Row, items: list[Item], texts: list[str]) -> DecodedCall:
        linked = bool(row.flags & 16)
        name = "bound at link time" if linked else self.schema.function_name(row.function)
        given = [Argument("", "const char *", text, False) for text in texts]
        resolved = answer_of(items)
        if not row.result:
            return DecodedCall(name, given, "not found")
        if resolved is not None and resolved.function:
            return DecodedCall(name, given, self.schema.function_name(resolved.function))
        return DecodedCall(name, given, "found")
