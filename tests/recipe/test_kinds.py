"""The five kinds of recipe: which one is made, what it holds by default, and whose keys it refuses."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from usage_errors import usage_error

from potstill.recipe import (
    ForecastGkdRecipe,
    ForecastRecipe,
    ForecastTraining,
    GkdRecipe,
    LanguageGkd,
    LanguageGkdRecipe,
    LanguageRecipe,
    MixtureRecipe,
    OfflineRecipe,
    Recipe,
)
from potstill.recipe.base import MAX_WHOLE
from potstill.recipe.kinds import kinds, node_at, pair
from potstill.recipe.options import recipe_of_run, resolve

KINDS = (ForecastRecipe, ForecastGkdRecipe, MixtureRecipe, LanguageRecipe, LanguageGkdRecipe)
NAMES = st.text("abcXYZ019 _-é中:#'\"", min_size=1, max_size=12)


def tree_of(kind: type[Recipe], **sections: Any) -> dict[str, Any]:
    """The least that a recipe of a kind must say."""
    task, algorithm = pair(kind)
    training = {"algorithm": algorithm, **sections.pop("training", {})}
    return {"task": task, "teacher": ["embedded"], "training": training, **sections}


def keys_of(kind: type[BaseModel], *before: str) -> Iterator[tuple[str, ...]]:
    """All ways of keys through the sections."""
    for name in kind.model_fields:
        yield (*before, name)
        section = node_at(kind, (name,))
        if section is not None and name != "teacher":
            yield from keys_of(section, *before, name)


def foreign_keys() -> Iterator[tuple[type[Recipe], str, list[str]]]:
    """(kind, key that only other kinds have, what the error names)."""
    for kind in KINDS:
        task, algorithm = pair(kind)
        own = set(keys_of(kind))
        owners: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        for other in KINDS:
            for key in keys_of(other):
                if key not in own and (len(key) == 1 or key[:-1] in own):
                    owners.setdefault(key, []).append(pair(other))
        for key, of in owners.items():
            if (whose := [other for other in of if other[0] == task]) != []:
                facts = [f"training.algorithm: {whose[0][1]}", f"training.algorithm: {algorithm}"]
            else:
                models = {"forecast": "forecasters", "language": "language models", "mixture": "mixtures"}[of[0][0]]
                facts = [models, f"task: {task}"]
            yield kind, ".".join(key), facts


FOREIGN_KEYS = list(foreign_keys())


def test_the_kinds_are_found_by_their_classes():
    assert tuple(sorted(map(pair, kinds(Recipe)))) == tuple(sorted(map(pair, KINDS)))
    assert pair(Recipe) == ("forecast", "offline")
    assert list(kinds(LanguageRecipe)) == [LanguageRecipe]


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_make_a_recipe_gives_its_kind(kind: type[Recipe], tmp_path: Path):
    tree = tree_of(kind)
    recipe = Recipe(**tree)
    recipe.write(tmp_path / "r.yaml")
    made = [
        recipe,
        kind(**tree),
        kind(teacher=["embedded"]),  # type: ignore
        Recipe.model_validate(tree),
        Recipe.model_validate(recipe),
        TypeAdapter(Recipe).validate_python(tree),
        Recipe.model_validate_json(recipe.model_dump_json()),
        Recipe.lay_over(copy.deepcopy(tree), {}),
        Recipe.read(None, {"task": tree["task"], "teacher": "embedded", "training": tree["training"]}),
        Recipe.read(tmp_path / "r.yaml"),
        kind.read(tmp_path / "r.yaml"),
        copy.deepcopy(recipe),
        pickle.loads(pickle.dumps(recipe)),
        recipe.model_copy(deep=True),
        recipe.absolute(),
        resolve(recipe, {"seed": 0}),
    ]
    assert [type(one) for one in made] == [kind] * len(made)
    assert all(one == recipe and isinstance(one, Recipe) for one in made)
    offline, gkd = isinstance(recipe, OfflineRecipe), isinstance(recipe, GkdRecipe)
    assert offline + gkd == (tree["task"] != "mixture")


def test_a_recipe_that_names_no_kind_is_a_forecasters():
    assert type(Recipe()) is type(Recipe.read(None)) is type(OfflineRecipe()) is ForecastRecipe  # type: ignore
    assert Recipe().model_fields_set == set()
    assert type(Recipe(training=ForecastTraining(seed=3))) is ForecastRecipe
    teacher: Any = ["x"]
    assert type(Recipe(task="language", teacher=teacher, training=LanguageGkd())) is LanguageGkdRecipe


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (ForecastRecipe, "objective.alpha", 0.8),
        (ForecastRecipe, "objective.soft", "expected_pinball"),
        (ForecastRecipe, "objective.hard", "pinball"),
        (ForecastRecipe, "objective.beta", 0),
        (ForecastRecipe, "objective.auxiliary", {}),
        (ForecastRecipe, "training.learning_rate", None),
        (ForecastRecipe, "training.batch_size", 64),
        (ForecastRecipe, "training.algorithm", "offline"),
        (ForecastRecipe, "training.arguments", {}),
        (ForecastRecipe, "training.rollout.share", 0),
        (ForecastRecipe, "evaluation.max_windows", 2000),
        (ForecastRecipe, "evaluation.baselines", ["seasonal_naive", "ridge", "auto_theta"]),
        (ForecastGkdRecipe, "training.learning_rate", None),
        (ForecastGkdRecipe, "training.gkd.form", "heads"),
        (LanguageRecipe, "objective.alpha", 0.5),
        (LanguageRecipe, "objective.temperature", 2.0),
        (LanguageRecipe, "objective.soft", "kl"),
        (LanguageRecipe, "objective.hard", "cross_entropy"),
        (LanguageRecipe, "training.learning_rate", 3e-4),
        (LanguageRecipe, "training.batch_size", 16),
        (LanguageRecipe, "evaluation.max_windows", 500),
        (LanguageRecipe, "data.max_length", 512),
        (LanguageGkdRecipe, "training.learning_rate", 3e-4),
        (LanguageGkdRecipe, "training.batch_size", 16),
        (LanguageGkdRecipe, "training.gkd.temperature", 0.9),
        (LanguageGkdRecipe, "training.gkd.seq_kd", False),
    ],
)
def test_defaults_of_a_kind(kind: type[Recipe], key: str, value: object):
    node: Any = Recipe(**tree_of(kind))
    for name in key.split("."):
        node = getattr(node, name)
    assert node == value


def test_keys_of_others_are_many():
    """A few that must be among those made from the classes."""
    found = {(kind, key) for kind, key, _ in FOREIGN_KEYS}
    assert {
        (LanguageRecipe, "data.stride"),
        (LanguageRecipe, "student.preset"),
        (LanguageRecipe, "evaluation.baselines"),
        (LanguageGkdRecipe, "training.rollout"),
        (LanguageGkdRecipe, "training.gkd.form"),
        (ForecastRecipe, "objective.temperature"),
        (ForecastRecipe, "training.gkd"),
        (ForecastGkdRecipe, "objective"),
        (ForecastGkdRecipe, "labels"),
        (ForecastGkdRecipe, "training.gkd.seq_kd"),
    } <= found


@pytest.mark.parametrize(
    ("kind", "key", "facts"), FOREIGN_KEYS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_a_key_of_another_kind_is_refused_by_name(kind: type[Recipe], key: str, facts: list[str]):
    with usage_error("recipe.key_of_another_kind", f"options: {key}: ", *facts):
        Recipe.lay_over(tree_of(kind), {key: None})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("section", ["", "teacher.0", "student", "data", "training", "evaluation"])
def test_an_unknown_key_lists_the_known_ones(kind: type[Recipe], section: str):
    tree = tree_of(kind, teacher=[{"source": "x"}], student={}, data={}, evaluation={})
    node: Any = tree
    for part in section.split(".") if section else []:
        node = node[int(part) if part.isdigit() else part]
    node["sauce"] = 1
    place = node_at(kind, tuple(section.replace(".0", "").split(".") if section else ()))
    assert place is not None
    where = f"{section}.sauce".removeprefix(".")
    with usage_error("recipe.unknown_key", f"options: {where}: ", ", ".join(place.model_fields)):
        Recipe.lay_over(tree, {})


@pytest.mark.parametrize(
    ("tree", "key", "facts"),
    [
        ({"task": "vision"}, "task", ["'forecast'", "'language'", "'vision'"]),
        ({"task": None}, "task", ["'forecast'", "'language'", "None"]),
        ({"task": ["language"]}, "task", ["'forecast'", "'language'", "['language']"]),
        (
            {"task": "language", "training": {"algorithm": "trl"}},
            "training.algorithm",
            ["'offline'", "'gkd'", "'trl'"],
        ),
        ({"training": "fast"}, "training", ["section", "'fast'"]),
    ],
)
def test_a_wrong_kind_lists_those_there_are(tree: dict, key: str, facts: list[str]):
    with pytest.raises(ValidationError):
        Recipe.model_validate(tree)
    with pytest.raises(ValidationError):
        Recipe(**tree)
    with usage_error("recipe.invalid_value", f"options: {key}: ", *facts):
        Recipe.lay_over(tree, {})


@pytest.mark.parametrize("kind", KINDS)
def test_another_kinds_recipe_is_not_read_as_this_one(kind: type[Recipe]):
    for other in KINDS:
        if other is not kind:
            part = 0 if pair(other)[0] != pair(kind)[0] else 1
            key = ("task", "training.algorithm")[part]
            with usage_error(
                "recipe.invalid_value", f"options: {key}: ", repr(pair(kind)[part]), repr(pair(other)[part])
            ):
                kind.lay_over(tree_of(other), {})


def sections(kind: type[Recipe]) -> st.SearchStrategy[dict[str, Any]]:
    """Some keys of each section that a kind has."""
    names = st.lists(NAMES, max_size=3)
    data = {"paths": names, "split": st.sampled_from(["8:1:1", "2020-01-01,2021-01-01"]) | NAMES, "exclude": names}
    training: dict[str, Any] = {"learning_rate": st.floats(1e-12, 1e3), "seed": st.integers(0, MAX_WHOLE)}
    training["arguments"] = st.dictionaries(NAMES, st.integers() | st.booleans() | NAMES | st.floats(0, 1), max_size=2)
    extra: dict[str, Any] = {"control": st.booleans(), "imports": names}
    if issubclass(kind, GkdRecipe):
        training["gkd"] = st.fixed_dictionaries({}, optional={"lmbda": st.floats(0, 0.9), "beta": st.floats(0, 1)})
    else:
        weights = st.dictionaries(NAMES, st.floats(0, 1e9), max_size=2)
        terms = st.dictionaries(NAMES, st.fixed_dictionaries({}, optional={"weight": st.floats(0, 9)}), max_size=2)
        # alpha + beta must not exceed 1, and alpha is 0.8 where it is left out
        options = {"alpha": st.floats(0, 0.5), "beta": st.floats(0, 0.2), "terms": terms, "auxiliary": weights}
        extra["objective"] = st.fixed_dictionaries({}, optional=options)
        extra["labels"] = st.none() | NAMES
    if pair(kind)[0] == "language":
        data["max_length"] = st.integers(8, 10**9)
    else:
        data["target"] = st.none() | names
    overrides = st.dictionaries(NAMES, st.integers() | st.booleans() | NAMES, max_size=3)
    extra["student"] = st.fixed_dictionaries({}, optional={"overrides": overrides, "family": st.none() | NAMES})
    extra["data"] = st.fixed_dictionaries({}, optional=data)
    if kind is MixtureRecipe:
        extra = {key: value for key, value in extra.items() if key not in ("control", "labels", "student")}
    training["algorithm"] = st.just(pair(kind)[1])
    needed = {"training": st.fixed_dictionaries({"algorithm": training.pop("algorithm")}, optional=training)}
    return st.fixed_dictionaries(
        {"task": st.just(pair(kind)[0]), "teacher": st.lists(NAMES, min_size=1, max_size=3), **needed}, optional=extra
    )


@given(tree=st.sampled_from(KINDS).flatmap(sections))
def test_yaml_out_and_in_gives_an_equal_recipe_of_the_same_kind(tmp_path_factory, tree):
    tree = {**tree, "teacher": [{"source": source} for source in tree["teacher"]]}
    recipe = Recipe.model_validate(tree)
    assert pair(type(recipe)) == (tree["task"], tree["training"]["algorithm"])
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    recipe.write(path)
    read = Recipe.read(path)
    assert (type(read), read) == (type(recipe), recipe)
    again = Recipe.lay_over(recipe.model_dump(mode="json", exclude_unset=True), {})
    assert (type(again), again) == (type(recipe), recipe)
    assert again.model_fields_set == recipe.model_fields_set
    assert again.training.model_fields_set == recipe.training.model_fields_set


def test_a_written_recipe_reads_in_order():
    text = Recipe(task="language").to_yaml()
    keys = [line.partition(":")[0] for line in text.splitlines() if line[0].isalpha()]
    assert keys[:6] == ["task", "teacher", "student", "data", "labels", "objective"]
    assert keys[6:] == ["training", "evaluation", "imports", "control", "control_steps"]


@pytest.mark.parametrize(("alpha", "beta"), [(0.8, 0.3), (1, 0.1), (0.6, 1)])
def test_the_weights_of_the_objective_leave_none_below_zero(alpha: float, beta: float):
    with usage_error("objective.weights_above_one", "options: objective: ", f"{alpha:g} + {beta:g}"):
        Recipe.read(None, {"objective.alpha": alpha, "objective.beta": beta})


@pytest.mark.parametrize("alpha", [0, 0.1, 0.3, 0.7, 0.8, 0.9, 1])
def test_weights_may_leave_the_hard_term_nothing(alpha: float):
    objective = ForecastRecipe.read(None, {"objective.alpha": alpha, "objective.beta": round(1 - alpha, 1)}).objective
    assert objective.beta == round(1 - alpha, 1)


@pytest.mark.parametrize(
    ("key", "value", "error", "fact"),
    [
        ("objective.beta", -0.1, "recipe.invalid_value", "objective.beta"),
        ("objective.auxiliary", {"router": -1}, "recipe.invalid_value", "objective.auxiliary.router"),
        ("objective.auxiliary", {"router": float("inf")}, "recipe.invalid_value", "objective.auxiliary.router"),
        ("training.epochs", float("inf"), "recipe.invalid_value", "training.epochs"),
        ("training.learning_rate", float("nan"), "recipe.invalid_value", "training.learning_rate"),
        ("objective.terms", {"kl": {"weight": -1}}, "objective.bad_weight", "objective.terms: kl.weight"),
        ("objective.terms", {"kl": {"weight": True}}, "objective.bad_weight", "objective.terms: kl.weight"),
        ("objective.terms", {"kl": {"weight": float("nan")}}, "objective.bad_weight", "objective.terms: kl.weight"),
        ("training.arguments", {"seed": 3}, "training.argument_decided_elsewhere", "training.seed"),
        ("training.max_steps", 3, None, ""),
    ],
)
def test_bounds_that_all_tasks_share(key: str, value: Any, error: str | None, fact: str):
    for kind in (ForecastRecipe, LanguageRecipe):
        if error is None:
            assert kind.lay_over(tree_of(kind), {key: value})
            continue
        with usage_error(error, "options: ", fact):
            kind.lay_over(tree_of(kind), {key: value})


def test_weights_of_terms_and_auxiliary_losses():
    over = {"objective.auxiliary": {"router": 0.5}, "objective.terms": {"median": {"weight": 2, "power": 3}, "dtw": {}}}
    objective = ForecastRecipe.read(None, over).objective
    assert objective.auxiliary == {"router": 0.5}
    assert objective.terms == {"median": {"weight": 2, "power": 3}, "dtw": {}}


@pytest.mark.parametrize(
    ("kind", "over", "key", "fact"),
    [
        (
            ForecastRecipe,
            {"training.rollout.share": 0.5, "labels": "x"},
            "training.rollout_without_teacher",
            "training.rollout",
        ),
        (
            ForecastRecipe,
            {"teacher": [{"source": "a", "weight": 2}, {"source": "b"}], "ensemble": "recent"},
            "ensemble.weights_given",
            "teacher.weight",
        ),
        (ForecastGkdRecipe, {"teacher": []}, "teacher.missing", "--teacher"),
        (ForecastGkdRecipe, {"data.label_share": 0.5}, "data.label_share_with_gkd", "label_share"),
        (LanguageGkdRecipe, {"teacher": None}, "teacher.missing", "--teacher"),
        (LanguageGkdRecipe, {"training.gkd": {"seq_kd": True, "lmbda": 1}}, "gkd.seq_kd_without_data", "seq_kd"),
    ],
)
def test_keys_that_contradict_each_other(kind: type[Recipe], over: dict[str, Any], key: str, fact: str):
    with usage_error(key, "options: ", fact):
        Recipe.lay_over(tree_of(kind), over)


def test_stored_logits_have_a_temperature_of_their_own_that_nobody_set():
    recipe = LanguageRecipe(labels="auto")
    assert recipe.objective.temperature == 1.0
    assert recipe.model_dump(exclude_unset=True) == {"task": "language", "labels": "auto"}
    assert LanguageRecipe.lay_over({"labels": "auto"}, {"objective.temperature": 3}).objective.temperature == 3
    live = LanguageRecipe()
    live.labels = "auto"
    assert live.objective.temperature == 1.0


def test_what_was_given_beside_a_run_of_another_kind_is_named(tmp_path: Path):
    Recipe(**tree_of(ForecastGkdRecipe)).write(tmp_path / "recipe.yaml")
    assert type(recipe_of_run(tmp_path, Recipe())) is ForecastGkdRecipe
    with usage_error("run.other_recipe", "recipe.yaml", "objective.alpha: None", "0.5"):
        recipe_of_run(tmp_path, Recipe.read(None, {"objective.alpha": 0.5}))


def test_a_run_with_learned_weights_is_resumed_by_the_command_that_started_it(tmp_path: Path):
    given = {"teacher": [{"source": "a", "name": "one"}, {"source": "b"}], "ensemble": "validation"}
    learned = [{"source": "a", "name": "one", "weight": {"x": 0.3}}, {"source": "b", "weight": {"x": 0.7}}]
    Recipe.lay_over({}, {"teacher": learned, "ensemble": "fixed"}).write(tmp_path / "recipe.yaml")
    assert recipe_of_run(tmp_path, Recipe.lay_over({}, given)).teacher[1].weight == {"x": 0.7}
    given["teacher"] = [{"source": "a", "name": "other"}, {"source": "b"}]
    with usage_error("run.other_recipe", "'name': 'one'", "'name': 'other'"):
        recipe_of_run(tmp_path, Recipe.lay_over({}, given))


def test_given_weights_are_not_taken_for_learned_ones(tmp_path: Path):
    teachers = [{"source": "a", "weight": 3}, {"source": "b"}]
    Recipe.lay_over({}, {"teacher": teachers}).write(tmp_path / "recipe.yaml")
    with usage_error("run.other_recipe", "{'source': 'a', 'weight': 3.0}, b"):
        recipe_of_run(tmp_path, Recipe.lay_over({}, {"teacher": ["a", "b"], "ensemble": "validation"}))


def test_a_mixture_is_not_trained_by_gkd():
    with usage_error("recipe.invalid_value", "training.algorithm", "'offline'", "'gkd'"):
        Recipe.read(None, {"task": "mixture", "training.algorithm": "gkd"})
