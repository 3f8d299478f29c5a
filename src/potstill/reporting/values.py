"""Values of a file that may hold anything, as the report needs them: finite numbers, mappings, short figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def number(value: Any) -> float | None:
    """A finite float, or None for anything else (null, text, a flag, an infinity)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def short(value: Any) -> Any:
    """Six significant digits, a whole number as such; None for what is no number."""
    found = number(value)
    return None if found is None else round(found) if found.is_integer() else float(f"{found:.6g}")


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values there are, short."""
    return {key: short(value) for key, value in values.items() if value is not None}
