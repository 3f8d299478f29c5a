"""One shard of labels: a safetensors file for a fixed range of window ids, with a checksum over its content.

safetensors because it is mapped into memory without holding a file descriptor (a store of ten thousand shards would
run out of them), holds no code, and is read by everybody's tools.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from potstill.errors import UserError
from potstill.runs import write_atomically

LABELS = {"values": torch.float16, "loc": torch.float64, "scale": torch.float64}
INPUTS = {"context": torch.float32, "future": torch.float32, "series": torch.int64, "origin": torch.int64}


class TornShard(UserError):
    """A shard file that is truncated, altered or not of this store; labelling again replaces it."""


@dataclass(frozen=True)
class Shard:
    """The rows of one shard as memory-mapped arrays ``[n, …]`` by name; row r is window ``start + r``."""

    arrays: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.arrays["values"])


def shard_path(folder: Path, index: int) -> Path:
    """Where shard ``index`` of a store lies."""
    return folder / f"shard-{index:08d}.safetensors"


def write_shard(path: Path, key: str, tensors: dict[str, Tensor]) -> None:
    """Write a shard aside and rename it into place; ``key`` is the store's, ``tensors`` are ``[n, …]`` by name."""
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    checksum = _checksum(key, path.name, {name: tensor.numpy() for name, tensor in tensors.items()})
    # One entry: with several, safetensors writes them in random order and equal shards would differ.
    write_atomically(path, save(tensors, metadata={"labels": f"{key} {checksum}"}))


def count_rows(path: Path, name: str = "values") -> int:
    """Rows of one of a shard's tensors by its header alone (not verified); 0 where it is missing or torn."""
    try:
        with safe_open(path, "pt") as file:
            return file.get_slice(name).get_shape()[0]
    except (SafetensorError, OSError):
        return 0


def read_shard(path: Path, key: str, names: tuple[str, ...]) -> Shard:
    """Map a shard into memory and verify its checksum (about 5 ms for 8 MB).

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    TornShard
        Where the file is truncated, its bytes changed, or it belongs to other labels.
    """
    try:
        with safe_open(path, "pt") as file:
            found_key, _, checksum = (file.metadata() or {}).get("labels", "").partition(" ")
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise TornShard(_remedy(path, f"is torn or unreadable ({error})")) from None
    if checksum != _checksum(found_key, path.name, arrays):
        raise TornShard(_remedy(path, "is corrupt (its checksum disagrees)"))
    if found_key != key or set(arrays) != set(names):
        raise TornShard(_remedy(path, "belongs to other labels (another teacher or other data)"))
    _read_at_random(arrays)
    return Shard(arrays)


def _read_at_random(arrays: dict[str, np.ndarray]) -> None:
    """Tell the kernel that rows are read here and there.

    Otherwise it reads up to megabytes around each row of 4 KB once a store is larger than memory.
    """
    advice = getattr(mmap, "MADV_RANDOM", None)
    if advice is None:
        return
    begin = min(array.ctypes.data for array in arrays.values()) // mmap.PAGESIZE * mmap.PAGESIZE
    end = max(array.ctypes.data + array.nbytes for array in arrays.values())
    ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), advice)


def _remedy(path: Path, trouble: str) -> str:
    return (
        f"{path}: {trouble}; run the `potstill label` command that made {path.parent} again:"
        " it makes this shard anew and keeps the others."
    )


def _checksum(key: str, name: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(f"{key} {name}".encode())
    for field in sorted(arrays):
        array = arrays[field]
        digest.update(f"{field} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
