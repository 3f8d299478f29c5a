"""Functions that run in Ray's workers; some end their process at a given item."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from potstill.errors import UserError


def squares() -> Callable[[int], int]:
    def square(number: int) -> int:
        if number < 0:
            raise UserError(f"{number}: is negative.", key="test.negative")
        return number * number

    return square


def dying(marker: Path | None, item: int, factory: str, *arguments: Any) -> Callable[[Any], Any]:
    """What ``factory`` builds, in a worker that ends at its ``item``-th item: once, or always without a marker."""
    function, seen = pkgutil.resolve_name(factory)(*arguments), 0

    def run(work: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == item and (marker is None or not marker.exists()):
            if marker is not None:
                marker.touch()
            os._exit(1)
        return function(work)

    return run
