"""The command palette: every row of the registry that can run now, and call numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Provider

from workbench.actions import Action
from workbench.panes.actions import key_text, registry

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp

_NOT_OFFERED = ("lines.", "app.command", "app.back")


class Commands(Provider):
    """Feeds Textual's palette from the registry."""

    @property
    def workbench(self) -> ShimbenchApp:
        """The application, typed."""
        return cast("ShimbenchApp", self.app)

    def _rows(self) -> list[Action]:
        return [action for action in registry().all() if not action.name.startswith(_NOT_OFFERED)]

    def _help(self, action: Action) -> str:
        reason = action.reason(self.workbench)
        if reason:
            return f"not now: {reason}"
        return f"{key_text(action)}  {action.help}" if action.key else action.help

    def _runner(self, action: Action) -> Callable[[], None]:
        return partial(self.workbench.do, action.name)

    def _record_buffers(self, text: str) -> None:
        assert self.workbench.loop is not None
        try:
            self.workbench.notify(self.workbench.loop.record_buffers(text))
        except ValueError as error:
            self.workbench.notify(f"buffers {error}, or off", severity="error")

    async def discover(self) -> AsyncIterator[DiscoveryHit]:
        """All commands, before anything is typed."""
        for action in self._rows():
            yield DiscoveryHit(action.title, self._runner(action), help=self._help(action))

    async def search(self, query: str) -> AsyncIterator[Hit]:
        """Commands whose title or name matches; a number goes to that call."""
        number = query.strip().removeprefix("goto").replace(" ", "")
        if number.isdigit():
            title = f"Go to call {number}"
            yield Hit(1.0, title, partial(self.workbench.jumps.to_call, number), help="by its number")
        word, _, condition = query.strip().partition(" ")
        if word in ("break", "b") and condition.strip() and self.workbench.loop is not None:
            run = partial(self.workbench.breaks.toggle, condition)
            yield Hit(
                1.0, f"Breakpoint on {condition.strip()}", run, help="set it, or clear it when it is set"
            )
        if word == "buffers" and condition.strip() and self.workbench.loop is not None:
            yield Hit(
                1.0, f"Record buffers: {condition.strip()}", partial(self._record_buffers, condition.strip()),
                help="up to this size, as 512M; or off",
            )  # fmt: skip
        if word == "compare" and condition.strip():
            a, _, b = condition.strip().partition(" ")
            compare = partial(_compare, self.workbench, a, b.strip() or str(self.workbench.session.path))
            yield Hit(1.0, f"Compare {condition.strip()}", compare, help="two runs side by side")
        matcher = self.matcher(query)
        for action in self._rows():
            score = max(matcher.match(action.title), matcher.match(action.name))
            if score > 0:
                yield Hit(
                    score, matcher.highlight(action.title), self._runner(action), help=self._help(action)
                )


def _compare(app: ShimbenchApp, a: str, b: str) -> None:
    from workbench.panes.beside import show_beside

    show_beside(app, a, b)
