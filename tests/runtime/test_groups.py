"""Groups and covariates: forecasts are those of chronos-forecasting for the same dictionaries, and of PyTorch.

Differences are relative to the scale of the target's context, as in test_parity.py.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from chronos.chronos2 import Chronos2Pipeline
from exported_models import CONTEXT, GROUPS, HORIZON
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_parity import TOLERANCE, scale_of

from potstill.families.exported import ExportedForecaster
from potstill.runtime import ExportError
from potstill.runtime.windows import PASS_ROWS, Rows, Windows
from potstill.types import Windows as TorchWindows

NAN = np.nan
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Item = dict[str, Any]


def values(rng: np.random.Generator, length: int) -> np.ndarray:
    """A walk, noise, a flag, or a constant of any small integer, with gaps; its level is at most that of its range.

    PyTorch computes the mean of other constants in float32, and what that leaves of them is its scale.
    """
    kind = rng.integers(4)
    noise = rng.standard_normal(length)
    found = [noise.cumsum(), noise + 2, (noise > 0.5) * 1.0, np.full(length, float(rng.integers(-3, 4)))][kind]
    found = found * (1 if kind == 3 else 10.0 ** rng.integers(-2, 4))
    missing = rng.random(length) < rng.choice([0.0, 0.2, 0.9, 1.0], p=[0.6, 0.2, 0.1, 0.1])
    return np.where(missing, NAN, found)


@st.composite
def items(draw: st.DrawFn) -> tuple[list[Item], int]:
    """One to five items of one to three series, each with its own covariates, and a horizon."""
    steps = draw(st.integers(1, HORIZON))
    found = []
    for _ in range(draw(st.integers(1, 5))):
        rng = np.random.default_rng(draw(st.integers(0, 10**6)))
        length, series = draw(st.integers(2, CONTEXT + 20)), draw(st.integers(1, 3))
        past, known = draw(st.integers(0, 3)), draw(st.integers(0, 2))
        names = [f"c{k}" for k in range(past + known)]
        whole = {name: values(rng, length + steps) for name in names}
        for place, one in enumerate(whole.values()):  # those without any value are left out here, not by upstream
            if np.isnan(one[max(length - CONTEXT, 0) : length if place >= known else None]).all():
                one[length - 1] = 1.0
        item: Item = {"target": np.array([values(rng, length) for _ in range(series)])}
        if names:
            item["past_covariates"] = {name: whole[name][:length] for name in names}
        if known:
            item["future_covariates"] = {name: whole[name][length:] for name in names[:known]}
        found.append(item)
    return found, steps


def upstream(model: Any, batch: list[Item], steps: int, **options: Any) -> list[np.ndarray]:
    found = Chronos2Pipeline(model.module).predict(batch, prediction_length=steps, **options)
    return [np.sort(one.double().numpy(), axis=1) for one in found]


def check(found: np.ndarray, wanted: list[np.ndarray], batch: list[Item]) -> None:
    flat = np.concatenate(wanted)
    assert found.shape == flat.shape
    targets = [row for item in batch for row in np.atleast_2d(item["target"])]
    for one, other, target in zip(found, flat, targets, strict=True):
        scale = max(scale_of(target, "chronos2"), 1e-2)
        assert np.abs(one - other).max() <= TOLERANCE * scale, (np.abs(one - other).max(), scale)


@quick
@given(drawn=items())
def test_dictionaries_are_forecast_as_by_upstream(exported, drawn):
    batch, steps = drawn
    wanted = [one for item in batch for one in upstream(exported(GROUPS).torch, [item], steps)]
    check(exported(GROUPS).runtime.predict(batch, steps).quantiles, wanted, batch)


@pytest.mark.parametrize("steps", [HORIZON + 1, 3 * HORIZON + 5])
@pytest.mark.filterwarnings("ignore:We recommend keeping prediction length")
def test_rollouts_are_those_of_upstream(exported, steps: int):
    """Values that are known ahead are fed back in place of forecasts; the covariates of the past are forecast."""
    rng = np.random.default_rng(5)
    flags = (rng.random(90 + steps) < 0.3).astype(float)
    item = {
        "target": rng.standard_normal((2, 90)).cumsum(axis=1),
        "past_covariates": {"visits": rng.standard_normal(90), "promo": flags[:90]},
        "future_covariates": {"promo": flags[90:]},
    }
    batch = [item, {"target": rng.standard_normal(30)}]
    wanted = [one for part in batch for one in upstream(exported(GROUPS).torch, [part], steps)]
    check(exported(GROUPS).runtime.predict(batch, steps).quantiles, wanted, batch)


@quick
@given(drawn=items(), seed=st.integers(0, 999))
def test_groups_of_items_are_forecast_as_in_pytorch(exported, drawn, seed):
    """Any ids in any order; the folder as a model of the main package."""
    batch, steps = drawn
    series = [row for item in batch for row in np.atleast_2d(item["target"])]
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 3, len(series)).tolist()
    context = torch.full((len(series), max(map(len, series))), torch.nan, dtype=torch.float64)
    for row, one in zip(context, series, strict=True):
        row[len(row) - len(one) :] = torch.from_numpy(one)
    windows = TorchWindows.of_context(context, steps, group=torch.tensor(ids))
    model, runtime = exported(GROUPS).torch, exported(GROUPS).runtime
    wanted = model.predict(windows, steps).quantiles.numpy()
    for found in (
        runtime.predict(series, steps, groups=[f"g{one}" for one in ids]).quantiles,
        ExportedForecaster(runtime, model.source).predict(windows, steps).quantiles.numpy(),
    ):
        check(found, [wanted], [{"target": row} for row in series])


def test_all_series_in_one_group_are_upstreams_cross_learning(exported):
    rng = np.random.default_rng(0)
    batch = [{"target": rng.standard_normal(length).cumsum()} for length in (40, 90, 17)]
    wanted = upstream(exported(GROUPS).torch, batch, 9, cross_learning=True)
    found = exported(GROUPS).runtime.predict(batch, 9, groups=[0, 0, 0], quantiles=[0.5])
    alone = exported(GROUPS).runtime.predict(batch, 9, quantiles=[0.5])
    middle = np.concatenate(wanted)[:, [6]]
    np.testing.assert_allclose(found.quantiles, middle, atol=1e-4)
    assert np.abs(alone.quantiles - middle).max() > 1e-2


def test_a_forecast_does_not_depend_on_other_groups(exported):
    """Also where the rows take several runs of the graph."""
    rng = np.random.default_rng(1)
    batch: list[Item] = []
    for place in range(50):
        length = int(rng.integers(5, 90))
        covariates = {"a": rng.standard_normal(length)} if place % 3 else {}
        batch.append({"target": rng.standard_normal((1 + place % 2, length)), "past_covariates": covariates})
    together = exported(GROUPS).runtime.predict(batch, 5).quantiles
    alone = [exported(GROUPS).runtime.predict([item], 5).quantiles for item in batch]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


def test_runs_of_the_graph_keep_groups_together():
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(np.arange(40), rng.integers(1, 8, 40)))
    group = np.concatenate([group, np.full(2 * PASS_ROWS, 40), group[:1] * 0 + 41])
    parts = Rows(np.zeros((len(group), 1)), group, np.zeros((len(group), 1))).passes()
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(group)))
    ids = [set(group[part].tolist()) for part in parts]
    assert sum(map(len, ids)) == 42
    sizes = [len(part) for part in parts]
    assert sizes[-2:] == [2 * PASS_ROWS, 1]
    assert max(sizes[:-2]) <= PASS_ROWS
    assert min(sizes[:-3]) > PASS_ROWS - 8


def test_equal_covariates_of_a_group_are_one_row():
    context, group = np.zeros((3, 4)), np.array([0, 0, 1])
    flags = np.array([1.0, NAN, 0, 1])
    past = np.array([[flags, [NAN] * 4], [flags, flags], [flags, [NAN] * 4]])
    rows = Windows(context, group, past_covariates=past).rows(2, 3)
    assert rows.group.tolist() == [0, 0, 1, 0, 0, 1]
    np.testing.assert_array_equal(rows.context[3:], np.tile(flags[1:], (3, 1)))
    assert rows.future.shape == (6, 2)
    assert np.isnan(rows.future).all()


def test_items_without_covariates_need_no_groups(exported):
    runtime = exported("linear").runtime
    found = runtime.predict([{"target": [1.0, 2, NAN, 4]}, {"target": np.arange(9)}], 3)
    np.testing.assert_array_equal(found.quantiles, runtime.predict([[1.0, 2, NAN, 4], np.arange(9)], 3).quantiles)


@pytest.mark.parametrize("name", ["linear", "mixture"])
@pytest.mark.parametrize("data", ["covariates", "groups"])
def test_a_folder_of_single_series_names_the_export(exported, name: str, data: str):
    item = {"target": np.arange(5.0), "past_covariates": {"a": np.arange(5.0)}}
    given_groups = {"groups": [0, 0]} if data == "groups" else {}
    contexts = [[1.0, 2], [3.0, 4]] if data == "groups" else [item]
    with pytest.raises(ExportError, match=r"potstill export --groups`\.$"):
        exported(name).runtime.predict(contexts, 3, **given_groups)


A = {"a": [1.0, 2, 3]}


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ([1.0, 2], "item 1: must be a dictionary with the key target"),
        ({}, "item 1: must be a dictionary with the key target"),
        ({"target": [1.0], "covariates": {}}, "no others than past_covariates and future_covariates"),
        ({"target": []}, "item 1, target: has no values"),
        ({"target": [["a", 1.0]]}, "item 1, target"),
        ({"target": np.zeros((1, 2, 3))}, "item 1, target: has the shape [1, 2, 3]"),
        ({"target": [1.0, 2, 3], "past_covariates": [1.0]}, "past_covariates: is of the type list"),
        ({"target": [1.0, 2], "past_covariates": A}, "past_covariates 'a': has the shape [3]; give 2 values"),
        ({"target": [1.0], "past_covariates": {"a": ["sun"]}}, "past_covariates 'a': cannot be read as numbers"),
        (
            {"target": [1.0, 2, 3], "past_covariates": A, "future_covariates": {"a": [1.0]}},
            "future_covariates 'a': has the shape [1]; give 3 values, as many as steps that are forecast",
        ),
        (
            {"target": [1.0, 2, 3], "past_covariates": A, "future_covariates": {"b": [1.0, 2, 3]}},
            "future_covariates: 'b' is not in past_covariates",
        ),
    ],
    ids=range(11),
)
def test_items_that_are_none(exported, item: Any, words: str):
    with pytest.raises(ExportError, match=re.escape(words)):
        exported(GROUPS).runtime.predict([{"target": [1.0]}, item], 3)


def test_an_id_for_each_item(exported):
    with pytest.raises(ExportError, match="groups: has 3 ids, and there are 2 items"):
        exported(GROUPS).runtime.predict([[1.0], [2.0]], 3, groups=[1, 1, 2])
