"""FFORMA for the mixture benchmark: gradient boosting from the router's features to the weights of the experts.

Needs scikit-learn (``pip install scikit-learn``). The boosted trees are trained on the same stored forecasts as the
router: the class of a window is the expert with the lowest scaled pinball loss on it.

Reference: Montero-Manso et al., "FFORMA: Feature-based Forecast Model Averaging", 2020, which weighs by a softmax of
boosted scores; here the probabilities of a boosted classifier are the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from potstill.families.experts.features import series_features
from potstill.families.experts.fusion import common_scale
from potstill.objectives.base import LossInputs
from potstill.objectives.scaled_pinball import ScaledPinball
from potstill.teaching.stores.forecasts import ForecastStore
from potstill.types import Forecast, Output, Windows

CONTEXT = 512  # steps that the router reads


class FformaWeights:
    """Weights of an ensemble by boosted trees.

    Parameters
    ----------
    model
        A fitted classifier whose classes are numbers of experts.
    count
        Number of experts.
    """

    def __init__(self, model: Any, count: int):
        self.model, self.count, self.key = model, count, "fforma"

    @classmethod
    def fit(cls, run: Path, names: list[str], seed: int, limit: int | None = None) -> FformaWeights:
        """Fit on the forecasts that ``potstill mix`` stored in a run."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        stores = [ForecastStore.open(run / "forecasts" / name) for name in names]
        inputs = next(store for store in stores if store.stores_inputs)
        total = min(inputs.labelled(), limit or inputs.labelled())
        features, best = [], []
        for first in range(0, total, 512):
            ids = np.arange(first, min(first + 512, total))
            windows = inputs.windows(ids)
            losses = torch.stack([_losses(windows, store.forecast(ids)) for store in stores], dim=1)
            known = losses.isfinite().all(dim=1)
            features.append(series_features(windows.context[:, -CONTEXT:])[known].numpy())
            best.append(losses[known].argmin(dim=1).numpy())
        model = HistGradientBoostingClassifier(random_state=seed)
        return cls(model.fit(np.concatenate(features), np.concatenate(best)), len(names))

    def of(self, windows: Windows) -> torch.Tensor:
        """``[N, B]``."""
        found = self.model.predict_proba(series_features(windows.context[:, -CONTEXT:]).cpu().numpy())
        weights = np.zeros((len(found), self.count), np.float32)
        weights[:, self.model.classes_] = found
        return torch.from_numpy(weights).T


def _losses(windows: Windows, forecast: Forecast) -> torch.Tensor:
    """Scaled pinball loss ``[B]`` of one expert's stored forecasts."""
    common = common_scale(windows, forecast.levels)
    own = Forecast(forecast.levels, forecast.values, common.loc, common.scale, arcsinh=True)
    return ScaledPinball()(LossInputs(windows, Output(own)))
