"""Exported forecasts are those of PyTorch, for series of any length, size and level.

Differences are relative to the scale of the context that the model reads: its standard deviation. A constant has none.
Potstill's own students then forecast with a spread of a millionth of the level, which is the scale here. For Chronos-2
it is the level: in PyTorch the spread of a constant is what float32 rounding leaves of it, or 1e-5 where nothing is
left. Up to a level of 1, ten times that is the bound (below 0.01 contexts are first converted to larger units).
For Moirai it is the smallest scale that uni2ts gives a context, and no less than what float64 resolves.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from exported_models import CONTEXT, HORIZON, MIXTURE, NAMES
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

TOLERANCE = 1e-4
# Between these levels, relative to the range, PyTorch computes mean and deviations in float32, which is off by up to
# 4e-3 of the range (families/base/units.py); the runtime computes them in float64. Below, the error is smaller than the
# tolerance; above, both remove the level first.
INEXACT_LEVELS = (20.0, 2.0**13)
INEXACT = 4e-3
ALL = (*NAMES, MIXTURE)
quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def quantiles_of(model: Any, contexts: Any, steps: int, **options: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a roll-out
        forecast = model.predict(contexts, steps, **options)
    return np.asarray(forecast.quantiles, np.float64)


def difference(exported: Any, contexts: list[np.ndarray], steps: int, **options: Any) -> np.ndarray:
    """``[B]``: the largest difference of each forecast, relative to the scale of its context."""
    ours = quantiles_of(exported.runtime, contexts, steps, **options)
    theirs = quantiles_of(exported.torch, contexts, steps)
    assert ours.shape == theirs.shape
    apart = np.abs(ours - theirs).max(axis=(1, 2))
    return np.array(
        [one / scale_of(context, exported.torch.family) for one, context in zip(apart, contexts, strict=True)]
    )


def scale_of(context: np.ndarray, family: str = "") -> float:
    known = known_of(context)
    if not len(known):
        return 1.0
    centred = known - known[0]  # the squares of values around 1e300 and 1e-300 are beyond float64
    size = np.abs(centred).max()
    if size == 0:
        level = float(abs(known[0]))
        if family == "moirai":  # uni2ts adds 1e-5 to the variance
            return max(3e-3, 1e-11 * level) if level == 0 or 0.01 <= level <= 1e12 else 2e-5 * level
        if family == "chronos2":
            return 1.0 if 0.01 <= level < 1 else max(level, 1e-5 if level == 0 else 0)
        return max(1e-6 * level, 1e-5 if level == 0 else 0)
    return float((centred / size).std() * size)


def known_of(context: np.ndarray) -> np.ndarray:
    read = context[-CONTEXT:]
    return read[np.isfinite(read)]


def bound_of(context: np.ndarray) -> float:
    known = known_of(context)
    spread = np.ptp(known) if len(known) else 0.0
    level = np.abs(known).max() / spread if spread else 0.0
    lowest, highest = INEXACT_LEVELS
    return INEXACT * spread / scale_of(context) if lowest < level <= highest else TOLERANCE


def check(exported: Any, contexts: list[np.ndarray], steps: int, **options: Any) -> None:
    apart = difference(exported, contexts, steps, **options)
    for one, context in zip(apart, contexts, strict=True):
        assert one <= bound_of(context), (one, len(context), scale_of(context))


@st.composite
def series(draw: st.DrawFn) -> np.ndarray:
    """A random walk, a wave, noise or a constant, with gaps, in any unit and at any level."""
    length = draw(st.integers(1, 2 * CONTEXT))
    noise = np.random.default_rng(draw(st.integers(0, 999))).standard_normal(length)
    kind = draw(st.sampled_from(["walk", "wave", "noise", "constant", "counts"]))
    x = {
        "walk": noise.cumsum(),
        "wave": 3 * np.sin(np.arange(length) / 3) + 0.1 * noise,
        "noise": noise,
        "constant": np.ones(length),
        "counts": np.maximum(0, np.round(noise)),
    }[kind]
    level = draw(st.sampled_from([0.0, 1.0, -3.0, 10.0, 1e3, 1e5, -1e7, 2e9]))
    x = (x + level) * 10.0 ** draw(st.integers(-12, 12))
    gaps = draw(st.sampled_from(["none", "some", "start", "end", "most", "all"]))
    missing = np.zeros(length, bool)
    if gaps in ("some", "most"):
        missing = np.random.default_rng(draw(st.integers(0, 99))).random(length) < (0.2 if gaps == "some" else 0.9)
    missing[: length // 2] |= gaps == "start"
    missing[length - length // 3 :] |= gaps == "end"
    missing |= gaps == "all"
    return np.where(missing, np.nan, x)


@pytest.mark.parametrize("name", NAMES)
@quick
@example(contexts=[np.full(10, 0.01001)], steps=1, batch_size=1)
@given(
    contexts=st.lists(series(), min_size=1, max_size=6),
    steps=st.integers(1, HORIZON),
    batch_size=st.sampled_from([1, 2, 256]),
)
def test_forecasts_agree(exported, name, contexts, steps, batch_size):
    check(exported(name), contexts, steps, batch_size=batch_size)


@settings(quick, max_examples=15)
@given(contexts=st.lists(series(), min_size=1, max_size=6), steps=st.integers(1, HORIZON))
def test_mixtures_agree(exported, contexts, steps):
    """Of series whose experts do not depend on float32: a router may choose another expert where two are as good."""
    mixture = exported(MIXTURE)
    calm = [context for context in contexts if bound_of(context) == TOLERANCE]
    if calm:
        check(mixture, calm, steps)


def test_a_mixture_uses_both_experts(exported):
    contexts = np.random.default_rng(0).standard_normal((40, CONTEXT)).cumsum(axis=1)
    contexts[:20] = np.round(np.abs(contexts[:20]) / 3)
    used = (exported(MIXTURE).runtime.model.weights(contexts) > 0).sum(axis=0)
    assert (used > 0).all(), used


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("steps", [HORIZON + 1, 3 * HORIZON + 5])
def test_rollouts_agree(exported, name, steps):
    """Also from a short series, and from one with a gap at its end."""
    rng = np.random.default_rng(3)
    contexts = [rng.standard_normal(length).cumsum() * size for length, size in ((96, 1), (200, 1e9), (7, 1e-9))]
    contexts[0][-5:] = np.nan
    check(exported(name), contexts, steps)


@pytest.mark.parametrize("name", ALL)
def test_levels_and_means_agree(exported, name):
    contexts = np.random.default_rng(0).standard_normal((3, 50)).cumsum(axis=1)
    model, runtime = exported(name).torch, exported(name).runtime
    for levels in ([0.5], [0.05, 0.33, 0.5, 0.95], model.levels.tolist()):
        ours, theirs = (one.predict(contexts, 10, quantiles=levels) for one in (runtime, model))
        np.testing.assert_allclose(ours.levels, theirs.levels, atol=1e-6)
        np.testing.assert_allclose(ours.quantiles, theirs.quantiles, atol=1e-4 * contexts.std())
        np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-4 * contexts.std())


@pytest.mark.parametrize("name", ALL)
@example(lengths=[1, 96, 17, 16, 200])
@settings(quick, max_examples=10)
@given(lengths=st.lists(st.integers(1, 150), min_size=2, max_size=6))
def test_a_forecast_does_not_depend_on_the_other_series(exported, name, lengths):
    runtime = exported(name).runtime
    rng = np.random.default_rng(0)
    contexts = [rng.standard_normal(length).cumsum() * 10.0 ** rng.integers(-9, 9) for length in lengths]
    together = runtime.predict(contexts, 5).quantiles
    for context, row in zip(contexts, together, strict=True):
        alone = runtime.predict(context, 5).quantiles[0]
        scale = max(context.std(), 1e-6 * abs(context[0]), np.abs(alone - context[0]).max() * 1e-2)
        np.testing.assert_allclose(row, alone, rtol=0, atol=TOLERANCE * scale)


@pytest.mark.parametrize("name", ALL)
def test_one_runtime_serves_many_threads(exported, name):
    from concurrent.futures import ThreadPoolExecutor

    runtime = exported(name).runtime
    rng = np.random.default_rng(0)
    jobs = [(rng.standard_normal((1 + k % 4, 10 + 7 * k)), 1 + k % (2 * HORIZON)) for k in range(40)]
    alone = [runtime.predict(*job).quantiles for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: runtime.predict(*job).quantiles, jobs))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
