"""Functions for all engines that write a store: begin it, find unfinished shards, write a shard.

A shard holds the rows ``[k · shard_rows, (k + 1) · shard_rows)`` of the data set, whichever process writes it. Writing
is atomic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from torch import Tensor

from potstill.errors import UserError
from potstill.teaching.stores.base import LabelStore
from potstill.teaching.stores.manifest import MANIFEST_FILE, Manifest
from potstill.teaching.stores.shards import write_shard
from potstill.teaching.stores.timing import ShardTiming

STALE_SECONDS = 3600

#: labels shards in other processes: receives the row ids of each shard, and gives those of each finished one
Distribute = Callable[[list[range]], Iterable[range]]


def check_folder(folder: Path) -> set[str]:
    """Create a folder if it does not exist; returns the names in it.

    Raises
    ------
    UserError
        If it cannot be written, or is not empty and holds no label store.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); choose another --output.", key="output.not_writable"
        ) from None
    if entries and MANIFEST_FILE not in entries:
        raise UserError(
            f"{folder}: exists and holds no labels; choose another --output.", key="output.not_a_label_store"
        )
    return entries


def begin_store(folder: Path, describe: Callable[[], Manifest]) -> None:
    """Write the manifest of a new store; a folder that has one is not changed."""
    if MANIFEST_FILE in check_folder(folder):
        return
    manifest = describe()
    if MANIFEST_FILE not in check_folder(folder):  # another process may have written it in the meantime
        manifest.write(folder)


def unfinished(store: LabelStore, first: int, stop: int, total: int) -> tuple[list[range], int]:
    """Shards to write, for the rows ``first … stop`` of ``total``, widened to whole shards.

    Returns
    -------
    tuple
        The row ids of each shard that is missing, invalid or too short, and the number of rows in the other shards.
    """
    size = store.manifest.shard_rows
    shards = [range(k * size, min((k + 1) * size, total)) for k in range(first // size, -(-stop // size))]
    todo = [ids for ids in shards if not store.finished(ids.start // size, len(ids))]
    return todo, sum(map(len, shards)) - sum(map(len, todo))


def write_rows(store: LabelStore, ids: range, tensors: Mapping[str, Tensor], seconds: float) -> None:
    """Write the shard of the rows ``ids``, and the seconds that labelling them took.

    Raises
    ------
    UserError
        If the disk is full or not writable.
    """
    index = ids.start // store.manifest.shard_rows
    path = store.path(index)
    _remove_stale(path)
    try:
        # before the shard: after a kill in between, the shard is labelled again and its last line counts
        ShardTiming(index, len(ids), seconds).append(store.folder)
        write_shard(path, store.manifest.key, dict(tensors))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free some space and run the same command again:"
            " finished shards are kept.",
            key="output.not_writable",
        ) from None


def _remove_stale(path: Path) -> None:
    """Remove temporary files of a shard left by a kill; a recent one may belong to another process."""
    for left_over in path.parent.glob(f".{path.name}.*"):
        if time.time() - left_over.stat().st_mtime > STALE_SECONDS:
            left_over.unlink(missing_ok=True)
