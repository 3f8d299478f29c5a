"""Experts that branch from one student: groups of series, what is kept, and the mixture of them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from usage_errors import usage_error

import potstill
from potstill.data.series.opening import open_store
from potstill.families.load import load_forecaster
from potstill.recipe import SeriesData
from potstill.tasks.experts.groups import group_series
from potstill.tasks.experts.names import branch_names


@pytest.fixture
def store(files):
    return open_store(SeriesData(paths=[str(path) for path in files]))


def test_groups_by_domain_and_by_frequency(store):
    groups = group_series(store, "8:1:1", "domain", 0)
    assert {name: rows.tolist() for name, rows in groups.items()} == {"daily": [0], "weekly": [1]}
    assert {name: rows.tolist() for name, rows in group_series(store, "8:1:1", "frequency", 0).items()} == {"h": [0, 1]}


def test_clusters_separate_different_seasons(tmp_path):
    import pandas as pd

    rng = np.random.default_rng(1)
    waves = {
        f"x{i}": np.sin(np.arange(600) * 2 * np.pi / (24 if i % 2 else 7)) + 0.1 * rng.normal(size=600)
        for i in range(8)
    }
    stamps = pd.date_range("2024", periods=600, freq="h")
    pd.DataFrame({"date": stamps, **waves}).to_csv(tmp_path / "waves.csv", index=False)
    store = open_store(SeriesData(paths=[str(tmp_path / "waves.csv")]))
    groups = group_series(store, "8:1:1", "cluster:2", 0)
    assert sorted(rows.tolist() for rows in groups.values()) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    again = group_series(store, "8:1:1", "cluster:2", 0)
    assert {name: rows.tolist() for name, rows in again.items()} == {n: r.tolist() for n, r in groups.items()}
    assert len(group_series(store, "8:1:1", "cluster:99", 0)) <= 8


def test_a_store_of_some_series(store):
    import pickle  # the data loader's workers get a store in this way

    some = store.only([1])
    assert some.usable.tolist() == [False, True]
    assert some.fingerprint != store.fingerprint
    copied = pickle.loads(pickle.dumps(some))
    assert (copied.skip, copied.fingerprint) == (some.skip, some.fingerprint)
    assert store.usable.all()


def test_experts_are_trained_by_domain_and_mixed(make_recipe, base, tmp_path, capsys):
    branch = {"source": str(base), "by": "domain", "max_steps": 60, "batch_size": 16, "learning_rate": 3e-3}
    run = potstill.mix(make_recipe([], branch=branch), tmp_path / "run")
    said = capsys.readouterr().err
    assert "Expert daily" in said
    assert "Branches   2 more experts" in said
    assert said.count("forecasts/base") == 1
    mixture = load_forecaster(run)
    assert set(mixture.experts) == {"base", "daily", "weekly"}
    potstill.mix(make_recipe([], branch=branch), run, resume=True)
    assert load_forecaster(run).fingerprint == mixture.fingerprint


def test_an_expert_that_does_not_improve_is_left_out(make_recipe, base, tmp_path, capsys):
    branch = {"source": str(base), "by": "domain", "max_steps": 2, "batch_size": 16, "learning_rate": 0.1}
    run = potstill.mix(make_recipe([], branch=branch), tmp_path / "run")
    assert "left out" in capsys.readouterr().err
    assert set(load_forecaster(run).experts) < {"base", "daily", "weekly"}


def test_names_of_experts_do_not_depend_on_those_that_were_left_out(make_recipe, base):
    recipe = make_recipe(["daily"], branch={"source": str(base)})
    recipe.evaluation.baselines = ["ridge"]
    groups = ["daily", "weekly", "a/b", "a-b", "ridge", "base"]
    names = branch_names(groups, recipe)
    assert names == {
        "daily": "daily-expert",
        "weekly": "weekly",
        "a/b": "a-b",
        "a-b": "a-b-expert",
        "ridge": "ridge-expert",
        "base": "base-expert",
    }
    recipe.kept = ["weekly", "daily-expert"]
    assert branch_names(groups, recipe) == names


@pytest.mark.parametrize("kept", [{"daily-expert", "weekly"}, {"base", "daily-expert", "weekly"}], ids=len)
def test_a_resumed_run_finds_the_experts_that_it_trained(make_recipe, base, tmp_path, kept):
    branch = {"source": str(base), "by": "domain", "max_steps": 60, "batch_size": 16, "learning_rate": 3e-3}
    recipe = make_recipe([], branch=branch, most_experts=len(kept))
    useless = load_forecaster(base)
    useless.scale_spread(100)
    useless.save(tmp_path / "daily")
    recipe.experts = [str(tmp_path / "daily")]
    run = potstill.mix(recipe, tmp_path / "run")
    assert set(load_forecaster(run).experts) == kept  # without the one that the recipe calls daily
    before, trained = load_forecaster(run).fingerprint, sorted(path.name for path in (run / "experts").iterdir())
    for name in ("student", "checkpoints/student"):
        shutil.rmtree(run / name)
    potstill.mix(recipe, run, resume=True)
    assert load_forecaster(run).fingerprint == before
    assert sorted(path.name for path in (run / "experts").iterdir()) == trained == ["daily-expert", "weekly"]


def test_an_unknown_grouping_is_refused(make_recipe, base):
    with usage_error("recipe.invalid_value", "branch.by"):
        make_recipe([], branch={"source": str(base), "by": "colour"})
