import numpy as np
import pytest
import torch
from eval_fakes import FakeStore, FakeWindows
from usage_errors import usage_error

from potstill.evaluation.baselines import AutoTheta, Ridge, SeasonalNaive, make_baseline
from potstill.evaluation.histories import Histories
from potstill.evaluation.metrics import score_windows
from potstill.evaluation.ridge import fit_ridge, standardise

DAY = 12


def wave(length=600, seed=0, level=20.0):
    t = np.arange(length)
    return level + 3 * np.sin(2 * np.pi * t / DAY) + np.random.default_rng(seed).normal(0, 0.3, length)


def windows_and_past(part="test", horizon=6, context=48):
    store = FakeStore([wave(seed=0), 100 * wave(seed=1)], season=DAY)
    windows = FakeWindows(store, context, horizon, part)
    ids = windows.of_dataset("set0")
    return windows, windows.batch(ids), Histories(store).before(*windows.locate(ids), horizon)


def test_seasonal_naive_by_hand():
    store = FakeStore([np.array([1.0, 5, 2, 7, 4, 0, 0, 0])], season=2)
    past = Histories(store).before(np.array([0]), np.array([5]), 3)
    windows = FakeWindows(store, 4, 3, "test")
    quantiles = SeasonalNaive().predict(windows.batch(np.array([], int)), past)
    spread = np.std([1, 2, 2])
    assert quantiles.shape == (1, 9, 3)
    assert quantiles[0, 4].tolist() == [7, 4, 7]
    # the last level is 0.9: 1.2815516 deviations above, and sqrt(2) times wider in the second season
    assert quantiles[0, 8] == pytest.approx(np.array([7, 4, 7]) + 1.2815516 * spread * np.sqrt([1, 1, 2]))
    assert quantiles[0, 0] == pytest.approx(np.array([7, 4, 7]) - 1.2815516 * spread * np.sqrt([1, 1, 2]))


def test_standardise_by_hand():
    x, loc, scale = standardise(torch.tensor([[1.0, float("nan"), 3.0], [5.0, 5.0, 5.0]]), 4)
    assert loc.tolist() == [[2.0], [5.0]]
    assert scale.tolist() == [[1.0], [0.0]]
    assert x.tolist() == [[0, -1, 0, 1], [0, 0, 0, 0]]


def test_ridge_learns_a_linear_relation_exactly():
    # y(t + 12) = y(t) without noise: a linear map of the context
    t = np.arange(400)
    store = FakeStore([10 + np.sin(2 * np.pi * t / DAY) + 0.5 * np.sin(2 * np.pi * 3 * t / DAY)], season=DAY)
    train, test = FakeWindows(store, 36, 6, "train"), FakeWindows(store, 36, 6, "test")
    ridge = fit_ridge(train, train.of_dataset("set0"))
    assert ridge is not None
    batch = test.batch(test.of_dataset("set0"))
    assert ridge.predict(batch.context, 6).quantiles[:, 4].numpy() == pytest.approx(batch.future.numpy(), abs=0.01)


def test_ridge_is_the_closed_form():
    windows, batch, _ = windows_and_past("train")
    ridge = fit_ridge(windows, windows.of_dataset("set0"))
    assert ridge is not None
    x, loc, scale = (a.double().numpy() for a in standardise(batch.context, 48))
    y = (batch.future.numpy() - loc) / scale
    centred, target = x - x.mean(0), y - y.mean(0)
    weight = np.linalg.solve(centred.T @ centred / len(x) + ridge.penalty * np.eye(48), centred.T @ target / len(x))
    assert ridge.training_windows == len(x)
    assert ridge.weight.numpy() == pytest.approx(weight, abs=1e-4)
    assert ridge.bias.numpy() == pytest.approx(y.mean(0) - x.mean(0) @ weight, abs=1e-4)


def test_ridge_beats_seasonal_naive_and_its_interval_is_calibrated():
    windows, batch, past = windows_and_past()
    baseline = Ridge()
    assert baseline.fit(FakeWindows(windows.store, 48, 6, "train"), "set0") is None
    quantiles = baseline.predict(batch, past)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    scores, naive = (
        score_windows(q, batch.future, past.scale, past.scale)
        for q in (quantiles, SeasonalNaive().predict(batch, past))
    )
    assert scores.sql.mean() < 0.9 * naive.sql.mean()
    assert 0.7 < scores.covered.sum() / scores.count.sum() < 0.9


def test_ridge_handles_missing_values_and_other_lengths():
    windows, batch, _ = windows_and_past("train")
    ridge = fit_ridge(windows, windows.of_dataset("set0"))
    assert ridge is not None
    holes = batch.context[:2].clone()
    holes[:, ::3] = float("nan")
    for context in (holes, batch.context[:2, 20:], torch.cat([batch.context[:2]] * 2, 1)):
        quantiles = ridge.predict(context, 4).quantiles
        assert quantiles.shape == (2, 9, 4)
        assert torch.isfinite(quantiles).all()


def test_ridge_returns_why_it_cannot_be_fitted():
    windows = FakeWindows(FakeStore([wave(70)]), 48, 6, "train")
    assert "fewer than 20" in str(Ridge().fit(windows, "set0"))


def test_auto_theta_is_deterministic_with_sorted_quantiles():
    _, batch, past = windows_and_past()
    few = np.arange(3)
    some = type(batch)(*(getattr(batch, n)[:3] for n in ("context", "future", "ids", "series", "origin")))
    some.context[0, 5:9] = float("nan")
    first, second = (AutoTheta().predict(some, past.take(few)) for _ in range(2))
    assert first.shape == (3, 9, 6)
    assert (np.diff(first, axis=1) >= 0).all()
    assert (first == second).all()
    assert np.abs(first[:, 4] - some.future.numpy()).mean() < 1.5


def test_auto_theta_intervals_do_not_contain_an_additive_season():
    # a season of amplitude 3 around zero (hence additive), errors of 0.3: the interval must reflect only the errors
    store = FakeStore([wave(level=0.0)], season=DAY)
    windows = FakeWindows(store, 96, 6)
    ids = windows.of_dataset("set0")[:2]
    past = Histories(store).before(*windows.locate(ids), 6)
    quantiles = AutoTheta().predict(windows.batch(ids), past)
    assert (quantiles[:, 8, 0] - quantiles[:, 0, 0]).max() < 2.5 * 1.28 * 0.3 * 1.5


def test_auto_theta_falls_back_where_it_cannot_be_fitted():
    _, batch, past = windows_and_past()
    batch.context[:] = float("nan")
    batch.context[:, -2:] = 1.0
    theta = AutoTheta()
    one = type(batch)(*(getattr(batch, n)[:1] for n in ("context", "future", "ids", "series", "origin")))
    assert theta.predict(one, past.take(np.arange(1)))[0, 4] == pytest.approx(past.path[0])
    assert theta.remarks() == {"fell_back_to_naive": 1}


def test_an_unknown_baseline_lists_the_known_ones():
    with usage_error("names.unknown_baseline", "seasonal_naif", "seasonal_naive"):
        make_baseline("seasonal_naif")
