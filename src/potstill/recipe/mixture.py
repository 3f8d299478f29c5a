"""The sections of a mixture's recipe: experts, router, joint training."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from potstill.recipe.base import RecipeNode, invalid
from potstill.recipe.data import SeriesData
from potstill.recipe.notation import parse_named
from potstill.recipe.objective import Alpha, ForecastObjective, Hard, Weight
from potstill.recipe.training import BatchSize, ForecastTraining, LearningRate


class ExpertConfig(RecipeNode):
    """One expert."""

    source: str = Field(description="folder (of a run: its student), hub id or 'embedded'")
    name: str | None = Field(default=None, description="name in reports; default: the last part of the source")
    revision: str | None = Field(default=None, description="branch, tag or commit of a hub id")


def parse_experts(value: Any) -> Any:
    """``[NAME=]MODEL`` strings, mappings, or a list of either, as a list of mappings."""
    items = value if isinstance(value, (list, tuple)) else [value]
    return [_parse_expert(item) if isinstance(item, str) else item for item in items]


def _parse_expert(text: str) -> dict[str, Any]:
    name, source = parse_named(text)
    return {"source": source, **({"name": name} if name else {})}


class RouterConfig(RecipeNode):
    """The router: a small network that chooses the experts of each window."""

    routing: Literal["top_k", "mass", "gumbel"] = Field(
        default="top_k",
        description="top_k: the k most probable experts; mass: the fewest that together have the probability `mass`, at"
        " most top_k; gumbel: trained with a Gumbel-softmax over all experts, then as top_k",
    )
    top_k: int = Field(default=2, ge=1, description="experts per window; at most, if routing is mass")
    mass: float = Field(default=0.8, gt=0, le=1, description="probability that the chosen experts have, for mass")
    hidden: int = Field(default=128, ge=1, description="width of the network")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout of the network in training")
    gate: bool = Field(
        default=True,
        description="forecast windows about which the router is uncertain by the mean of all experts, where this lowers"
        " the loss on the validation part",
    )
    context: int = Field(default=512, ge=1, description="newest steps of a context that the router reads")


class JointConfig(RecipeNode):
    """Training of router and experts together, after the router alone; kept if the validation loss falls."""

    max_steps: int = Field(default=500, ge=1, description="optimizer steps")
    batch_size: BatchSize = 64
    learning_rate: LearningRate = Field(default=1e-4, description="of the router")
    expert_learning_rate: LearningRate = Field(default=1e-5, description="of the experts")


class BranchConfig(RecipeNode):
    """Experts that branch from one finished student: copies, each trained further on a group of series."""

    source: str | None = Field(
        default=None,
        description="finished student, which becomes an expert too, or the recipe (.yaml) by which it is distilled"
        " first; default: a student is distilled from this recipe's teachers and data",
    )
    by: Annotated[str, Field(pattern=r"^(domain|frequency|cluster:[1-9]\d*)$")] = Field(
        default="domain",
        description="groups of series: domain (the data set), frequency (the step), or cluster:N (N clusters of"
        " features of the series)",
    )
    alpha: Alpha = Field(default=0.8, description="weight of the recipe's teachers, if it names any")
    max_steps: int = Field(default=300, ge=1, description="optimizer steps of each expert")
    batch_size: BatchSize = 32
    learning_rate: LearningRate = Field(default=3e-4, description="peak learning rate of the experts")


class MixtureData(SeriesData):
    """The windows on which the router is trained."""

    balance: float = Field(default=0.5, ge=0, le=1, description=SeriesData.model_fields["balance"].description)
    augmented: float = Field(default=0.3, ge=0, le=1, description=SeriesData.model_fields["augmented"].description)
    distinct_windows: int = Field(
        default=20_000,
        ge=1,
        description="number of distinct windows, at most all real ones where none is generated; every expert forecasts"
        " each of them once",
    )

    @model_validator(mode="after")
    def _check_loaded(self) -> MixtureData:
        if self.device is not None:
            raise invalid("data.device_with_experts", "device: the experts' forecasts are stored; leave it out")
        return self


class MixtureObjective(ForecastObjective):
    """The objective of a router: by default the scaled quantile loss of the mixture on the ground truth."""

    alpha: Alpha = 0.0
    hard: Hard = "scaled_pinball"
    auxiliary: dict[str, Weight] = Field(
        default_factory=lambda: {"usage_mse": 0.01, "balance": 0.0},
        description="weights of the router's losses: usage_mse (squared distance of the experts' mean use from equal),"
        " balance (the form of Switch Transformers)",
    )


class MixtureTraining(ForecastTraining):
    """Training of the router."""

    batch_size: BatchSize = 256
    learning_rate: LearningRate | None = Field(default=1e-3, description="peak learning rate of the router")

    @model_validator(mode="after")
    def _check_rollout(self) -> MixtureTraining:
        if self.rollout.share > 0:
            raise invalid(
                "training.rollout_with_experts",
                "rollout: the experts' forecasts are of the observed contexts, not of those that end with the mixture's"
                " own forecast; leave it out",
            )
        return self
