"""The data section of a plan, and why a call has no place in one."""

from __future__ import annotations

from dataclasses import dataclass, field

_MOST_ZEROS = 64 << 30


class NotReplayable(Exception):
    """Why a call can't be performed again, in a few words that many calls share."""


class Lacking(NotReplayable):
    """What the call was given is not in the session."""


@dataclass
class Store:
    """The data section of a plan: each content once."""

    parts: list[bytes | int] = field(default_factory=list)  #: contents, or how many zeros
    size: int = 0
    known: dict[object, int] = field(default_factory=dict)

    def put(self, content: bytes, key: object = None) -> int:
        """Where it lies. `key` stands for contents that are not to be hashed again."""
        found = self.known.get(content if key is None else key)
        if found is not None:
            return found
        place = self.size
        padded = content + bytes(-len(content) % 64)
        self.parts.append(padded)
        self.size += len(padded)
        self.known[content if key is None else key] = place
        return place

    def zeros(self, length: int) -> int:
        """Where so many zeros lie: a hole in the file."""
        place = self.known.get(("zeros", length))
        if place is None:
            if length > _MOST_ZEROS:
                raise NotReplayable("a missing input of more than 64 GiB")
            place = self.known["zeros", length] = self.size
            self.parts.append((length + 63) // 64 * 64)
            self.size += (length + 63) // 64 * 64
        return place
