"""The base class of label stores: shards are opened on first use, and can be read while others are still written."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

from potstill.remote.copies import fetch
from potstill.teaching.stores.manifest import Kind, Manifest
from potstill.teaching.stores.remote import shard_names
from potstill.teaching.stores.shards import Shard, TornShard, count_rows, read_shard, shard_path
from potstill.teaching.stores.timing import seconds_per_window
from potstill.types import STORED_FAMILY, ModelInfo


class LabelStore:
    """Labels of one teacher for one data set.

    A shard is opened and verified when one of its rows is first read, and stays mapped. Several threads and forked or
    spawned workers can read a store, also while other processes write shards to it.

    Attributes
    ----------
    folder
        The store on this machine.
    url
        Where shards are copied from when they are first read; empty for a local store.
    kind
        Kind of its manifest.
    counted
        Name of an array that has one entry per row in every shard.
    """

    kind: ClassVar[Kind]
    counted: ClassVar[str]

    def __init__(self, folder: Path, manifest: Manifest, url: str = ""):
        self.folder = folder
        self.manifest = manifest
        self.url = url
        self._shards: dict[int, Shard] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Arrays that every shard holds."""
        raise NotImplementedError

    @property
    def optional(self) -> tuple[str, ...]:
        """Arrays that a shard may hold."""
        return ()

    @property
    def info(self) -> ModelInfo:
        """The teacher, as far as the store knows it."""
        return ModelInfo(
            name=self.manifest.teacher_name,
            family=STORED_FAMILY,
            parameters=0,
            active_parameters=0,
            layers=0,
            width=0,
            heads=0,
            **self._label_info(),
        )

    @property
    def place(self) -> str:
        """Where the store is, for messages."""
        return self.url or str(self.folder)

    def labelled(self) -> int:
        """The number of rows with labels from id 0 without a gap."""
        index, total, full = 0, 0, self.manifest.shard_rows
        if self.url:  # all shards but the last one are full
            names = set(shard_names(self.url))
            while self.path(index + 1).name in names:
                index += 1
            if self.path(index).name not in names:
                return 0
            fetch(f"{self.url}/{self.path(index).name}", self.path(index))  # it may have grown
            shard = self._shard(index)
            return index * full + (len(shard.arrays[self.counted]) if shard is not None else 0)
        while (rows := count_rows(self.path(index), self.counted)) > 0:
            total += rows
            if rows < full:
                break
            index += 1
        return total

    def seconds_per_window(self) -> float:
        """Seconds to label a row; 0 if no times were recorded."""
        return seconds_per_window(self.folder)

    def path(self, index: int) -> Path:
        """The path of a shard."""
        return shard_path(self.folder, index)

    def finished(self, index: int, rows: int) -> bool:
        """Whether a shard exists and is valid, with at least ``rows`` rows; does not keep it open."""
        try:
            return len(self._read(index).arrays[self.counted]) >= rows
        except (FileNotFoundError, TornShard):
            return False

    def _label_info(self) -> dict[str, Any]:
        """Fields of ``info`` that describe the labels."""
        raise NotImplementedError

    def _shard(self, index: int) -> Shard | None:
        """An open shard; None if its file does not exist (yet)."""
        shard = self._shards.get(index)
        if shard is not None or index < 0:
            return shard
        with self._lock:
            if index not in self._shards:
                try:
                    self._shards[index] = self._read(index)
                except FileNotFoundError:
                    return None
            return self._shards[index]

    def _read(self, index: int) -> Shard:
        path = self.path(index)
        if not self.url:
            return read_shard(path, self.manifest.key, self.names, self.optional)
        try:
            return read_shard(path, self.manifest.key, self.names, self.optional)
        except (FileNotFoundError, TornShard):
            fetch(f"{self.url}/{path.name}", path)
        return read_shard(path, self.manifest.key, self.names, self.optional)

    def __getstate__(self) -> dict[str, Any]:
        # open shards and the lock are not pickled
        return {"folder": self.folder, "manifest": self.manifest, "url": self.url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)
