"""Simple baselines for every report: seasonal naive, closed-form ridge, AutoTheta.

Each is fitted per data set on the training part and returns quantiles ``[N, 9, H]`` at the levels
``metrics.EVALUATION_LEVELS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.errors import UnknownName
from potstill.evaluation.histories import Past
from potstill.evaluation.metrics import EVALUATION_LEVELS
from potstill.types import Windows

if TYPE_CHECKING:
    from potstill.evaluation.ridge import RidgeForecaster

NORMAL_QUANTILES = np.array([NormalDist().inv_cdf(level) for level in EVALUATION_LEVELS])


class Baseline(ABC):
    """A forecaster for one data set; each data set gets a new object."""

    max_windows: int | None = None
    """The maximum number of windows per data set (None: all), for slow methods."""

    def fit(self, train: Any, dataset: str) -> str | None:
        """Fit on the data set's windows of ``train`` (a SeriesWindows); return None, or why it cannot be fitted."""
        return None

    @property
    def parameters(self) -> int:
        """The number of fitted weights."""
        return 0

    one_by_one = False
    """Whether each window takes the same time, however many there are in a batch."""

    @abstractmethod
    def predict(self, windows: Windows, past: Past) -> np.ndarray:
        """Quantiles ``[N, 9, H]`` in the units of the windows, ascending along the levels."""

    def remarks(self) -> dict[str, Any]:
        """Remarks on the fit and the forecasts, for the ``account`` in metrics.json."""
        return {}


class SeasonalNaive(Baseline):
    """Repeats the last season, with normal errors whose variance grows linearly with the number of seasons.

    Their standard deviation is that of the seasonal differences of the whole history, not only of the context.
    """

    def predict(self, windows: Windows, past: Past) -> np.ndarray:
        seasons = np.arange(past.path.shape[1])[None] // past.season[:, None]
        width = past.spread[:, None] * np.sqrt(1 + seasons)
        return past.path[:, None, :] + NORMAL_QUANTILES[None, :, None] * width[:, None, :]


class Ridge(Baseline):
    """A linear model from the standardised context to the horizon; see ``ridge.fit_ridge``."""

    def __init__(self) -> None:
        self.forecaster: RidgeForecaster | None = None

    def fit(self, train: Any, dataset: str) -> str | None:
        from potstill.evaluation.ridge import RIDGE_MAX_WINDOWS, RIDGE_MIN_WINDOWS, fit_ridge

        self.forecaster = fit_ridge(train, train.draw(dataset, RIDGE_MAX_WINDOWS))
        return None if self.forecaster else f"fewer than {RIDGE_MIN_WINDOWS} complete training windows"

    def predict(self, windows: Windows, past: Past) -> np.ndarray:
        if self.forecaster is None:
            raise RuntimeError("Ridge.predict was called before a successful fit")
        return self.forecaster.predict(windows, past.path.shape[1]).quantiles.numpy()

    @property
    def parameters(self) -> int:
        """The weights of the linear model and the quantiles of its errors."""
        return self.forecaster.parameters if self.forecaster else 0

    def remarks(self) -> dict[str, Any]:
        if self.forecaster is None:
            return {}
        return {"penalty": self.forecaster.penalty, "training_windows": self.forecaster.training_windows}


class AutoTheta(Baseline):
    """statsforecast's AutoTheta on each window's context, at most 200 windows per data set (about 0.1 s each).

    Where it cannot be fitted (a constant or very short context), the seasonal naive path is used and counted.
    """

    max_windows = 200
    one_by_one = True

    def __init__(self) -> None:
        self.failures = 0

    def predict(self, windows: Windows, past: Past) -> np.ndarray:
        # a multiplicative season is relative to the zero of the input
        zero = past.zero[:, None]
        levels = windows.context.numpy().astype(np.float64) - zero, past.season, past.path - zero
        return np.stack([self._one(*row) for row in zip(*levels, strict=True)]) + zero[:, None]

    def _one(self, context: np.ndarray, season: int, path: np.ndarray) -> np.ndarray:
        known = np.flatnonzero(np.isfinite(context))
        values = context[known[0] :] if len(known) else context
        index = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
        filled = values[index]
        season = int(season) if len(filled) >= 2 * season else 1
        central = [80, 60, 40, 20]
        try:
            found = _fit_theta(filled, season).predict(h=len(path), level=central)
        except Exception:  # statsforecast raises many exception types, plain Exception among them
            found = {"mean": np.full(len(path), np.nan)}
        if not np.isfinite(found["mean"]).all():
            self.failures += 1
            return np.repeat(path[None], len(EVALUATION_LEVELS), 0)
        low = [found[f"lo-{level}"] for level in central]
        high = [found[f"hi-{level}"] for level in reversed(central)]
        return np.sort(np.stack([*low, found["mean"], *high]), axis=0)

    def remarks(self) -> dict[str, Any]:
        return {"fell_back_to_naive": self.failures}


def _fit_theta(values: np.ndarray, season: int) -> Any:
    """A fitted AutoTheta whose intervals come from its residuals without the season.

    statsforecast (2.1) leaves a removed additive season in the residuals from which it computes the intervals. On ETTh1
    they were several times too wide. This function removes the season from the residuals.
    """
    from statsforecast.models import AutoTheta as Theta

    theta = Theta(season_length=season).fit(values)
    fitted: Any = theta.model_
    if fitted.get("decompose") and fitted["decomposition_type"] == "additive":
        ahead = np.asarray(fitted["seas_forecast"]["mean"])
        steps = np.arange(len(values)) - len(values)
        fitted["residuals"] = fitted["residuals"] - ahead[steps % season]
    return theta


BASELINES: dict[str, type[Baseline]] = {"seasonal_naive": SeasonalNaive, "ridge": Ridge, "auto_theta": AutoTheta}


def make_baseline(name: str) -> Baseline:
    """A new baseline by name; an unknown name raises UnknownName."""
    if name not in BASELINES:
        raise UnknownName("baseline", name, list(BASELINES))
    return BASELINES[name]()
