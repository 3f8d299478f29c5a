"""The student section."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from potstill.recipe.base import RecipeNode, invalid

Start = Literal["random", "copy", "importance", "teacher"]


class StudentConfig(RecipeNode):
    """The student's architecture and its initial weights."""

    family: str | None = Field(default=None, description="default: the teacher's family")
    start: Start | None = Field(
        default=None,
        description="initial weights: random; copy (the teacher's weights of equal shape); importance (the teacher cut"
        " to its largest dimensions, heads and neurons); teacher (the same, with dimensions along the stream's"
        " principal components); default: teacher if the student's architecture is the teacher's, else random",
    )
    layers: list[int] | None = Field(
        default=None,
        description="layers of the teacher that a cut student keeps, counted from 0; default: those without which the"
        " forecasts change most",
    )
    overrides: dict[str, Any] = Field(default_factory=dict, description="keys of the family's config")


class GrowConfig(RecipeNode):
    """A finished student that gets sparse feed-forward layers; it forecasts the same before the training."""

    source: str = Field(description="finished student that grows: a run, a checkpoint's folder or a hub id")
    layers: list[int] | None = Field(
        default=None, description="blocks that get experts, counted from 0; default: every second one"
    )
    experts: int = Field(default=4, ge=2, description="experts of each sparse layer")
    top_k: int = Field(
        default=2, ge=1, description="experts that a token passes through; of a router, experts per window"
    )
    insert: Literal["ffn", "after"] = Field(
        default="ffn",
        description="ffn: copies of a block's feed-forward network take its place as experts; after: a further layer"
        " follows it, which starts as the identity",
    )
    frozen: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the steps in which only the new weights are trained; after them all are",
    )


class ForecastStudent(StudentConfig):
    """A forecaster."""

    preset: str | None = Field(default=None, description="a named size, such as 3x384")
    grow: GrowConfig | None = Field(
        default=None, description="a finished student to which experts are added, instead of a new one"
    )

    @model_validator(mode="after")
    def _check_grow(self) -> ForecastStudent:
        if self.grow is None:
            return self
        for key in ("family", "start", "layers", "preset", "overrides"):
            if getattr(self, key):
                raise invalid(
                    "grow.decided_by_source",
                    f"{key}: a student that grows has the sizes and weights of its source; leave out {key} or grow",
                )
        return self


class LanguageStudent(StudentConfig):
    """A causal language model."""
