"""A forecaster of sktime, for single series, several variables, panels and hierarchies.

Shapes: D variables, T steps of an instance, H steps ahead, F covariates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from potstill.adapters.base import missing_library, predictor_of, uses_covariates, warn_unused
from potstill.adapters.items import Item, ItemForecaster

try:
    from sktime.datatypes import update_data
    from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
except ImportError as error:
    raise missing_library("sktime", error) from None

MEDIAN = 0.5


class PotstillForecaster(BaseForecaster):
    """Any model of Potstill as a forecaster of sktime.

    The model is not trained: ``fit`` and ``update`` keep the data that it forecasts from. ``predict`` gives the median.
    The variables of an instance are forecast together if the model can do that. ``X`` is known ahead; a model that
    cannot use covariates ignores it with a warning.

    Parameters
    ----------
    model
        MODEL as in the verbs, or a loaded forecaster.
    device
        Such as ``cpu`` or ``cuda:1``; default: a GPU if there is one.

    Examples
    --------
    >>> from potstill.adapters.sktime import PotstillForecaster
    >>> from sktime.datasets import load_airline
    >>> forecaster = PotstillForecaster("embedded").fit(load_airline())  # doctest: +SKIP
    >>> forecaster.predict_interval(fh=[1, 2, 3], coverage=0.8)  # doctest: +SKIP
    """

    _tags = {  # noqa: RUF012 -- sktime reads a plain class attribute
        "authors": ["potstill"],
        "y_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:categorical_in_X": False,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": True,
        "capability:update": True,
        "requires-fh-in-fit": False,
        "python_dependencies": ["potstill"],
    }
    _config = {"remember_data": False}  # noqa: RUF012 -- kept here instead, for update

    def __init__(self, model: Any = "embedded", device: str | None = None):
        self.model = model
        self.device = device
        super().__init__()

    def __getstate__(self) -> dict[str, Any]:
        """The state without a model that was loaded from its place; it is loaded again where it is needed."""
        state = self.__dict__.copy()
        state.pop("_predictor", None)
        return state

    def _fit(self, y: Any, X: Any = None, fh: Any = None) -> PotstillForecaster:
        self._history, self._covariates = y, X
        self._load()
        return self

    def _update(self, y: Any, X: Any = None, update_params: bool = True) -> PotstillForecaster:
        self._history: Any = update_data(self._history, y)
        if X is not None:
            self._covariates: Any = X if self._covariates is None else update_data(self._covariates, X)
        return self

    def _predict(self, fh: Any, X: Any = None) -> Any:
        found = self._quantiles(fh, X, [MEDIAN])  # [N, D, Q, H]
        return self._frame(found[:, :, 0], fh, self._history.columns)

    def _predict_quantiles(self, fh: Any, X: Any, alpha: Sequence[float]) -> Any:
        alpha = list(alpha)
        found = self._quantiles(fh, X, alpha)
        columns = self._get_columns("predict_quantiles", alpha=alpha)
        return self._frame(found.reshape(len(found), -1, found.shape[-1]), fh, columns)

    def _load(self) -> Any:
        if not hasattr(self, "_predictor"):
            self._predictor = predictor_of(self.model, self.device)
        return self._predictor

    def _quantiles(self, fh: Any, X: Any, levels: Sequence[float]) -> np.ndarray:
        """``[N, D, Q, H]`` at the levels in their order and the steps of the horizon."""
        steps = self._steps(fh)
        horizon = int(steps.max())
        forecaster = ItemForecaster(self._load(), horizon, levels)
        items = self._items(X, horizon)
        at = [forecaster.levels.index(level) for level in levels]
        return forecaster.forecast(items).quantiles[:, :, at][..., steps - 1]

    def _steps(self, fh: Any) -> np.ndarray:
        return np.asarray(fh.to_relative(self.cutoff).to_numpy(), np.int64)

    def _items(self, X: Any, horizon: int) -> list[Item]:
        used = self._covariates is not None and uses_covariates(self._load())
        if self._covariates is not None and not used:
            warn_unused(self._load(), [str(name) for name in self._covariates.columns])
        ahead = {} if X is None or not used else dict(_instances(X))
        past = {} if not used else dict(_instances(self._covariates))
        items = []
        for name, rows in _instances(self._history):
            item = Item(str(name), rows.to_numpy(np.float64).T)
            if used:
                self._cover(item, rows, past[name], ahead.get(name), horizon)
            items.append(item)
        return items

    def _cover(self, item: Item, rows: Any, past: Any, ahead: Any, horizon: int) -> None:
        """Add the covariates of an instance: known ahead where X has them, missing in steps that X leaves out."""
        history = past.reindex(rows.index).to_numpy(np.float64)
        times = ForecastingHorizon(np.arange(1, horizon + 1), freq=self._fh.freq if self._fh is not None else None)
        index = times.to_absolute_index(self.cutoff)
        both = past if ahead is None else pd.concat([past[~past.index.isin(ahead.index)], ahead])
        future = both.reindex(index)[past.columns].to_numpy(np.float64)
        if np.isnan(future).all():
            item.past = history.T
        else:
            item.known = np.concatenate([history, future]).T

    def _frame(self, values: np.ndarray, fh: Any, columns: Any) -> Any:
        """``values [N, K, H]`` with a row for each instance and step."""
        times = fh.to_absolute_index(self.cutoff)
        names = [name for name, _ in _instances(self._history)]
        if self._history.index.nlevels == 1:
            index = times
        else:
            keys = [name if isinstance(name, tuple) else (name,) for name in names]
            index = pd.MultiIndex.from_tuples(
                [(*key, time) for key in keys for time in times], names=self._history.index.names
            )
        return pd.DataFrame(values.transpose(0, 2, 1).reshape(-1, values.shape[1]), index=index, columns=columns)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Parameters for sktime's own tests."""
        return [{"model": "embedded"}, {"model": "embedded", "device": "cpu"}]


def _instances(frame: Any) -> list[tuple[Any, Any]]:
    """Each instance of a panel or hierarchy with its rows, or the one series, named ``series``."""
    if frame is None:
        return []
    levels = frame.index.nlevels - 1
    if not levels:
        return [("series", frame)]
    keys = list(range(levels)) if levels > 1 else 0
    return [(name, rows.droplevel(list(range(levels)))) for name, rows in frame.groupby(level=keys, sort=False)]
