"""Search over everything as a list that grows while it is looked for; Enter goes to what was found."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from workbench import trouble
from workbench.panes.chooser import Chooser
from workbench.panes.format import count_text, elide_start, time_text
from workbench.panes.later import later
from workbench.panes.parts import column
from workbench.panes.sgr import plain_text
from workbench.panes.text_lines import TextLine
from workbench.panes.viewer import SourceViewer
from workbench.panes.why import Target
from workbench.views.search import Found, search

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp

MOST = 1000
"""So many are listed: who finds more wants other words, or a filter."""
_PERIOD = 0.1  # seconds between looks at what has been found


class Searching:
    """One search in the session of `app`, by a thread with a reader of its own."""

    def __init__(self, app: ShimbenchApp, words: str) -> None:
        self._app = app
        self._words = words
        self._found: list[Found] = []
        self._row = 0
        self._state = ""
        self._stopped = False
        self._chooser = Chooser(f"SEARCH {words}", [], "searching …")
        self._thread = threading.Thread(target=self._run, name="search", daemon=True)

    def start(self) -> None:
        """Show the list, and fill it."""
        self._app.push_screen(self._chooser, self._chosen)
        self._thread.start()
        later(self._app, _PERIOD, self._show)

    def _run(self) -> None:
        from sessions import SessionError, open_session

        try:
            session = open_session(self._app.session.path)
            for found in search(session, self._words, self._app.root, self._reached):
                self._found.append(found)
                if self._stopped or len(self._found) >= MOST:
                    break
            self._state = "the first " if len(self._found) >= MOST else "all "
        except (SessionError, OSError) as error:
            self._state = f"{error}: "
        except Exception as error:
            self._state = f"{trouble.keep(error, 'search')}: "

    def _reached(self, row: int) -> bool:
        self._row = row
        time.sleep(0)  # the screen has its turn
        return self._stopped

    def _show(self) -> None:
        total = max(len(self._app.session.calls), 1)
        done = not self._thread.is_alive()
        self._chooser.choices.empty = "nothing found" if done else "searching …"
        state = self._state if done else f"{100 * self._row // total} %, "
        lines = [_line(found) for found in self._found]
        self._chooser.fill(lines, f"{state}{count_text(len(lines))} found")
        if not done and not self._stopped:
            later(self._app, max(_PERIOD, len(lines) / 5000), self._show)

    def _chosen(self, found: object) -> None:
        self._stopped = True
        if not isinstance(found, Found):
            return
        if found.source is not None:
            self._app.push_screen(SourceViewer(found.source, found.index + 1))
        else:
            self._app.jumps.to(Target("call" if found.place.startswith("@") else "log", found.index))


def _line(found: Found) -> TextLine:
    place = elide_start(found.place, 27)
    head = [column(f" {place}", 28 if found.source else 14, "accent")]
    if found.source is None:
        head.append(column(time_text(found.time_ns) if found.time_ns else "", 14, "dim"))
    return TextLine([*head, (plain_text(found.text.encode()), "plain")], found)
