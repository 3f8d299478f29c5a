"""The section ``data.device``: training windows that are made on the device that trains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from potstill.recipe.base import RecipeNode, invalid

Length = Annotated[int, Field(ge=1)]
Chance = Annotated[float, Field(gt=0, allow_inf_nan=False)]
GroupSize = Annotated[int, Field(ge=2, le=64)]
GroupKind = Literal["driven", "latent", "columns"]


class GroupConfig(RecipeNode):
    """Batches of windows in groups, some with covariates that are known ahead."""

    share: float = Field(default=0.0, ge=0, le=1, description="share of the batches whose windows are in groups")
    sizes: list[GroupSize] = Field(
        default_factory=lambda: [2, 3, 5], min_length=1, description="series in a group; one size per batch"
    )
    kinds: dict[GroupKind, Chance] = Field(
        default_factory=lambda: {"driven": 0.45, "latent": 0.35, "columns": 0.2},
        min_length=1,
        description="weights of the kinds of group: driven by covariates, with common latent series, columns of a file",
    )


class DeviceData(RecipeNode):
    """Windows made on the device from series that are kept there."""

    pool: int = Field(default=20_000, ge=1, description="synthetic series kept on the device")
    refresh: bool = Field(
        default=True,
        description="replace the oldest synthetic series during the training; false: the pool is fixed, and a batch"
        " depends on the seed and its number alone",
    )
    workers: int | None = Field(
        default=None, ge=0, description="processes that generate synthetic series; default: one per core but one"
    )
    sampling: Literal["balanced", "uniform"] = Field(
        default="balanced",
        description="uniform: all real series are equally likely; balanced: series of small data sets are more likely",
    )
    contexts: dict[Length, Chance] = Field(
        default_factory=dict, description="context lengths of batches and their weights; default: data.context_length"
    )
    horizons: dict[Length, Chance] = Field(
        default_factory=dict, description="horizons of batches and their weights; default: data.prediction_length"
    )
    batch_context: int | None = Field(
        default=None,
        ge=1,
        description="batches with a longer context have fewer than training.batch_size windows, in inverse proportion",
    )
    groups: GroupConfig = Field(default_factory=GroupConfig)

    @model_validator(mode="after")
    def _check_workers(self) -> DeviceData:
        if self.workers == 0 and self.refresh:
            raise invalid(
                "data.nobody_refreshes",
                "workers: 0 leaves nobody to refresh the pool; write refresh: false, or a number of workers above 0",
            )
        return self
