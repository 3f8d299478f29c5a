"""What is wrong with a value of a recipe, in words that do not assume pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: by the type of pydantic's error, or its beginning; ``{…}`` is from the error's context
WORDS = {
    "int_": "must be a whole number",
    "float_": "must be a number",
    "finite_number": "must be a finite number",
    "bool_": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list, such as [a, b]",
    "dict_type": "must be a section with keys",
    "model_type": "must be a section with keys",
    "model_attributes_type": "must be a section with keys",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}


def problem(error: Mapping[str, Any]) -> str:
    """One of ``ValidationError.errors()`` as the end of a sentence that begins with the key."""
    kind = error["type"]
    # an error of Potstill's own validators has the key of a UserError, with a dot, as its type
    words = None if "." in kind else next((text for start, text in WORDS.items() if kind.startswith(start)), None)
    given = error.get("ctx", {})
    facts = {name: f"{fact:,.10g}" if isinstance(fact, int | float) else fact for name, fact in given.items()}
    return words.format(**facts) if words else error["msg"]
