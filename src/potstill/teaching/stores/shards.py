"""One shard of labels: a safetensors file for a fixed range of row ids, with a checksum over its content.

safetensors is mapped into memory without keeping a file descriptor open (a store of ten thousand shards would exceed
the limit), contains no code, and is a common format.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from potstill.errors import UserError
from potstill.runs import write_atomically


class TornShard(UserError):
    """A shard file is truncated, altered or belongs to another store; labelling again replaces it."""

    key = "labels.torn_shard"


@dataclass(frozen=True)
class Shard:
    """The content of one shard as memory-mapped arrays by name.

    Attributes
    ----------
    arrays
        ``[n, …]`` each.
    extra
        Names of the optional arrays among them.
    """

    arrays: dict[str, np.ndarray]
    extra: tuple[str, ...] = ()


def shard_path(folder: Path, index: int) -> Path:
    """The path of shard ``index`` of a store."""
    return folder / f"shard-{index:08d}.safetensors"


def write_shard(path: Path, key: str, tensors: dict[str, Tensor]) -> None:
    """Write a shard to a temporary file and rename it; ``key`` is the store's, ``tensors`` are ``[n, …]`` by name."""
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    checksum = _checksum(key, path.name, {name: tensor.numpy() for name, tensor in tensors.items()})
    # One entry: with several, safetensors writes them in random order and equal shards would differ.
    write_atomically(path, save(tensors, metadata={"labels": f"{key} {checksum}"}))


def count_rows(path: Path, name: str) -> int:
    """Rows of one of a shard's tensors from the header alone (not verified); 0 if the file is missing or truncated."""
    try:
        with safe_open(path, "pt") as file:
            return file.get_slice(name).get_shape()[0]
    except (SafetensorError, OSError):
        return 0


def read_shard(path: Path, key: str, names: Collection[str], optional: Collection[str] = ()) -> Shard:
    """Map a shard into memory and verify its checksum (about 5 ms for 8 MB).

    Parameters
    ----------
    path
        The file.
    key
        The store's.
    names, optional
        Required and optional arrays.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TornShard
        If the file is truncated or altered, or belongs to other labels.
    """
    try:
        with safe_open(path, "pt") as file:
            found_key, _, checksum = (file.metadata() or {}).get("labels", "").partition(" ")
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise TornShard(_remedy(path, f"is truncated or unreadable ({error})")) from None
    if checksum != _checksum(found_key, path.name, arrays):
        raise TornShard(_remedy(path, "is corrupt (its checksum does not match)"))
    extra = tuple(sorted(set(arrays) - set(names)))
    if found_key != key or not set(arrays) >= set(names) or not set(extra) <= set(optional):
        raise TornShard(_remedy(path, "belongs to other labels (another teacher or other data)"))
    _read_at_random(arrays)
    return Shard(arrays, extra)


def _read_at_random(arrays: dict[str, np.ndarray]) -> None:
    """Tell the kernel that rows are read in random order.

    Otherwise it reads up to megabytes around each row of 4 KB if a store is larger than memory.
    """
    advice = getattr(mmap, "MADV_RANDOM", None)
    if advice is None:
        return
    begin = min(array.ctypes.data for array in arrays.values()) // mmap.PAGESIZE * mmap.PAGESIZE
    end = max(array.ctypes.data + array.nbytes for array in arrays.values())
    ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), advice)


def _remedy(path: Path, trouble: str) -> str:
    return (
        f"{path}: {trouble}; run again the `potstill label` command that made {path.parent}:"
        " it replaces this shard and keeps the others."
    )


def _checksum(key: str, name: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(f"{key} {name}".encode())
    for field in sorted(arrays):
        array = arrays[field]
        digest.update(f"{field} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
