"""Names of the families and where they live; resolving one imports only that family's file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from potstill.errors import UnknownName

if TYPE_CHECKING:
    from potstill.families.base import Family

TABLE = {"chronos2": ("potstill.families.chronos2", "Chronos2Family")}


def family(name: str) -> Family:
    """The family of that name.

    Raises
    ------
    UnknownName
        Listing the known ones and the nearest.
    """
    if name not in TABLE:
        raise UnknownName("family", name, list(TABLE))
    module, attribute = TABLE[name]
    return getattr(importlib.import_module(module), attribute)()


def family_of(config: dict[str, Any]) -> Family | None:
    """The family that recognises a checkpoint's config, if any."""
    return next((f for f in map(family, TABLE) if f.recognises(config)), None)
