"""Arrow's compute functions are made when pyarrow is imported: type checkers do not know them."""

from __future__ import annotations

from typing import Any


def arrow_functions() -> Any:
    """The module ``pyarrow.compute``, imported where it is first used."""
    import pyarrow.compute

    return pyarrow.compute
