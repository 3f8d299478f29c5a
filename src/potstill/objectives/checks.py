"""Checks of the options of terms."""

from __future__ import annotations

from typing import Any

from potstill.errors import UserError


def positive(term: str, option: str, value: Any) -> float:
    """The value of a term's option; raises UserError (key ``objective.bad_<option>``) unless it is a number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise UserError(
            f"objective.terms.{term}.{option}: {value!r}; expected a number above 0.", key=f"objective.bad_{option}"
        )
    return float(value)
