"""Names of the families and where they live; resolving one imports only that family's file.

An installed package adds its own through an entry point of the group ``potstill.families``: docs/adding-a-family.md.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from potstill.errors import UnknownName, UserError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from potstill.families.base import Family

TABLE = {
    "chronos2": ("potstill.families.chronos2.family", "Chronos2Family"),
    "bolt": ("potstill.families.bolt", "BoltFamily"),
    "moirai": ("potstill.families.moirai.family", "MoiraiFamily"),
    "patch_transformer": ("potstill.families.small.patch_transformer", "PatchTransformerFamily"),
    "linear": ("potstill.families.small.linear", "LinearFamily"),
    "mixer": ("potstill.families.small.mixer", "MixerFamily"),
}
ENTRY_POINTS = "potstill.families"


def family(name: str) -> Family:
    """The family of that name: Potstill's own, or an installed plug-in's.

    Raises
    ------
    UnknownName
        Listing the known ones and the nearest.
    UserError
        Where a plug-in takes a name that is taken, cannot be imported, or gives no family.
    """
    plugged = [point for point in _plug_ins() if point.name == name]
    makers = ["Potstill itself"] * (name in TABLE) + [_package(point) for point in plugged]
    if len(makers) > 1:
        raise UserError(f"family {name!r}: is given by {' and by '.join(makers)}; uninstall or rename all but one.")
    if name in TABLE:
        return _own(name)
    if not plugged:
        raise UnknownName("family", name, known())
    return _outside(plugged[0])


def family_of(config: dict[str, Any]) -> Family | None:
    """The family that recognises a checkpoint's config, if any; a plug-in that fails is passed over with a warning."""
    own = next((f for f in map(_own, TABLE) if f.recognises(config)), None)
    if own is not None:
        return own
    for point in _plug_ins():
        try:
            found = family(point.name)
            recognised = found.recognises(config)
        except UserError as error:
            warnings.warn(str(error), stacklevel=2)
        except Exception as error:
            warnings.warn(f"family {point.name!r}: {_package(point)} fails on a config.json: {error!r}", stacklevel=2)
        else:
            if recognised:
                return found
    return None


def known() -> list[str]:
    """Names of all families, plug-ins' included; imports none of them."""
    return sorted({*TABLE, *(point.name for point in _plug_ins())})


def students() -> list[str]:
    """Names of Potstill's own families that can be students."""
    from potstill.families.base import TeacherFamily

    return [name for name in TABLE if not isinstance(_own(name), TeacherFamily)]


def _own(name: str) -> Family:
    module, attribute = TABLE[name]
    return getattr(importlib.import_module(module), attribute)()


def _plug_ins() -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)


def _outside(point: EntryPoint) -> Family:
    """What a plug-in's entry point makes: a Family class's instance, or what a callable returns."""
    from potstill.families.base import Family

    try:
        made = point.load()()
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise UserError(
            f"family {point.name!r}: the plug-in {_package(point)} cannot be imported"
            f" ({type(error).__name__}: {first}); mend or uninstall it."
        ) from error
    if not isinstance(made, Family) or made.name != point.name:
        what = f"a family named {made.name!r}" if isinstance(made, Family) else f"a {type(made).__name__}"
        raise UserError(
            f"family {point.name!r}: the plug-in {_package(point)} gives {what};"
            f" its entry point must give a potstill Family named {point.name!r}."
        )
    return made


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value
