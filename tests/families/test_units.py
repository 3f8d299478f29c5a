"""Forecasts follow the units of their contexts: a multiple, or a level, of any size that float64 can represent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from potstill.families.base import in_safe_units
from potstill.families.ensemble import Ensemble
from potstill.families.experts.model import Mixture
from potstill.families.experts.router import RouterSettings
from potstill.families.load import load
from potstill.families.registry import family
from potstill.families.weighting import RecentSkill
from potstill.types import Windows

HORIZON, CONTEXT = 16, 96
SIZES: dict[str, dict[str, Any]] = {
    "chronos2": {"num_layers": 1, "d_model": 32, "num_heads": 2, "d_kv": 16, "d_ff": 64},
    "moirai": {"d_model": 128, "num_layers": 1, "patch_sizes": 16},
    "patch_transformer": {"d_model": 32, "num_layers": 1, "num_heads": 2, "patch_size": 16},
    "mixer": {"d_model": 32, "num_layers": 1, "patch_size": 16},
    "linear": {},
}
NAMES = [*SIZES, "bolt", "mixture", "ensemble"]


def built(name: str) -> Any:
    torch.manual_seed(0)
    chosen = family(name)
    model = chosen.build(chosen.design(None, SIZES[name], CONTEXT, HORIZON), 0.0)
    model.module.eval()
    return model


@pytest.fixture(scope="module")
def make(tiny_bolt) -> Callable[[str], Any]:
    def made(name: str) -> Any:
        if name == "moirai":
            pytest.importorskip("uni2ts", reason="uni2ts is installed by the Makefile")
        if name == "bolt":
            return load(tiny_bolt)
        if name == "mixture":
            experts = {one: built(one) for one in ("linear", "mixer")}
            mixture = Mixture(experts, RouterSettings(top_k=2), built("linear").source)
            mixture.module.eval()
            return mixture
        if name == "ensemble":
            models = {one: built(one) for one in ("chronos2", "linear")}
            return Ensemble(models, RecentSkill(list(models.values()), 8))
        return built(name)

    return made


def series() -> np.ndarray:
    """``[3, CONTEXT]`` float64: around zero, with a gap, and at a level of 10."""
    steps = np.arange(CONTEXT)
    noise = np.random.default_rng(0).normal(size=(3, CONTEXT))
    x = 3 * np.sin(2 * np.pi * steps / 24) + noise
    x[1, 10:20] = np.nan
    x[2] += 10
    return x


def forecast(model: Any, context: Any, horizon: int = HORIZON) -> np.ndarray:
    return model.predict(context, horizon).quantiles.numpy()


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    centre = np.median(wanted, axis=(1, 2), keepdims=True)
    return float((np.abs(found - wanted) / np.abs(wanted - centre).max(axis=(1, 2), keepdims=True)).max())


@pytest.mark.parametrize("name", NAMES)
def test_a_multiple_of_a_series_has_that_multiple_of_its_forecast(make, name):
    model, x = make(name), series()
    wanted = forecast(model, x)
    assert wanted.dtype == np.float64
    for power in (-300, -40, -12, -6, -3, -1, 3, 9, 15, 20, 40, 290):
        factor = 10.0**power
        found = forecast(model, factor * x)
        assert np.isfinite(found).all()
        assert relative_error(found / factor, wanted) < 1e-3, power


@pytest.mark.parametrize("name", [name for name in NAMES if name != "mixture"])
def test_a_level_is_added_to_the_forecast(make, name):
    model, x = make(name), series()
    x = x[[0, 2]] if name == "moirai" else x  # uni2ts reads a missing value as 0
    wanted = forecast(model, x)
    for level in (-1e4, 1e6, 2e9, -1e12):
        assert relative_error(forecast(model, x + level) - level, wanted) < 1e-3, level


def test_a_router_reads_the_same_features_at_any_large_level(make):
    """Whether values are zero, or far from it, are features of a router; a level of 2e9 is removed before."""
    model, x = make("mixture"), series()
    wanted = forecast(model, x + 1e6) - 1e6
    assert relative_error(forecast(model, x + 2e9) - 2e9, wanted) < 1e-3


@pytest.mark.parametrize("name", ["linear", "chronos2"])
def test_rollouts_follow_the_units_too(make, name):
    model, x = make(name), series()
    with pytest.warns(UserWarning, match="feeding"):
        wanted, tiny, high = (forecast(model, part, 3 * HORIZON) for part in (x, 1e-12 * x, x + 2e9))
    assert relative_error(tiny * 1e12, wanted) < 1e-3
    assert relative_error(high - 2e9, wanted) < 1e-3


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(power=st.integers(-30, 30), level=st.floats(-1e6, 1e6), length=st.integers(8, CONTEXT), seed=st.integers(0, 99))
@example(power=0, level=65535.375, length=54, seed=35)
def test_chronos_2_is_equivariant(make, chronos2, power, level, length, seed):
    x = np.random.default_rng(seed).normal(size=(1, length)).cumsum(axis=1)
    wanted = forecast(chronos2, x)
    assert relative_error(forecast(chronos2, (x + level) * 10.0**power) / 10.0**power - level, wanted) < 4e-3


@pytest.fixture(scope="module")
def chronos2() -> Any:
    return built("chronos2")


@pytest.mark.parametrize("name", ["linear", "chronos2", "bolt"])
def test_constants_are_forecast_as_near_constants_at_any_size(make, name):
    model = make(name)
    for value in (1e-300, 1e-12, 1e-3, 2e9 + 0.25, 1e20, 1e290):
        found = forecast(model, [value] * 40)
        assert np.isfinite(found).all()
        assert np.abs(found / value - 1).max() < 0.1, value


def test_lists_whole_numbers_and_other_types_are_read_exactly(make):
    model = make("linear")
    whole = [2_000_000_000 + step % 7 for step in range(40)]
    wanted = forecast(model, [[float(step % 7) for step in range(40)]])
    for context in (whole, np.array(whole), torch.tensor(whole), [10**20 * (step % 7) for step in range(40)]):
        found = forecast(model, context)
        found = found / 1e20 if found.max() > 1e15 else found - 2e9
        assert relative_error(found, wanted) < 1e-3
    assert model.predict(torch.zeros(1, 40), 4).quantiles.dtype == torch.float32
    assert model.predict(torch.zeros(1, 40).bfloat16(), 4).quantiles.isfinite().all()


def test_covariates_are_converted_like_contexts(make):
    model, x = make("chronos2"), torch.from_numpy(series()).float()
    driver = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 1, CONTEXT + HORIZON)))
    plain = Windows.of_context(x, HORIZON, future_covariates=driver.float())
    for converted in (driver * 1e25, driver * 1e-25, driver + 2e9):
        windows = Windows.of_context(x, HORIZON, future_covariates=converted)
        assert relative_error(forecast(model, windows), forecast(model, plain)) < 1e-3


def test_ordinary_contexts_stay_as_they_are():
    x = torch.from_numpy(series()).float()
    windows = Windows.of_context(torch.cat([x, x + 1000, x * 1e-3, torch.full((1, CONTEXT), torch.nan)]), HORIZON)
    safe, units = in_safe_units(windows)
    assert units is None
    assert safe.context is windows.context


def test_converted_contexts_leave_the_callers_values_and_other_rows_alone():
    x = torch.from_numpy(series()).float()
    context = torch.cat([x, x * 1e20])
    kept = context.clone()
    safe, units = in_safe_units(Windows.of_context(context, HORIZON))
    assert units is not None
    torch.testing.assert_close(context, kept, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(safe.context[:3], x, rtol=0, atol=0, equal_nan=True)
    back = units.loc + units.scale * safe.context
    torch.testing.assert_close(back.float(), kept, rtol=1e-6, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_forecast_does_not_depend_on_the_batch(make, name):
    """Neither on a neighbour of another size, nor on missing values before the series."""
    model = make(name)
    x = series()[0]
    for count in (5, 17, 64, CONTEXT):
        alone = forecast(model, x[-count:])
        for padding in (0, 1, 16, 100):
            batch = np.full((2, count + padding), np.nan)
            batch[0, padding:] = x[-count:]
            batch[1] = np.random.default_rng(1).normal(0, 1e6, count + padding)
            assert relative_error(forecast(model, batch)[:1], alone) < 1e-3, (count, padding)
