"""Prepared data in the cache: opened where they are, else built there once, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from potstill.errors import UserError
from potstill.runs import write_folder

Found = TypeVar("Found")
_TRIES = 2  # another process may be putting the same in place


def cache_folder(cache: Path | None) -> Path:
    """The folder asked for, ``$POTSTILL_CACHE``, or ``~/.cache/potstill/stores``."""
    chosen = cache or os.environ.get("POTSTILL_CACHE") or Path("~/.cache/potstill/stores")
    try:
        return Path(chosen).expanduser()
    except RuntimeError:
        raise UserError("There is no home directory for prepared data; set POTSTILL_CACHE to a folder.") from None


def open_or_build(
    cache: Path, fingerprint: str, opened: Callable[[Path], Found | None], build: Callable[[Path], Any]
) -> Found:
    """What lies under a fingerprint; built first where ``opened`` finds nothing, though others may do so meanwhile.

    Raises
    ------
    UserError
        Where the cache cannot be written.
    """
    folder = cache / fingerprint[:32]
    reason: object = "it vanishes as soon as it is made"
    for _ in range(_TRIES):
        found = opened(folder)
        if found is not None:
            return found
        try:
            cache.mkdir(parents=True, exist_ok=True)
            write_folder(folder, build)
        except OSError as error:
            reason = error.strerror or error
    found = opened(folder)
    if found is not None:
        return found
    raise UserError(
        f"{cache}: the prepared data cannot be written there ({reason}); set POTSTILL_CACHE to a folder with space."
    )
