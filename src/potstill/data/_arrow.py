"""Access to pyarrow's compute functions: they are generated at import time, so type checkers cannot see them."""

from __future__ import annotations

from typing import Any


def arrow_functions() -> Any:
    """The module ``pyarrow.compute``, imported at first use because the import is slow."""
    import pyarrow.compute

    return pyarrow.compute
