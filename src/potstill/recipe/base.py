"""The base class of every section of a recipe."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError

MAX_WHOLE = 2**32 - 1  # libraries compute with such numbers in 64 bits, and products of two must fit; largest seed


class RecipeNode(BaseModel):
    """A section of a recipe: unknown keys are errors, and values assigned later are validated too."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _check_size(cls, value: Any) -> Any:
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and abs(number) > MAX_WHOLE:
                raise invalid("recipe.number_too_large", f"a whole number can be at most {MAX_WHOLE:,}")
        return value


def invalid(key: str, message: str) -> PydanticCustomError:
    """What a validator raises; ``key`` becomes the key of the usage error."""
    return PydanticCustomError(key, "{message}", {"message": message})  # pyright: ignore[reportArgumentType]
