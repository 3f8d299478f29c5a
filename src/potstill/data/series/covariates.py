"""Covariates of the series of a store: columns of their table that help to forecast them.

Shapes: S series, K covariates (past-only ones first), C context steps, H horizon steps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from potstill.types import Windows

FILE, ROWS_FILE, INDEX_FILE = "covariates.f32", "covariate_rows.npy", "covariates.json"
_SMOOTHING = 1.0  # weight of the mean of all categories, as in chronos-forecasting's target encoding


class CovariateNames(NamedTuple):
    """Columns that are covariates: ``past`` ones are known up to the forecast origin, ``known`` ones beyond it."""

    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.past) + len(self.known)

    @property
    def all(self) -> tuple[str, ...]:
        """Past-only ones first."""
        return (*self.past, *self.known)


@dataclass
class Covariates:
    """All covariates of a store, memory-mapped: a block ``[K, L]`` per series, with L rows from its first row on.

    Attributes
    ----------
    names
        Their columns.
    values
        Flat float32 memory map; NaN is missing. Text has the number of its category.
    rows
        ``[S]`` int64: L, which may go beyond the last target.
    categories
        By column of text, the number of its categories; empty cells are one of them.
    """

    names: CovariateNames
    values: np.ndarray
    rows: np.ndarray
    categories: dict[str, int]

    @classmethod
    def load(cls, folder: Path) -> Covariates | None:
        """The covariates of a store's folder; None if it has none."""
        if not (folder / INDEX_FILE).exists():
            return None
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        rows = np.load(folder / ROWS_FILE, allow_pickle=False)
        names = CovariateNames(tuple(index["past"]), tuple(index["known"]))
        values = np.memmap(folder / FILE, dtype=np.float32, mode="r")
        if len(values) != rows.sum() * len(names):
            raise ValueError(f"{folder}: incomplete store")
        return cls(names, values, rows, index["categories"])

    def block(self, i: int) -> np.ndarray:
        """``[K, L]`` of series i."""
        first = int(self._offsets[i])
        return self.values[first : first + len(self.names) * int(self.rows[i])].reshape(len(self.names), -1)

    def attach(self, windows: Windows) -> Windows:
        """The windows of real series with their covariates; windows without a series have NaN.

        Text is encoded per window by the mean target of its category in the context, shrunk towards the mean of the
        context, as in chronos-forecasting (where this is computed per series).
        """
        from dataclasses import replace

        import torch

        context, horizon = windows.context.shape[1], windows.future.shape[1]
        series, origin = windows.series.numpy(), windows.origin.numpy()
        found = self._gather(series, origin, context, horizon)
        targets = windows.context.numpy()
        for place, name in enumerate(self.names.all):
            if name in self.categories:
                found[:, place] = encode(found[:, place], targets, self.categories[name])
        past, known = np.split(found, [len(self.names.past)], axis=1)
        return replace(
            windows,
            past_covariates=torch.from_numpy(past[..., :context].copy()) if self.names.past else None,
            future_covariates=torch.from_numpy(known.copy()) if self.names.known else None,
        )

    def _gather(self, series: np.ndarray, origin: np.ndarray, context: int, horizon: int) -> np.ndarray:
        """``[B, K, C + H]``, NaN outside of the rows."""
        found = np.full((len(series), len(self.names), context + horizon), np.nan, np.float32)
        for place, (i, at) in enumerate(zip(series.tolist(), origin.tolist(), strict=True)):
            if i >= 0:
                low, high = max(at - context, 0), min(at + horizon, int(self.rows[i]))
                found[place, :, low - at + context : high - at + context] = self.block(i)[:, low:high]
        return found

    @cached_property
    def _offsets(self) -> np.ndarray:
        """``[S + 1]`` where the block of each series begins."""
        return np.concatenate([[0], np.cumsum(self.rows * len(self.names))])


class CovariateWriter:
    """Writes the covariates of a store that is being built, as a context manager; nothing if there are none."""

    def __init__(self, folder: Path, names: CovariateNames):
        self.folder, self.names = folder, names
        self.rows: list[int] = []
        self.categories: dict[str, int] = {}
        self.found: set[str] = set()
        self.out = (folder / FILE).open("wb") if len(names) else None

    def __enter__(self) -> CovariateWriter:
        return self

    def add(self, block: np.ndarray) -> None:
        """Append ``[K, L]`` of the next series."""
        assert self.out is not None
        self.rows.append(block.shape[1])
        self.out.write(np.ascontiguousarray(block, dtype=np.float32).tobytes())

    def note(self, found: Sequence[str], categories: dict[str, int]) -> None:
        """A file has these columns, and these numbers of categories; equal text has different numbers in two files."""
        self.found.update(found)
        for column, count in categories.items():
            self.categories[column] = max(count, self.categories.get(column, 0))

    def __exit__(self, *error: object) -> None:
        """Close the file and write the index."""
        if self.out is None:
            return
        self.out.close()
        np.save(self.folder / ROWS_FILE, np.array(self.rows, np.int64), allow_pickle=False)
        index = {"past": self.names.past, "known": self.names.known, "categories": self.categories}
        (self.folder / INDEX_FILE).write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")


def encode(codes: np.ndarray, target: np.ndarray, categories: int) -> np.ndarray:
    """Mean target of each step's category, shrunk towards the mean of the context (target encoding).

    Parameters
    ----------
    codes
        ``[B, C + H]`` numbers of categories, NaN outside of the table.
    target
        ``[B, C]`` contexts.
    categories
        Their number N.

    Returns
    -------
    ``[B, C + H]`` float32; NaN where the code is missing, or the context has no value at all. A category that does not
    occur in the context has the mean of the context.
    """
    missing = np.isnan(codes)
    place = np.where(missing, categories, codes).astype(np.int64) + np.arange(len(codes))[:, None] * (categories + 1)
    inside = place[:, : target.shape[1]]
    known = np.isfinite(target)
    size = len(codes) * (categories + 1)
    sums = np.bincount(inside[known], target[known], size).reshape(len(codes), -1)
    counts = np.bincount(inside[known], minlength=size).reshape(len(codes), -1)
    seen = known.sum(axis=1)
    mean = np.divide(np.where(known, target, 0).sum(axis=1), seen, out=np.full(len(seen), np.nan), where=seen > 0)
    means = (sums + _SMOOTHING * mean[:, None]) / (counts + _SMOOTHING)
    return np.where(missing, np.nan, means.reshape(-1)[place]).astype(np.float32)


def codes_of(cells: Sequence[str | None], known: dict[str | None, int]) -> np.ndarray:
    """Numbers of the categories of text cells; empty cells are one category. New ones are added to ``known``."""
    return np.array([known.setdefault(cell, len(known)) for cell in cells], np.float32)
