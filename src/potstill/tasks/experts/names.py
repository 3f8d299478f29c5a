"""The experts that a recipe names, and the names of those that branch from one of them.

A name does not depend on which experts a run has left out, so that a resumed run finds those that it trained.
"""

from __future__ import annotations

from collections.abc import Iterable

from potstill.errors import UserError
from potstill.recipe import ExpertConfig, MixtureRecipe
from potstill.tasks.experts.general import needs_general
from potstill.tasks.experts.report import RESERVED

BASE = "base"  # name of the student that experts branch from


def named_experts(recipe: MixtureRecipe) -> dict[str, ExpertConfig]:
    """The recipe's experts by name, those that were left out too; the student that experts branch from is ``base``.

    Raises
    ------
    UserError
        If a name cannot be that of a folder, is the name of another model of the report, or two are the same.
    """
    found: dict[str, ExpertConfig] = {}
    for config in _configs(recipe):
        name = (config.name or _name_of(config.source)).replace("/", "-")
        if name in ("", ".", ".."):
            raise UserError(
                f"experts: {name!r} cannot be the name of an expert, whose folder has it; write first={config.source}.",
                key="mixture.bad_name",
            )
        if name in RESERVED or name in recipe.evaluation.baselines:
            raise UserError(
                f"experts: {name!r} is the name of another model of the report; give the expert another one, as in"
                f" first={config.source}.",
                key="mixture.reserved_name",
            )
        if name in found:
            raise UserError(
                f"experts: two experts have the name {name!r}; give them different names, as in first={config.source}.",
                key="mixture.same_name",
            )
        found[name] = config
    return found


def branch_names(groups: Iterable[str], recipe: MixtureRecipe) -> dict[str, str]:
    """The name of each group's expert: that of the group, with a suffix if another model of the run has it."""
    taken = {*named_experts(recipe), *RESERVED, *recipe.evaluation.baselines}
    names: dict[str, str] = {}
    for group in groups:
        name = group.replace("/", "-")
        while name in taken:
            name += "-expert"
        names[group] = name
        taken.add(name)
    return names


def _configs(recipe: MixtureRecipe) -> list[ExpertConfig]:
    """The recipe's experts; the student that experts branch from is one as well."""
    if recipe.branch is None:
        return recipe.experts
    if needs_general(recipe):
        raise UserError(
            "branch.source: no finished student; name one, or run potstill mix, which distils one first.",
            key="mixture.no_base",
        )
    assert recipe.branch.source is not None
    return [*recipe.experts, ExpertConfig(source=recipe.branch.source, name=BASE)]


def _name_of(source: str) -> str:
    """The last part of a path; for a run's student the name of the run."""
    parts = source.rstrip("/").split("/")
    return parts[-2] if len(parts) > 1 and parts[-1] in ("student", "control", "control_start") else parts[-1]
