"""The errors of this package."""

from collections.abc import Sequence


class ExportError(ValueError):
    """An exported folder, an input or an option is wrong; the message says what to do."""


class NotFinite(ExportError):
    """Forecasts are NaN or infinite; ``rows`` are the places of their contexts."""

    def __init__(self, message: str, rows: Sequence[int]):
        super().__init__(message)
        self.rows = rows
