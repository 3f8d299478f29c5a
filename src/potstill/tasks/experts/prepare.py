"""Load and check everything that a run of ``potstill mix`` needs."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from potstill.data.series.opening import open_store
from potstill.errors import UnknownName, UserError
from potstill.families.base import Forecaster, ModelSource
from potstill.families.devices import forecasting_device
from potstill.families.experts.model import Mixture
from potstill.families.experts.router import RouterSettings
from potstill.families.load import load_forecaster
from potstill.families.places import locate
from potstill.objectives.objective import Objective
from potstill.objectives.registry import import_terms
from potstill.recipe import MixtureRecipe, Recipe
from potstill.recipe.mixture import MixtureData
from potstill.tasks.experts.branch import branch_objective
from potstill.tasks.experts.names import named_experts
from potstill.tasks.experts.task import MixtureTask
from potstill.tasks.lengths import check_gate, fit_lengths
from potstill.tasks.prepare_forecasting import (
    check_data,
    check_label_share,
    check_objective,
    load_teachers,
    open_windows,
)
from potstill.tasks.settings import objective_config


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
    check_sections(recipe)
    device = forecasting_device(recipe.training.device)
    experts, cards = _load_experts(recipe, device)
    teachers = load_teachers(recipe, device)
    whole = Mixture(experts, RouterSettings(), ModelSource("the mixture", "mixture"))
    store = open_store(recipe.data)
    recipe.data = cast("MixtureData", fit_lengths(recipe.data, store, [whole, *teachers.values()]))
    check_gate(Objective(objective_config(recipe, None)).gate_steps(recipe.data.prediction_length), recipe.data)
    windows, validation = open_windows(recipe, store)
    return MixtureTask(recipe, device, store, windows, validation, teachers, experts, cards)


def check_sections(recipe: MixtureRecipe) -> None:
    """Raise UserError if objectives and router do not fit the rest of the recipe; reads neither models nor data."""
    import_terms(recipe.imports)
    check_objective(recipe, Objective(objective_config(recipe, None)))
    if recipe.branch is not None:
        check_label_share(recipe, branch_objective(recipe), "branch.alpha")
    _check_router(recipe)


def _check_router(recipe: MixtureRecipe) -> None:
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
    """The experts by name, frozen, and their model cards, as far as there are any.

    Those that an interrupted run left out are not loaded, unless others branch: all that it kept may be still to come.
    """
    experts: dict[str, Forecaster] = {}
    cards: dict[str, str] = {}
    named = named_experts(recipe)
    if recipe.branch is None and recipe.kept is not None:
        for name in recipe.kept:
            if name not in named:
                raise UnknownName("expert", name, list(named))
    for name, config in named.items():
        if recipe.branch is None and recipe.kept is not None and name not in recipe.kept:
            continue
        experts[name] = load_forecaster(config.source, device=device, revision=config.revision).freeze()
        card = _card_of(config.source)
        if card is not None:
            cards[name] = card.read_text(encoding="utf-8")
    return experts, cards


def _card_of(source: str) -> Path | None:
    card = Path(locate(source).location) / "README.md"
    return card if card.is_file() else None
