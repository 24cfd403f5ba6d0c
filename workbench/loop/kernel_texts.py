"""Texts of kernels that a forwarder tells: kept once in the session, packed, up to a limit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import zstandard

TEXTS_LIMIT = 64 << 20
"""Bytes of texts, unpacked, that one workbench keeps in a session."""


class KernelTexts:
    """Takes the text out of a `ptx` event of host/STATE.md and puts the number of its payload there."""

    def __init__(self, keep: Callable[[bytes], int], limit: int = TEXTS_LIMIT) -> None:
        """`keep` stores bytes and gives their number."""
        self._keep = keep
        self._left = limit
        self._known: dict[bytes, int] = {}

    def kept(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The line as it is recorded: `blob` (zstd) instead of `text`; neither when there is no more room."""
        fields = dict(state)
        if fields.get("event") != "ptx" or not isinstance(text := fields.pop("text", None), str):
            return fields
        data = text.encode("utf-8", "replace")
        digest = hashlib.sha256(data).digest()
        if digest not in self._known and len(data) <= self._left:
            self._left -= len(data)
            self._known[digest] = self._keep(zstandard.compress(data))
        if digest in self._known:
            fields["blob"] = self._known[digest]
        return fields
