"""Context length and horizon: defaults fit the data and what the models read; explicit values are checked.

The gate's backtest, too, must fit into the context.
"""

from __future__ import annotations

from collections.abc import Sequence

from potstill.console import say
from potstill.data.series.store import Store
from potstill.errors import UserError
from potstill.families.base import Forecaster
from potstill.recipe import SeriesData
from potstill.tasks.horizon import default_horizon


def fit_lengths(data: SeriesData, store: Store, models: Sequence[Forecaster]) -> SeriesData:
    """The data section with a horizon that fits the series and lengths that all models support.

    A default horizon is noted in the store's report; what the models shorten is printed. Windows made on the device
    keep the fixed default, which their own settings refer to.

    Raises
    ------
    UserError
        If an explicit length exceeds what a model was trained for.
    """
    chosen = {}
    if "prediction_length" not in data.model_fields_set and data.device is None:
        chosen["prediction_length"], reason = default_horizon(store, data)
        store.report.add_note(reason)
    for key, limit, what in (
        ("context_length", "max_context", "reads"),
        ("prediction_length", "max_horizon", "forecasts"),
    ):
        length, shortest = chosen.get(key, getattr(data, key)), None
        for model in models:
            longest = getattr(model, limit)
            if length <= longest:
                continue
            if key in data.model_fields_set:
                option = key.replace("_", "-")
                raise UserError(
                    f"--{option} {length}: {model.source.name} {what} at most {longest} steps;"
                    f" choose {longest} or fewer.",
                    key="data.too_long_for_model",
                )
            length, shortest = longest, model
        if shortest is not None:
            chosen[key] = length
            say(f"Lengths    {key} is {length}: {shortest.source.name} {what} no more")
    return data.model_copy(update=chosen)


def check_gate(steps: int, data: SeriesData) -> None:
    """Raise UserError if the gate's backtest is longer than the horizon or than half of the context."""
    longest = min(data.prediction_length, data.context_length // 2)
    if steps > longest:
        raise UserError(
            f"objective.gate: a backtest of {steps} steps; with data.context_length {data.context_length} and"
            f" data.prediction_length {data.prediction_length} it has at most {longest}; write"
            f" gate: {longest}.",
            key="objective.gate_too_long",
        )
