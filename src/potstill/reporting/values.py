"""Checked values of a JSON file: finite numbers, mappings, rounded numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def number(value: Any) -> float | None:
    """A finite float, or None for anything else (null, text, a boolean, infinity)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty mapping."""
    return value if isinstance(value, Mapping) else {}


def short(value: Any) -> Any:
    """Rounded to six significant digits, a whole number as an integer; None for anything that is not a number."""
    found = number(value)
    return None if found is None else round(found) if found.is_integer() else float(f"{found:.6g}")


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not None, rounded by ``short``."""
    return {key: short(value) for key, value in values.items() if value is not None}
