"""Context and horizon that the user did not give follow the models; those that were given are checked against them."""

from __future__ import annotations

from collections.abc import Sequence

from potstill.console import say
from potstill.errors import UserError
from potstill.families.base import Forecaster
from potstill.recipe import DataConfig


def fit_lengths(data: DataConfig, models: Sequence[Forecaster]) -> DataConfig:
    """The data part with lengths no model is asked to exceed; what is shortened is said.

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
        length, shortest = getattr(data, key), None
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
            length, shortest = longest, model
        if shortest is not None:
            chosen[key] = length
            say(f"Lengths    {key} is {length}: {shortest.source.name} {what} no more")
    return data.model_copy(update=chosen)
