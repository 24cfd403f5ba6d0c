"""The filter language's one error."""

from __future__ import annotations

from workbench.errors import UsageError


class FilterError(UsageError):
    """A filter that means nothing. `column` counts from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"filter, column {column}: {message}")
        self.message = message
        self.column = column
