"""Load and check everything that a run of ``potstill mix`` needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from potstill.data.series.opening import open_store
from potstill.errors import UserError
from potstill.families.base import Forecaster, ModelSource
from potstill.families.devices import forecasting_device
from potstill.families.experts.model import Mixture
from potstill.families.experts.router import RouterSettings
from potstill.families.load import load_forecaster
from potstill.families.places import locate
from potstill.objectives.objective import Objective
from potstill.objectives.registry import import_terms
from potstill.recipe import ExpertConfig, MixtureRecipe, Recipe
from potstill.recipe.mixture import MixtureData
from potstill.tasks.base import check_teachers, objective_config
from potstill.tasks.experts.general import needs_general
from potstill.tasks.experts.report import RESERVED
from potstill.tasks.experts.task import MixtureTask
from potstill.tasks.lengths import fit_lengths
from potstill.tasks.prepare_forecasting import check_data, load_teachers, open_windows

BASE = "base"  # name of the student that experts branch from


def prepare_mixture(recipe: Recipe) -> MixtureTask:
    """Load experts, teachers and data, and check them against the recipe.

    Raises
    ------
    UserError
        If there are no experts, two have the same name, one cannot be loaded, or the data have no usable window.
    """
    recipe = recipe.model_copy(deep=True)
    assert isinstance(recipe, MixtureRecipe)
    check_data(recipe)
    import_terms(recipe.imports)
    check_teachers(recipe, Objective(objective_config(recipe, None)))
    check_router(recipe)
    device = forecasting_device(recipe.training.device)
    experts, cards = _load_experts(recipe, device)
    teachers = load_teachers(recipe, device)
    whole = Mixture(experts, RouterSettings(), ModelSource("the mixture", "mixture"))
    store = open_store(recipe.data)
    recipe.data = cast("MixtureData", fit_lengths(recipe.data, store, [whole, *teachers.values()]))
    windows, validation = open_windows(recipe, store)
    return MixtureTask(recipe, device, store, windows, validation, teachers, experts, cards)


def check_router(recipe: MixtureRecipe) -> None:
    """Raise UserError if the recipe names no experts, or fewer than the router chooses."""
    if not recipe.experts and recipe.branch is None:
        raise UserError(
            "experts: none given; name two or more forecasters with --students, a finished student with --branch, from"
            " which experts are trained, or one with --grow, in which experts are trained; or give --by domain, by"
            " which a student and experts are trained from data.",
            key="mixture.no_experts",
        )
    count = min(len(recipe.experts), recipe.most_experts) if recipe.branch is None else recipe.most_experts
    if "top_k" in recipe.router.model_fields_set and recipe.router.top_k > count:
        raise UserError(
            f"router.top_k: {recipe.router.top_k} of {count} experts cannot be chosen; write at most {count}.",
            key="mixture.top_k_above_experts",
        )


def _load_experts(recipe: MixtureRecipe, device: str) -> tuple[dict[str, Forecaster], dict[str, str]]:
    """The experts by name, frozen, and the model cards of those that have one."""
    experts: dict[str, Forecaster] = {}
    cards: dict[str, str] = {}
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
        if name in experts:
            raise UserError(
                f"experts: two experts have the name {name!r}; give them different names, as in first={config.source}.",
                key="mixture.same_name",
            )
        if recipe.kept is not None and name not in recipe.kept:
            continue
        experts[name] = load_forecaster(config.source, device=device, revision=config.revision).freeze()
        card = _card_of(config.source)
        if card is not None:
            cards[name] = card.read_text(encoding="utf-8")
    return experts, cards


def _configs(recipe: MixtureRecipe) -> list[ExpertConfig]:
    """The recipe's experts; the student that experts branch from is one as well, named ``base``."""
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
    parts: list[Any] = source.rstrip("/").split("/")
    return parts[-2] if len(parts) > 1 and parts[-1] in ("student", "control", "control_start") else parts[-1]


def _card_of(source: str) -> Path | None:
    card = Path(locate(source).location) / "README.md"
    return card if card.is_file() else None
