"""A search through the lines of a pane, in slices: long ones take longer than keys can wait."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

AT_ONCE = 64  # lines between looks at the clock


@dataclass
class Finding:
    """A search under way: from `start` on in direction `step` (1 or -1), round at the ends."""

    pattern: re.Pattern[str]
    start: int
    step: int
    total: int  # lines to look at
    looked: int = 0
    first: bool = False  # it has only just been asked for

    def go_on(self, count: int, texts: Callable[[int, int], Iterable[str]], deadline: float) -> int | None:
        """The next line of `count` that matches; None when there is none, or when the time (thread_time) is
        up."""
        if not count:  # the lines are gone, by a filter say
            self.looked = self.total
        while self.looked < self.total:
            at = (self.start + self.looked * self.step) % count
            if self.step > 0:
                low, high = at, min(at + AT_ONCE, at + self.total - self.looked, count)
            else:
                low, high = max(at + 1 - min(AT_ONCE, self.total - self.looked), 0), at + 1
            matching = [
                low + place for place, text in enumerate(texts(low, high)) if self.pattern.search(text)
            ]
            self.looked += high - low
            if matching:
                return matching[0] if self.step > 0 else matching[-1]
            if time.thread_time() >= deadline:
                return None
        return None
