"""The error of this package."""


class ExportError(ValueError):
    """An exported folder, an input or an option is wrong; the message says what to do."""
