"""Our metrics equal fev's on the same forecasts: columns of different units, histories and futures with gaps."""

from __future__ import annotations

import numpy as np
import pytest
from eval_fakes import FakeStore

from potstill.evaluation.histories import Histories
from potstill.evaluation.metrics import EVALUATION_LEVELS, score_windows, summarise

fev_metrics = pytest.importorskip("fev.metrics", reason="fev is in the extra dev")

SEASON, HORIZON, COLUMNS, WINDOWS = 12, 7, 3, 9
OURS = {
    "MSE": "mse_raw", "MAE": "mae_raw", "RMSE": "rmse_raw", "MAPE": "mape", "SMAPE": "smape", "WAPE": "wape",
    "MASE": "mase", "RMSSE": "rmsse", "SQL": "sql", "WQL": "wql",
}  # fmt: skip


def columns(missing: float) -> np.ndarray:
    """``[T, D]`` columns with a season, units from 1 to 10,000, and missing values in the history."""
    rng = np.random.default_rng(0)
    steps = np.arange(160)[:, None]
    level = 5 + np.sin(2 * np.pi * steps / SEASON) + rng.normal(0, 0.3, (160, COLUMNS))
    values = level * np.array([1.0, 100.0, 10_000.0])
    values[rng.random(values.shape) < missing] = np.nan
    values[0] = level[0]  # a stored series begins with a known value
    return values


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_metrics_equal_those_of_fev(missing):
    values = columns(missing)
    origins = np.arange(100, 100 + 5 * WINDOWS, 5)
    rng = np.random.default_rng(1)
    truth = np.stack([values[o : o + HORIZON] for o in origins])  # [N, H, D]
    middle = np.nan_to_num(truth, nan=5.0) * rng.normal(1, 0.1, truth.shape)
    width = 0.1 * np.abs(middle)
    quantiles = middle[..., None] + width[..., None] * (EVALUATION_LEVELS - 0.5) * 4  # [N, H, D, Q]
    past = np.concatenate([values[:o] for o in origins])
    theirs = {
        name: fev_metrics.get_metric(name).compute(
            y_true=truth, y_pred=quantiles[..., 4], y_past=past, y_past_lengths=origins, q_pred=quantiles,
            seasonality=SEASON, quantile_levels=EVALUATION_LEVELS.tolist(),
        )
        for name in OURS
    }  # fmt: skip

    store = FakeStore([values[:, d] for d in range(COLUMNS)], SEASON)
    column, origin = np.repeat(np.arange(COLUMNS), WINDOWS), np.tile(origins, COLUMNS)
    history = Histories(store).before(column, origin, HORIZON)
    ours = summarise(
        score_windows(
            quantiles.transpose(2, 0, 3, 1).reshape(-1, 9, HORIZON),
            truth.transpose(2, 0, 1).reshape(-1, HORIZON),
            history.scale,
            np.ones(len(column)),
            history.squared,
            column,
        )
    )
    # the store keeps float32
    assert {name: ours[key] for name, key in OURS.items()} == pytest.approx(theirs, rel=2e-6)
