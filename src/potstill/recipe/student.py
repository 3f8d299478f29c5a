"""The student section."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from potstill.recipe.base import RecipeNode

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


class ForecastStudent(StudentConfig):
    """A forecaster."""

    preset: str | None = Field(default=None, description="a named size, such as 3x384")


class LanguageStudent(StudentConfig):
    """A causal language model."""
