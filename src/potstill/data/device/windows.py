"""The training data set whose batches are made on the device.

Shapes: B windows, C context, H horizon, F covariates known ahead, L = C + H steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from potstill.data.device.draws import Draws
from potstill.data.device.groups import Groups, columns, driven, latent
from potstill.data.device.pool import SyntheticPool
from potstill.data.device.series import Drawn, ResidentSeries
from potstill.data.device.singles import Shares, draw_singles
from potstill.data.device.values import remove_useless_futures, remove_values
from potstill.data.series.windows import SeriesWindows
from potstill.errors import UserError
from potstill.recipe import SeriesData
from potstill.types import Windows

#: the kinds of group that are made from windows of any kind
MADE = {"driven": driven, "latent": latent}


class DeviceSource:
    """Everything that batches are made from: a pool of synthetic series, and real series, both on the device.

    It is created once per run, and its data sets share it.

    Parameters
    ----------
    windows
        The real training windows; of them only the store and the bounds of the training part are used.
    data
        Shares, and the settings in ``data.device``.
    seed
        The run's seed.
    device
        Such as ``cpu`` or ``cuda:1``.
    """

    def __init__(self, windows: SeriesWindows, data: SeriesData, seed: int, device: str):
        assert data.device is not None
        self.settings, self.seed, self.device = data.device, seed, device
        self.shares = Shares(data.synthetic, data.augmented)
        self.contexts = dict(self.settings.contexts) or {data.context_length: 1.0}
        self.horizons = dict(self.settings.horizons) or {data.prediction_length: 1.0}
        self.batch_context = self.settings.batch_context or max(self.contexts)
        self.store = windows.store
        groups, self.real = self.settings.groups, None
        if data.synthetic < 1:
            size = max(groups.sizes)
            self.real = ResidentSeries(windows.store, windows.bounds, self.settings.sampling, size, device)
            self.dataset_of = torch.from_numpy(windows.store.dataset_of.astype(np.int64)).to(device)
        self.kinds: Mapping[str, float] = {
            kind: weight
            for kind, weight in groups.kinds.items()
            if kind != "columns" or (self.real is not None and self.real.has_columns)
        }
        length = max(self.contexts) + max(self.horizons)
        self.pool = SyntheticPool(
            self.settings.pool, length, seed, self.settings.workers, self.settings.refresh, device
        )

    def dataset(self, length: int) -> DeviceWindows:
        """A training data set of ``length`` ids."""
        return DeviceWindows(self, length)


class DeviceWindows:
    """Windows made on the device, a batch at a time.

    A batch is determined by the seed, its first id, the number of ids and what the pool then holds; the ids in between
    are not looked at. With ``data.device.refresh: false`` the pool never changes, so that a batch is the same in every
    run on the same kind of device. All windows of a batch have the same context length and horizon. Where the context
    is longer than ``data.device.batch_context``, there are fewer windows than ids.

    Attributes
    ----------
    stores_inputs
        Ids are those of draws, not of real windows.
    on_device
        Batches are already on the device: the data loader needs no worker process and copies nothing.
    """

    stores_inputs = True
    on_device = True

    def __init__(self, source: DeviceSource, length: int):
        self.source, self._length = source, length

    def __len__(self) -> int:
        return self._length

    @property
    def fingerprint(self) -> str:
        """What a label store would know these windows by: there is none, because a window alone has no number.

        Raises
        ------
        UserError
            Always.
        """
        raise UserError(
            "data.device: windows made on the device cannot be labelled in advance; leave data.device out.",
            key="data.device_with_labels",
        )

    def __getitem__(self, index: int) -> Windows:
        return self.batch([index])

    def batch(self, ids: Any) -> Windows:
        """The batch of these ids."""
        source, first, count = self.source, int(ids[0]), len(ids)
        draws = Draws(source.seed, first, source.device)
        context, horizon = draws.choice(source.contexts), draws.choice(source.horizons)
        count = max(1, count * source.batch_context // max(context, source.batch_context))
        source.pool.update()
        if draws.host.random() < source.settings.groups.share:
            return self._grouped(draws, first, count, context, horizon)
        drawn = self._singles(draws, count, context, horizon)
        return self._windows(draws, first, drawn.values, drawn.series, drawn.origin, context)

    __getitems__ = batch  # torch's DataLoader calls this name

    def _singles(self, draws: Draws, count: int, context: int, horizon: int) -> Drawn:
        source = self.source
        return draw_singles(draws, source.pool, source.real, source.shares, count, context, horizon)

    def _grouped(self, draws: Draws, first: int, rows: int, context: int, horizon: int) -> Windows:
        """About ``rows`` rows in groups of one size; they are windows and covariates."""
        size = draws.one_of(self.source.settings.groups.sizes)
        blocks = self._groups(draws, _divided(max(1, rows // size), self.source.kinds), size, context, horizon)
        most = max(block.known for block in blocks)
        parts = [_rows_and_covariates(block, most) for block in blocks]
        rows_, covariates, series, origin = (torch.cat(part) for part in zip(*parts, strict=True))
        sizes = [(len(block.rows), size - block.known) for block in blocks]
        windows = self._windows(draws, first, rows_, series, origin, context)
        windows.group = _group_ids(sizes, first, draws.device)
        windows.future_covariates = covariates if most else None
        return windows

    def _groups(self, draws: Draws, counts: Mapping[str, int], size: int, context: int, horizon: int) -> list[Groups]:
        """Groups of each kind; ``counts`` says how many."""
        made = [kind for kind in counts if kind in MADE]
        base = self._singles(draws, size * sum(counts[kind] for kind in made), context, horizon).values
        base = base[draws.shuffled(len(base))].unflatten(0, (-1, size)) if made else base
        parts = zip(made, base.split([counts[kind] for kind in made]), strict=True)
        blocks = [MADE[kind](draws, part) for kind, part in parts]
        if count := counts.get("columns", 0):
            assert self.source.real is not None
            blocks.append(columns(draws, self.source.real.columns(draws, count, size, context, horizon), count))
        return blocks

    def _windows(self, draws: Draws, first: int, rows: Tensor, series: Tensor, origin: Tensor, context: int) -> Windows:
        known = remove_values(draws, rows[:, :context])
        return Windows(
            context=known,
            future=remove_useless_futures(known, rows[:, context:]),
            ids=torch.arange(first, first + len(rows), device=draws.device),
            series=series,
            origin=origin,
            dataset=self._datasets(series),
        )

    def _datasets(self, series: Tensor) -> Tensor:
        if self.source.real is None:
            return torch.full_like(series, -1)
        return torch.where(series < 0, -1, self.source.dataset_of[series.clamp(min=0)])


def _divided(groups: int, kinds: Mapping[str, float]) -> dict[str, int]:
    """Divide a number of groups among the kinds; those that get none are left out."""
    total = sum(kinds.values())
    bounds = [round(groups * share / total) for share in np.cumsum(list(kinds.values()))]
    counts = dict(zip(kinds, np.diff([0, *bounds]).tolist(), strict=True))
    return {kind: count for kind, count in counts.items() if count}


def _rows_and_covariates(block: Groups, most: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The windows ``[B, L]`` of groups, their covariates ``[B, most, L]`` (NaN where there are fewer), their places."""
    targets = block.rows.shape[1] - block.known
    covariates = block.rows[:, targets:]
    covariates = torch.nn.functional.pad(covariates, (0, 0, 0, most - block.known), value=torch.nan)
    return (
        block.rows[:, :targets].flatten(0, 1),
        covariates.repeat_interleave(targets, dim=0),
        block.series[:, :targets].flatten(),
        block.origin[:, :targets].flatten(),
    )


def _group_ids(sizes: list[tuple[int, int]], first: int, device: torch.device) -> Tensor:
    """A number per group, repeated for its windows; ``sizes`` lists groups and windows per group.

    They begin at the batch's first id: equal numbers in every batch would be labelled, or not, in every batch.
    """
    ids, begin = [], first
    for groups, windows in sizes:
        ids.append(torch.arange(begin, begin + groups, device=device).repeat_interleave(windows))
        begin += groups
    return torch.cat(ids)
