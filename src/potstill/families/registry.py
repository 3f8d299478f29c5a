"""The names of the families and the modules they are in; looking one up imports only that family's module.

An installed package adds a family through an entry point of the group ``potstill.families``: docs/adding-a-family.md.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from potstill.errors import UnknownName, UserError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from potstill.families.base import Family

Task = Literal["forecast", "language"]

FAMILY_CLASSES = {
    "chronos2": ("potstill.families.chronos2.family", "Chronos2Family"),
    "bolt": ("potstill.families.bolt", "BoltFamily"),
    "moirai": ("potstill.families.moirai.family", "MoiraiFamily"),
    "patch_transformer": ("potstill.families.small.patch_transformer", "PatchTransformerFamily"),
    "linear": ("potstill.families.small.linear", "LinearFamily"),
    "mixer": ("potstill.families.small.mixer", "MixerFamily"),
    "mixture": ("potstill.families.experts.family", "MixtureFamily"),
    "exported": ("potstill.families.exported", "ExportedFamily"),
    "language": ("potstill.families.language.family", "LanguageFamily"),
}
#: tried after all others, because it recognises every causal language model of transformers; it also opens GGUF files
LAST_RESORT = "language"
DEFAULT_STUDENTS: dict[Task, str] = {"forecast": "chronos2", "language": "language"}
ENTRY_POINTS = "potstill.families"


def family(name: str) -> Family[Any]:
    """The family with that name: a built-in one, or an installed plug-in's.

    Raises
    ------
    UnknownName
        Lists the known names and the nearest match.
    UserError
        If a plug-in uses a name that is taken, cannot be imported, or does not return a family.
    """
    plugged = [point for point in _plug_ins() if point.name == name]
    providers = ["Potstill itself"] * (name in FAMILY_CLASSES) + [_package(point) for point in plugged]
    if len(providers) > 1:
        raise UserError(
            f"family {name!r}: is provided by {' and by '.join(providers)}; uninstall or rename all but one.",
            key="family.name_taken",
        )
    if name in FAMILY_CLASSES:
        return _built_in(name)
    if not plugged:
        raise UnknownName("family", name, known())
    return _plug_in_family(plugged[0])


def family_of(config: dict[str, Any]) -> Family[Any] | None:
    """The family that recognises a checkpoint's config, or None.

    Built-in forecasters are tried first, then plug-ins' families, then causal language models. A plug-in that fails is
    skipped with a warning.
    """
    return next((one for one in _families() if _recognises(one, config)), None)


def gguf_family() -> Family[Any]:
    """The family that opens GGUF files."""
    return family(LAST_RESORT)


def known(task: Task | None = None) -> list[str]:
    """Names of all families, plug-ins' included; imports them only if ``task`` is given."""
    names = sorted({*FAMILY_CLASSES, *(point.name for point in _plug_ins())})
    return names if task is None else [name for name in names if family(name).task == task]


def students(task: Task = "forecast") -> list[str]:
    """Names of the built-in families of a task that can be students."""
    from potstill.families.base import TeacherFamily

    built_in = {name: _built_in(name) for name in FAMILY_CLASSES}
    return [name for name, one in built_in.items() if one.task == task and not isinstance(one, TeacherFamily)]


def default_student(task: Task) -> str:
    """Name of a student's family if neither the user nor the teacher determines it."""
    return DEFAULT_STUDENTS[task]


def _families() -> Iterator[Family[Any]]:
    """All families in the order in which they are tried; a plug-in that cannot be loaded causes a warning."""
    yield from (_built_in(name) for name in FAMILY_CLASSES if name != LAST_RESORT)
    for point in _plug_ins():
        try:
            yield family(point.name)
        except UserError as error:
            warnings.warn(str(error), stacklevel=2)
    yield _built_in(LAST_RESORT)


def _recognises(one: Family[Any], config: dict[str, Any]) -> bool:
    if one.name in FAMILY_CLASSES:
        return one.recognises(config)
    try:
        return one.recognises(config)
    except Exception as error:
        point = next(point for point in _plug_ins() if point.name == one.name)
        warnings.warn(f"family {one.name!r}: {_package(point)} fails on a config.json: {error!r}", stacklevel=2)
        return False


def _built_in(name: str) -> Family[Any]:
    module, attribute = FAMILY_CLASSES[name]
    return getattr(importlib.import_module(module), attribute)()


def _plug_ins() -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)


def _plug_in_family(point: EntryPoint) -> Family[Any]:
    """Call a plug-in's entry point, a Family class or a function that returns a Family."""
    from potstill.families.base import Family

    try:
        made = point.load()()
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise UserError(
            f"family {point.name!r}: the plug-in {_package(point)} cannot be imported"
            f" ({type(error).__name__}: {first}); fix or uninstall it.",
            key="family.plugin_import",
        ) from error
    if not isinstance(made, Family) or made.name != point.name:
        what = f"a family named {made.name!r}" if isinstance(made, Family) else f"a {type(made).__name__}"
        raise UserError(
            f"family {point.name!r}: the plug-in {_package(point)} returns {what};"
            f" its entry point must return a potstill Family named {point.name!r}.",
            key="family.plugin_result",
        )
    return made


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value
