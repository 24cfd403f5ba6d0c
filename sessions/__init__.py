"""Sessions: what the workbench saw, written as it happens and read back."""

from __future__ import annotations

from sessions.blobs import Item
from sessions.calls import Calls, Row
from sessions.errors import SessionError
from sessions.events import Event
from sessions.format import FIRST_PSEUDO_FUNCTION, CallFlag, ItemKind, Pseudo
from sessions.log import Line, Log
from sessions.processes import Mapping, Module, Process
from sessions.schema import Function, Param, Schema
from sessions.session import InFlight, Session, open_session

__all__ = [
    "FIRST_PSEUDO_FUNCTION",
    "CallFlag",
    "Calls",
    "Event",
    "Function",
    "InFlight",
    "Item",
    "ItemKind",
    "Line",
    "Log",
    "Mapping",
    "Module",
    "Param",
    "Process",
    "Pseudo",
    "Row",
    "Schema",
    "Session",
    "SessionError",
    "open_session",
]
