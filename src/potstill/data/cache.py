"""The cache of prepared data: an entry is opened if it exists, else built once; a failed build leaves nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from potstill.errors import UserError
from potstill.runs import write_folder

Entry = TypeVar("Entry")
_TRIES = 2  # another process may be building the same entry


def cache_folder(cache: Path | None) -> Path:
    """The given folder, ``$POTSTILL_CACHE``, or ``~/.cache/potstill/stores``."""
    chosen = cache or os.environ.get("POTSTILL_CACHE") or Path("~/.cache/potstill/stores")
    try:
        return Path(os.path.expanduser(chosen))
    except RuntimeError:
        raise UserError(
            "There is no home directory for prepared data; set POTSTILL_CACHE to a folder.", key="cache.no_home"
        ) from None


def open_or_build(
    cache: Path, fingerprint: str, load: Callable[[Path], Entry | None], build: Callable[[Path], Any]
) -> Entry:
    """Load the entry of a fingerprint, or build it first if there is none.

    Other processes may build the same entry at the same time.

    Parameters
    ----------
    load
        Reads an entry from its folder; None if the entry is missing or incomplete.
    build
        Writes an entry into an empty folder, which is then moved into place.

    Raises
    ------
    UserError
        The cache cannot be written.
    """
    folder = cache / fingerprint[:32]
    reason: object = "it disappears right after it is written"
    for _ in range(_TRIES):
        entry = load(folder)
        if entry is not None:
            return entry
        try:
            cache.mkdir(parents=True, exist_ok=True)
            write_folder(folder, build)
        except OSError as error:
            reason = error.strerror or error
    entry = load(folder)
    if entry is not None:
        return entry
    raise UserError(
        f"{cache}: cannot write the prepared data ({reason}); set POTSTILL_CACHE to a writable folder with free space.",
        key="cache.not_writable",
    )
