"""A student that grows: a finished model that gets sparse layers, and which of its weights are frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from potstill.families.base import Architecture, Family, Forecaster
from potstill.recipe import GrowConfig
from potstill.training.freezing import Freeze


def grown_architecture(family: Family[Any], source: Forecaster, config: GrowConfig) -> Architecture:
    """The architecture of the grown student; raises UserError if the source cannot grow in this way."""
    return family.grown(source, config.model_dump(exclude={"source", "frozen"}))


def grow_student(
    family: Family[Any], student: Forecaster, source: Forecaster, config: GrowConfig, batches: Sequence[Any]
) -> list[str]:
    """Give a fresh student of the grown architecture its source's weights; it then forecasts what the source does.

    ``batches`` are calibration data for its routers.

    Returns
    -------
    list of str
        A line about what is trained.
    """
    with family.dense(student) as module:
        module.load_state_dict(source.module.state_dict())
    family.balance_experts(student, batches)
    new = sum(weight.numel() for name, weight in student.module.named_parameters() if name not in _names(source))
    trained = "all weights are trained"
    if config.frozen == 1:
        trained = "only they are trained"
    elif config.frozen:
        trained = f"only they are trained in the first {config.frozen:.0%} of the steps"
    return [f"The student grows from {source.source.location}: {new:,} new weights; {trained}"]


def freeze_of(source: Forecaster, config: GrowConfig, steps: int) -> Freeze | None:
    """The weights that the source has too are frozen for a share of the steps."""
    return Freeze(_names(source), round(config.frozen * steps)) if config.frozen else None


def _names(source: Forecaster) -> frozenset[str]:
    return frozenset(name for name, _ in source.module.named_parameters())
