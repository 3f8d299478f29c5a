"""The base class of every section of a recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class RecipeNode(BaseModel):
    """A section of a recipe: unknown keys are errors, and values assigned later are validated too."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


def invalid(key: str, message: str) -> PydanticCustomError:
    """What a validator raises; ``key`` becomes the key of the usage error."""
    return PydanticCustomError(key, "{message}", {"message": message})  # pyright: ignore[reportArgumentType]
