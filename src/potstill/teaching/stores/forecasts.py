"""A teacher's stored forecasts by window id, mapped into memory and gathered for a batch.

Shapes: B windows, Q quantile levels, H horizon steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from potstill.errors import UserError
from potstill.remote.urls import is_url
from potstill.teaching.stores.base import LabelStore
from potstill.teaching.stores.gather import Places, gather, gather_padded, widen
from potstill.teaching.stores.manifest import LabelSource, Manifest
from potstill.teaching.stores.remote import local_folder
from potstill.types import Forecast, Windows

if TYPE_CHECKING:
    from torch import Tensor

    from potstill.families.base import Forecaster

#: arrays of a shard and their types: the labels, and the windows if the store keeps them
LABEL_TYPES = {"values": torch.float16, "loc": torch.float64, "scale": torch.float64}
INPUT_TYPES = {"context": torch.float32, "future": torch.float32, "series": torch.int64, "origin": torch.int64}
LABEL_SHARE = "label_share"  # a setting of the manifest
BACKTEST = "backtest"  # an array of shards, and the setting of a manifest that says of how many steps it is
#: optional arrays of windows
OPTIONAL_INPUT_TYPES = {
    "dataset": torch.int64,
    "group": torch.int64,
    "past_covariates": torch.float32,
    "future_covariates": torch.float32,
}


class ForecastStore(LabelStore):
    """Forecasts of one teacher for one data set; made by :func:`potstill.teaching.engines.forecasts.label_forecasts`.

    See :class:`potstill.teaching.stores.base.LabelStore`.
    """

    kind = "forecasts"
    counted = "values"

    def __init__(self, folder: Path, manifest: Manifest, url: str = ""):
        super().__init__(folder, manifest, url)
        self._levels = torch.tensor(manifest.settings["levels"], dtype=torch.float32)
        self._arcsinh = bool(manifest.settings["arcsinh"])
        self._latest: tuple[bytes, Places] | None = None

    @classmethod
    def open(
        cls,
        folder: str | Path,
        dataset: LabelSource | None = None,
        forecaster: Forecaster | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> ForecastStore:
        """Open a store and check that it belongs to ``dataset`` and ``forecaster``, if given.

        ``settings`` describes ``dataset``, in the form of the ``provenance`` of ``label_forecasts``; a message names
        what differs.

        Raises
        ------
        UserError
            If there is no store, or it belongs to another teacher, other data or lengths (the message says which).
        """
        local, url = local_folder(folder), str(folder).rstrip("/") if is_url(folder) else ""
        manifest = Manifest.read(local, cls.kind)
        if dataset is not None:
            manifest.check_settings(folder, lengths(dataset.batch(np.zeros(1, np.int64))))
            manifest.check_dataset(folder, dataset, settings)
        if forecaster is not None:
            manifest.check_teacher(folder, forecaster)
            manifest.check_settings(folder, {"levels": levels(forecaster)})
        return cls(local, manifest, url)

    @property
    def names(self) -> tuple[str, ...]:
        """Arrays that every shard holds."""
        backtest = (BACKTEST,) if self.backtest_steps else ()
        return (*LABEL_TYPES, *backtest, *(INPUT_TYPES if self.stores_inputs else ()))

    @property
    def optional(self) -> tuple[str, ...]:
        """Arrays that a shard may hold."""
        return tuple(OPTIONAL_INPUT_TYPES) if self.stores_inputs else ()

    @property
    def backtest_steps(self) -> int:
        """Steps of the teacher's backtest that the labels hold; 0 if they hold none."""
        return self.manifest.settings.get(BACKTEST, 0)

    @property
    def label_share(self) -> float:
        """Share of the windows that have labels; the values of the others are NaN."""
        return self.manifest.settings.get(LABEL_SHARE, 1.0)

    @property
    def stores_inputs(self) -> bool:
        """Whether shards hold the windows in addition to the labels, so that the store alone is enough."""
        return self.manifest.stores_inputs

    def forecast(self, ids: Any) -> Forecast:
        """The teacher's forecasts of the windows ``ids [B]``: values ``[B, Q, H]`` float32, in the order of ``ids``.

        Raises
        ------
        UserError
            If windows have no labels, or a shard is corrupt (the message names the file).
        """
        places = self._places(_as_ids(ids))
        values, loc, scale = (gather(places, name) for name in ("values", "loc", "scale"))
        return Forecast(self._levels, widen(values), loc, scale, self._arcsinh)

    def backtest(self, ids: Any) -> Tensor | None:
        """The teacher's backtest of the windows ``ids [B]``, see ``Output.backtest``; None if the store has none."""
        return gather(self._places(_as_ids(ids)), BACKTEST) if self.backtest_steps else None

    def check_backtest(self, steps: int) -> None:
        """Raise UserError unless the labels hold a backtest of ``steps`` steps, or none is needed (0)."""
        if steps not in (0, self.backtest_steps):
            held = f"a backtest of {self.backtest_steps} steps" if self.backtest_steps else "no backtest"
            raise UserError(
                f"{self.place}: holds {held} of the teacher, objective.gate needs one of {steps} steps; label into a"
                " new folder with the same objective.gate, or leave objective.gate out.",
                key="labels.other_backtest",
            )

    def check_share(self, share: float) -> None:
        """Raise UserError unless the labels are those of this share of the windows."""
        if share != self.label_share:
            raise UserError(
                f"{self.place}: holds labels of {self.label_share:.0%} of the windows, this run labels {share:.0%};"
                f" write data.label_share: {self.label_share:g}, or label into a new folder.",
                key="labels.other_share",
            )

    def windows(self, ids: Any) -> Windows:
        """The windows ``ids [B]``, read from the store alone; needs ``stores_inputs``.

        If windows of a batch have different numbers of covariates, missing ones are NaN rows.

        Raises
        ------
        UserError
            As ``forecast``, and if the store keeps no inputs.
        """
        if not self.stores_inputs:
            raise UserError(
                f"{self.place}: holds labels without inputs; read its windows from the data.",
                key="labels.without_inputs",
            )
        ids = _as_ids(ids)
        places = self._places(ids)
        inputs: dict[str, Any] = {name: gather(places, name) for name in INPUT_TYPES}
        for name in {name for shard in places.shards for name in shard.extra}:
            inputs[name] = gather_padded(places, name, _fill(name, ids))
        return Windows(**inputs, ids=torch.from_numpy(ids))

    def _label_info(self) -> dict[str, Any]:
        settings = self.manifest.settings
        return {
            "levels": tuple(round(level, 6) for level in settings["levels"]),
            "max_context": settings["context_length"],
            "max_horizon": settings["prediction_length"],
            # labels exist for the windows that were labelled, with or without groups and covariates
            "group_signals": frozenset({"forecast"}),
        }

    def _places(self, ids: np.ndarray) -> Places:
        # a batch reads its windows and then its labels with the same ids
        latest, key = self._latest, ids.tobytes()
        if latest is not None and latest[0] == key:
            return latest[1]
        places = self._find(ids)
        self._latest = key, places
        return places

    def _find(self, ids: np.ndarray) -> Places:
        indices, rows = np.divmod(ids, self.manifest.shard_rows)
        touched, which = np.unique(indices, return_inverse=True)
        shards = [self._shard(index) for index in touched.tolist()]
        sizes = np.array([0 if shard is None else len(shard.arrays[self.counted]) for shard in shards])
        missing = np.flatnonzero(rows >= sizes[which]) if shards else []
        if len(missing):
            raise UserError(
                f"{self.place}: {len(missing)} of {len(ids)} requested windows have no labels (the first is window"
                f" {ids[missing[0]]}); label the rest with `potstill label --output {self.place}` and the same"
                " options.",
                key="labels.missing",
            )
        return Places(shards, which.tolist(), rows.tolist())  # type: ignore[arg-type]  # a missing shard raised above


def lengths(windows: Windows) -> dict[str, int]:
    """Context and prediction length of windows, in steps, as a manifest names them."""
    return {"context_length": windows.context.shape[1], "prediction_length": windows.future.shape[1]}


def levels(forecaster: Forecaster) -> list[float]:
    """A forecaster's quantile levels as a manifest holds them."""
    return [float(level) for level in forecaster.levels]


def _fill(name: str, ids: np.ndarray) -> Any:
    """The fill value of an input that a window does not have: ``[B]``, or one value."""
    if name == "group":
        return -1 - ids  # each window is its own group
    return -1 if name == "dataset" else np.nan


def _as_ids(ids: Any) -> np.ndarray:
    return np.asarray(ids, dtype=np.int64).reshape(-1)
