"""Simple rivals that every report carries: seasonal naive, closed-form ridge, AutoTheta.

Each is fitted per data set on the training part and answers with quantiles ``[N, 9, H]`` at ``metrics.LEVELS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.errors import UnknownName
from potstill.evaluation.histories import Past
from potstill.evaluation.metrics import LEVELS
from potstill.types import Windows

if TYPE_CHECKING:
    from potstill.evaluation.ridge import RidgeForecaster

NORMAL = np.array([NormalDist().inv_cdf(level) for level in LEVELS])


class Baseline(ABC):
    """A forecaster made for one data set; a fresh object serves each data set."""

    max_windows: int | None = None
    """Most windows per data set it is asked for (None: all), for methods that take long."""

    def fit(self, train: Any, dataset: str) -> str | None:
        """Fit on the data set's windows of ``train`` (a SeriesWindows); return why that is impossible, or None."""
        return None

    @abstractmethod
    def predict(self, windows: Windows, past: Past) -> np.ndarray:
        """Quantiles ``[N, 9, H]`` in input units, ascending along the levels."""

    def remarks(self) -> dict[str, Any]:
        """What the account should say about how it went."""
        return {}


class SeasonalNaive(Baseline):
    """The last season again, with normal errors whose variance grows by one season's each season.

    The spread is that of the seasonal differences over the whole history, not over the context alone.
    """

    def predict(self, windows: Windows, past: Past) -> np.ndarray:
        seasons = np.arange(past.path.shape[1])[None] // past.season[:, None]
        width = past.spread[:, None] * np.sqrt(1 + seasons)
        return past.path[:, None, :] + NORMAL[None, :, None] * width[:, None, :]


class Ridge(Baseline):
    """One linear map from the standardised context to the horizon; see ``ridge.fit_ridge``."""

    def __init__(self) -> None:
        self.forecaster: RidgeForecaster | None = None

    def fit(self, train: Any, dataset: str) -> str | None:
        from potstill.evaluation.ridge import MIN_WINDOWS, fit_ridge

        self.forecaster = fit_ridge(train, train.of_dataset(dataset))
        return None if self.forecaster else f"fewer than {MIN_WINDOWS} complete training windows"

    def predict(self, windows: Windows, past: Past) -> np.ndarray:
        if self.forecaster is None:
            raise RuntimeError("Ridge.predict was called before a successful fit")
        return self.forecaster.predict(windows.context, past.path.shape[1]).quantiles.numpy()

    def remarks(self) -> dict[str, Any]:
        if self.forecaster is None:
            return {}
        return {"penalty": self.forecaster.penalty, "training_windows": self.forecaster.training_windows}


class AutoTheta(Baseline):
    """statsforecast's AutoTheta on each window's context, at most 200 windows per data set (about 0.1 s each).

    Where it cannot be fitted (a constant or a tiny context) the season's last values are repeated, and counted.
    """

    max_windows = 200

    def __init__(self) -> None:
        self.failures = 0

    def predict(self, windows: Windows, past: Past) -> np.ndarray:
        contexts = windows.context.numpy()
        return np.stack([self._one(*row) for row in zip(contexts, past.season, past.path, strict=True)])

    def _one(self, context: np.ndarray, season: int, path: np.ndarray) -> np.ndarray:
        known = np.flatnonzero(np.isfinite(context))
        values = context[known[0] :] if len(known) else context
        index = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
        filled = values[index].astype(np.float64)
        season = int(season) if len(filled) >= 2 * season else 1
        central = [80, 60, 40, 20]
        try:
            found = _fit_theta(filled, season).predict(h=len(path), level=central)
        except Exception:  # the solver raises whatever comes, bare Exception included
            found = {"mean": np.full(len(path), np.nan)}
        if not np.isfinite(found["mean"]).all():
            self.failures += 1
            return np.repeat(path[None], len(LEVELS), 0)
        low = [found[f"lo-{level}"] for level in central]
        high = [found[f"hi-{level}"] for level in reversed(central)]
        return np.sort(np.stack([*low, found["mean"], *high]), axis=0)

    def remarks(self) -> dict[str, Any]:
        return {"fell_back_to_naive": self.failures}


def _fit_theta(values: np.ndarray, season: int) -> Any:
    """A fitted AutoTheta whose intervals come from its errors alone.

    Where statsforecast (2.1) takes off an additive season it puts that season into the residuals and draws intervals
    from their spread: on ETTh1 they came out several times too wide. The season is taken out again.
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
    """A fresh baseline by name; an unknown name is the user's error."""
    if name not in BASELINES:
        raise UnknownName("baseline", name, list(BASELINES))
    return BASELINES[name]()
