"""A part of the screen that fails says so and rests for a while; the others go on.

What fails is a damaged part of the session, or a mistake of ours: the former is told by its sentence, the
latter has its traceback in shimbench's log besides.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from workbench import trouble
from workbench.errors import ShimbenchError

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp
    from workbench.panes.lines import LineView

T = TypeVar("T")

REST_SECONDS = 5.0  # until a part that failed is tried again


def sentence_of(error: Exception, part: str) -> str:
    """What to say of an error that came up in a part; our own mistakes are written down."""
    from sessions import SessionError

    foreseen = isinstance(error, SessionError | ShimbenchError)
    return str(error) if foreseen else trouble.keep(error, part)


class Guard:
    """Does the work of the parts of `app`, each by its name: a pane's, or in words."""

    def __init__(self, app: ShimbenchApp) -> None:
        self._app = app
        self._rests: dict[str, float] = {}  # until when, by the monotonic clock
        self._told: set[str] = set()

    def rests(self, part: str) -> bool:
        """Whether a part failed a moment ago."""
        return time.monotonic() < self._rests.get(part, 0.0)

    def keep_up(self, part: str, work: Callable[[], T]) -> T | None:
        """Have a part do what is due again and again; None while it rests, and when it fails."""
        if self.rests(part):
            return None
        try:
            done = work()
        except Exception as error:
            self._rests[part] = time.monotonic() + REST_SECONDS
            self._say_in(part, self.tell(part, error))
            return None
        if self._rests.pop(part, None) is not None:
            self._say_in(part, "")
        return done

    def once(self, part: str, work: Callable[[], T]) -> T | None:
        """Do what a key or a click asked for; None when that fails."""
        try:
            return work()
        except Exception as error:
            self.tell(part, error)
            return None

    async def finish(self, part: str, work: Awaitable[object]) -> None:
        """Wait for the end of what a key asked for."""
        try:
            await work
        except Exception as error:
            self.tell(part, error)

    def tell(self, part: str, error: Exception) -> str:
        """Say it over the panes, each thing once; -> the sentence."""
        from sessions import SessionError

        sentence = sentence_of(error, part)
        self.say("the session is damaged" if isinstance(error, SessionError) else part, sentence)
        return sentence

    def say(self, title: str, sentence: str) -> None:
        """Tell a sentence over the panes, unless it has been told."""
        if sentence not in self._told:
            self._told.add(sentence)
            self._app.notify(sentence, title=title, severity="error", timeout=30)

    def _say_in(self, part: str, sentence: str) -> None:
        """In the pane, for as long as it lasts."""
        view = self._view(part)
        if view is not None:
            view.trouble = sentence
            view.refresh()

    def _view(self, part: str) -> LineView | None:
        from workbench.panes.rows import PANES

        return self._app.arrangement.view(part) if part in PANES and self._app.arrangement.whole else None
