"""The filter language's one error."""

from __future__ import annotations

from workbench.errors import UsageError


class FilterError(UsageError):
    """A filter that means nothing. `column` counts from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"filter, column {column}: {message}")
        self.message = message
        self.column = column
        self.text = ""
        """the filter, when it is known"""

    def __str__(self) -> str:
        """The sentence, and under the filter a caret at the column."""
        sentence = super().__str__()
        return f"{sentence}\n  {self.text}\n  {' ' * (self.column - 1)}^" if self.text else sentence
