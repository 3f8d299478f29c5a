"""Real windows of a mixture: no more of them are forecast than the recipe says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import potstill
from potstill.data.series.windows import SeriesWindows
from potstill.families.load import load_forecaster
from potstill.tasks.experts.prepare import prepare_mixture
from potstill.tasks.experts.sample import SampledWindows
from potstill.teaching.stores.forecasts import ForecastStore


@pytest.fixture
def real(recipe: Any) -> Any:
    """The recipe on real windows alone, 100 of them."""
    recipe.data.balance, recipe.data.augmented, recipe.data.distinct_windows = 1.0, 0.0, 100
    return recipe


@pytest.fixture
def windows(real: Any) -> SeriesWindows:
    """All training windows, of two files."""
    return prepare_mixture(real).windows


def ids_of(sample: SampledWindows) -> list[int]:
    return sample.batch(range(len(sample))).ids.tolist()


def test_a_sample_is_of_distinct_windows_of_all_series(windows):
    sample = SampledWindows(windows, 200, seed=3)
    assert len(sample) == 200
    assert len(set(ids_of(sample))) == 200
    shares = np.bincount(sample.batch(range(200)).series) / 200
    np.testing.assert_allclose(shares, [0.5, 0.5], atol=0.1)
    assert len(set(sample.batch(range(20)).series.tolist())) == 2


def test_a_sample_depends_on_the_seed_alone_and_grows_at_its_end(windows):
    sample, other = SampledWindows(windows, 50, 0), SampledWindows(windows, 50, 1)
    assert ids_of(SampledWindows(windows, 80, 0))[:50] == ids_of(sample) != ids_of(other)
    assert SampledWindows(windows, 80, 0).fingerprint == sample.fingerprint != other.fingerprint
    with pytest.raises(IndexError):
        sample.batch([50])


def test_few_windows_are_all_in_the_sample(windows):
    assert sorted(ids_of(SampledWindows(windows, 10**6, 0))) == list(range(len(windows)))


def test_the_experts_forecast_as_many_real_windows_as_the_recipe_says(real, tmp_path, capsys):
    real.training.max_steps = 4
    run = potstill.mix(real, tmp_path / "run")
    assert "each expert forecasts 100 windows once" in capsys.readouterr().err
    for path in (run / "forecasts").iterdir():
        assert ForecastStore.open(path).labelled() == 100
    before = load_forecaster(run).fingerprint
    assert load_forecaster(potstill.mix(real, tmp_path / "again")).fingerprint == before


def test_the_default_steps_are_for_the_windows_that_are_forecast(real):
    real.training.max_steps = None
    task = prepare_mixture(real)
    assert task.size == len(task.plain_dataset(task.steps)) == 100
    real.data.distinct_windows = 20_000
    task = prepare_mixture(real)
    assert task.size == len(task.plain_dataset(task.steps)) == len(task.windows) < 20_000
    real.data.augmented = 0.3
    assert prepare_mixture(real).size == 20_000


def test_a_short_training_forecasts_no_window_that_it_does_not_use(real):
    real.training.max_steps, real.training.batch_size = 2, 8
    task = prepare_mixture(real)
    assert len(task.plain_dataset(task.steps)) == 16
