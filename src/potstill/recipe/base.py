"""The base class of every section of a recipe."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

MAX_WHOLE = 2**32 - 1  # libraries compute with such numbers in 64 bits, and products of two must fit; largest seed


class RecipeNode(BaseModel):
    """A section of a recipe: unknown keys are errors, and values assigned later are validated too."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _check_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool):
            types = _types_of(cls.model_fields[info.field_name or ""].annotation)
            if types & {int, float} and not types & {bool, Any}:
                raise PydanticKnownError("float_type" if float in types else "int_type")  # pydantic reads true as 1
        return value

    @field_validator("*")
    @classmethod
    def _check_size(cls, value: Any) -> Any:
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and abs(number) > MAX_WHOLE:
                raise invalid("recipe.number_too_large", f"a whole number can be at most {MAX_WHOLE:,}")
        return value


def _types_of(annotation: Any) -> set[Any]:
    """The types that a field can have, without those of the entries of lists and mappings."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType, Annotated) else ()
    return {annotation}.union(*(_types_of(part) for part in parts))


def invalid(key: str, message: str) -> PydanticCustomError:
    """What a validator raises; ``key`` becomes the key of the usage error."""
    return PydanticCustomError(key, "{message}", {"message": message})  # pyright: ignore[reportArgumentType]
