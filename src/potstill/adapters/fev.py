"""A model of Potstill in fev's interface for models: forecasts of all windows of a task, in fev's format.

Shapes: N items, D targets, T steps, H horizon steps, K covariates, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.adapters.base import missing_library, name_of, predictor_of, uses_covariates, warn_unused
from potstill.adapters.items import Item, ItemForecaster
from potstill.data.series.covariates import codes_of, encode

try:
    import datasets
    import fev
except ImportError as error:
    raise missing_library("fev", error) from None

if TYPE_CHECKING:
    from fev import EvaluationWindow, Task

MEDIAN = 0.5


class PotstillModel(fev.ForecastingModel):
    """Any forecaster of Potstill as a model of fev.

    Covariates of a task are used if the model can use them; otherwise they are ignored with a warning. Static
    covariates are not used. Several targets are forecast together if the model can do that. The point forecast is the
    mean where the task's metric is a squared error (MSE, RMSE, RMSSE), and the median otherwise.

    Parameters
    ----------
    model
        MODEL as in the verbs, or a loaded forecaster.
    name
        The model's name in summaries; default: that of its source.
    device
        Such as ``cpu`` or ``cuda:1``; default: a GPU if there is one.

    Raises
    ------
    UserError
        If there is no forecaster at that place.
    """

    model_name = "potstill"

    def __init__(self, model: Any, name: str | None = None, device: str | None = None):
        super().__init__()
        self.predictor = predictor_of(model, device)
        self.model_name = name or name_of(self.predictor)

    def _fit_predict(self, task: Task) -> list[datasets.DatasetDict]:
        if not uses_covariates(self.predictor):
            warn_unused(self.predictor, task.dynamic_columns)
        levels = levels_of(task)
        forecaster = ItemForecaster(self.predictor, task.horizon, levels, season=task.seasonality)
        predictions = []
        for window in task.iter_windows():
            items = items_of(window, uses_covariates(self.predictor))
            with self._record_inference_time():
                found = forecaster.forecast(items)
            at = {level: found.quantiles[:, :, q] for q, level in enumerate(levels)}
            point = found.mean if of_mean(task) else at[MEDIAN]
            predictions.append(predictions_of(point, {q: at[q] for q in task.quantile_levels}, task.target_columns))
        return predictions


def levels_of(task: Task) -> list[float]:
    """The levels that the forecasts of a task need."""
    return sorted({*task.quantile_levels, MEDIAN})


def of_mean(task: Task) -> bool:
    """Whether the mean is the better point forecast, because the task's metric is a squared error."""
    metric = task.eval_metric if isinstance(task.eval_metric, str) else task.eval_metric["name"]
    return metric.upper() in ("MSE", "RMSE", "RMSSE")


def predictions_of(
    point: np.ndarray, quantiles: dict[float, np.ndarray], targets: Sequence[str]
) -> datasets.DatasetDict:
    """Forecasts ``[N, D, H]`` in fev's format; fev scores every item, so that missing ones become 0."""
    columns = {"predictions": point, **{str(level): values for level, values in quantiles.items()}}
    return datasets.DatasetDict(
        {
            target: datasets.Dataset.from_dict(
                {name: list(np.nan_to_num(values[:, d], nan=0.0)) for name, values in columns.items()}
            )
            for d, target in enumerate(targets)
        }
    )


def items_of(window: EvaluationWindow, covariates: bool) -> list[Item]:
    """The items of a window, with its dynamic covariates."""
    past, future = window.get_input_data()
    names = past[window.id_column]
    target = _columns(past, window.target_columns)
    items = [Item(str(name), values) for name, values in zip(names, target, strict=True)]
    if not covariates:
        return items
    if window.past_dynamic_columns:
        for item, values in zip(items, _covariates(past, None, window.past_dynamic_columns, target), strict=True):
            item.past = values
    if window.known_dynamic_columns:
        for item, values in zip(items, _covariates(past, future, window.known_dynamic_columns, target), strict=True):
            item.known = values
    return items


def _columns(data: datasets.Dataset, names: Sequence[str]) -> list[np.ndarray]:
    """``[K, T]`` float64 for each item."""
    columns = [[np.asarray(values, np.float64) for values in data[name]] for name in names]
    return [np.stack(rows) for rows in zip(*columns, strict=True)]


def _covariates(
    past: datasets.Dataset, future: datasets.Dataset | None, names: Sequence[str], target: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """``[K, T]``, or ``[K, T + H]`` with the future, for each item; text is encoded by its category."""
    columns = []
    for name in names:
        values = [np.asarray(one) for one in past[name]]
        if future is not None:
            values = [np.concatenate([one, np.asarray(more)]) for one, more in zip(values, future[name], strict=True)]
        columns.append([_numbers(one, known) for one, known in zip(values, target, strict=True)])
    return [np.stack(rows) for rows in zip(*columns, strict=True)]


def _numbers(values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A covariate ``[L]`` as float64. Text has the mean target of its category, for several targets its number."""
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    categories: dict[str | None, int] = {}
    codes = codes_of([None if value is None else str(value) for value in values], categories)
    if len(target) > 1:
        return codes.astype(np.float64)
    return encode(codes[None], target, len(categories))[0].astype(np.float64)
