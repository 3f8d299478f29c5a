"""Why a table cannot be read in blocks."""

from __future__ import annotations


class NotInBlocks(Exception):
    """The table needs a decision that depends on all of its rows together, so it is read as a whole.

    Parameters
    ----------
    reason
        What cannot be decided.
    remedy
        What the user can do to have the table read in blocks.
    """

    def __init__(self, reason: str, remedy: str):
        super().__init__(f"{reason}; {remedy}")
