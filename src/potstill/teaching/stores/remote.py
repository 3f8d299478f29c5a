"""A label store behind a URL: each shard is copied into the cache when one of its rows is first read.

Shards are verified there like those of a local store. Any number of runs can read one store, and share the copies if
they run on one machine.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from potstill.data.cache import cache_folder
from potstill.errors import UserError
from potstill.remote.copies import fetch, listing
from potstill.remote.urls import is_url
from potstill.teaching.stores.manifest import MANIFEST_FILE
from potstill.teaching.stores.timing import TIMING_FILE


def local_folder(place: str | Path) -> Path:
    """The folder of a store on this machine: for a URL one in the cache, with the manifest and times of the store.

    Raises
    ------
    UserError
        If there is no store at the URL, or it cannot be read.
    """
    if not is_url(place):
        return Path(place)
    url = str(place).rstrip("/")
    # by its URL alone: shards that belong to other labels, written there later, are found by their key and copied again
    folder = cache_folder(None) / "labels" / hashlib.sha256(url.encode()).hexdigest()[:32]
    try:
        fetch(f"{url}/{MANIFEST_FILE}", folder / MANIFEST_FILE)
    except FileNotFoundError:
        raise UserError(
            f"{url}: holds no labels (no {MANIFEST_FILE}); copy a label store there.", key="labels.no_store"
        ) from None
    try:
        fetch(f"{url}/{TIMING_FILE}", folder / TIMING_FILE)
    except FileNotFoundError:
        (folder / TIMING_FILE).unlink(missing_ok=True)
    return folder


def shard_names(url: str) -> list[str]:
    """The names of the shards behind a URL."""
    try:
        return [file.name for file in listing(url, lambda name: name.startswith("shard-"))]
    except FileNotFoundError:
        return []
