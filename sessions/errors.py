"""What can be wrong with a session on disk."""

from __future__ import annotations


class SessionError(Exception):
    """The session can't be read: it names the file and what is wrong with it."""
