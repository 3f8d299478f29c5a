"""The student section."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from potstill.recipe.base import RecipeNode


class StudentConfig(RecipeNode):
    """The student's architecture and its initial weights."""

    family: str | None = Field(default=None, description="default: the teacher's family")
    start: Literal["random", "teacher"] = Field(
        default="random",
        description="initial weights: random, or copied from the teacher's embeddings, heads and layers",
    )
    overrides: dict[str, Any] = Field(default_factory=dict, description="keys of the family's config")


class ForecastStudent(StudentConfig):
    """A forecaster."""

    preset: str | None = Field(default=None, description="a named size, such as 3x384")


class LanguageStudent(StudentConfig):
    """A causal language model."""
