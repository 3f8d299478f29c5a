"""Context and horizon that the user did not give follow the models; those that were given are checked against them."""

from __future__ import annotations

from collections.abc import Sequence

from potstill.errors import UserError
from potstill.families.base import Forecaster
from potstill.recipe import DataConfig


def fit_lengths(data: DataConfig, models: Sequence[Forecaster]) -> DataConfig:
    """The data part with lengths no model is asked to exceed.

    Raises
    ------
    UserError
        Where a length that was given is beyond what a model was trained for.
    """
    chosen = {}
    for key, limit, what in (
        ("context_length", "max_context", "reads"),
        ("prediction_length", "max_horizon", "forecasts"),
    ):
        length = getattr(data, key)
        for model in models:
            longest = getattr(model, limit)
            if length <= longest:
                continue
            if key in data.model_fields_set:
                option = key.replace("_", "-")
                raise UserError(
                    f"--{option} {length}: {model.source.name} {what} at most {longest} steps;"
                    f" choose {longest} or fewer."
                )
            length = chosen[key] = longest
    return data.model_copy(update=chosen)
