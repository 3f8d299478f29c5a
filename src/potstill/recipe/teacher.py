"""The teacher section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from potstill.recipe.base import RecipeNode

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TeacherConfig(RecipeNode):
    """One teacher: its source and its weight."""

    source: str = Field(description="hub id, folder, or 'embedded', optionally with settings, as in ID:patch_size=64")
    name: str | None = Field(default=None, description="name in reports; default: the last part of the source")
    weight: Weight | dict[str, Share] = Field(
        default=1.0,
        description="weight in the average of several teachers, or one by data set, as in {ETTh1: 2, other: 1}; `other`"
        " is for the remaining data sets and generated windows (default: 1)",
    )
    revision: str | None = Field(default=None, description="branch, tag or commit of a hub id")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="precision of the teacher's weights; auto: bf16 for a Chronos-2 if the hardware supports it, else"
        " fp32",
    )
