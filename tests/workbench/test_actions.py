"""The registry of actions: one row a name, one meaning a key in a place."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from workbench.actions import GLOBAL, Action, Registry, loop_actions


def action(name: str, key: str, where: str = GLOBAL) -> Action:
    return Action(name, name, key, where, f"{name}.", lambda context: name)


def test_a_key_means_the_panes_own_action_first() -> None:
    registry = Registry([action("all", "f"), action("own", "f", "calls")])
    own, other = registry.for_key("f", "calls"), registry.for_key("f", "log")
    assert own is not None and own.name == "own"
    assert other is not None and other.name == "all"
    assert registry.for_key("x", "log") is None


def test_a_name_or_a_key_can_not_be_taken_twice() -> None:
    with pytest.raises(ValueError, match="two actions are named all"):
        Registry([action("all", "f"), action("all", "g")])
    with pytest.raises(ValueError, match="both all and own"):
        Registry([action("all", "f"), action("own", "f")])


def test_the_loops_actions_say_why_they_are_disabled() -> None:
    saved = SimpleNamespace(loop=None, session=object())
    for row in loop_actions():
        assert row.reason(saved) == "this is a saved session: nothing runs"
        assert row.help.endswith(".")
