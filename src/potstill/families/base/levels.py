"""The quantile levels that a student's settings or a saved config may have."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from potstill.errors import UserError


def check_levels(key: str, levels: Any, where: str) -> None:
    """Raise UserError unless the levels are ascending numbers between 0 and 1; ``key`` is the setting's name."""
    is_list = isinstance(levels, (list, tuple)) and len(levels) > 0 and all(isinstance(v, float) for v in levels)
    if not is_list or not all(a < b for a, b in pairwise([0.0, *levels, 1.0])):
        raise UserError(
            f"{where}: {key}={levels!r}; expected a list of ascending numbers between 0 and 1, as [0.1, 0.5, 0.9].",
            key="student.bad_value",
        )
