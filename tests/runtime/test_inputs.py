"""What a caller may pass as contexts and options, and what is refused."""

from __future__ import annotations

import array
import decimal
import fractions
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from potstill.runtime import ExportError, NotFinite, Runtime
from potstill.runtime.contexts import contexts_of

NAN = np.nan
WAVE = np.sin(np.arange(60) / 3) * 5 + 20


def named(value: Any) -> str:
    """The id of a parameter without addresses, which differ between the processes of pytest-xdist."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


@pytest.fixture(params=["linear", "chronos2"])
def runtime(exported, request: pytest.FixtureRequest) -> Runtime:
    return exported(request.param).runtime


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ([1.0], [[1]]),
        ([1, 2, 3], [[1, 2, 3]]),
        ((1, 2), [[1, 2]]),
        (range(3), [[0, 1, 2]]),
        ((x for x in [1.0, 2.0]), [[1, 2]]),
        (np.arange(3, dtype=np.uint8), [[0, 1, 2]]),
        (np.array([1, 2], np.float16), [[1, 2]]),
        (np.array([1.0, 2.0], np.longdouble), [[1, 2]]),
        (np.array([True, False]), [[1, 0]]),
        (np.array([[1.0, 2.0], [3.0, 4.0]], order="F"), [[1, 2], [3, 4]]),
        (np.arange(3.0)[::-1], [[2, 1, 0]]),
        (memoryview(array.array("d", [1.0, 2.0])), [[1, 2]]),
        ([None, 1.0], [[NAN, 1]]),
        (np.array([1, None], object), [[1, NAN]]),
        (np.array([[1, None], [2, 3]], object), [[1, NAN], [2, 3]]),
        ([np.inf, 1.0, -np.inf], [[NAN, 1, NAN]]),
        ([[1.0, 2.0, 3.0], [4.0]], [[1, 2, 3], [NAN, NAN, 4]]),
        ([[1.0], []], [[1], [NAN]]),
        ([np.array([1.0]), [None, 2]], [[NAN, 1], [NAN, 2]]),
        ([10**30, 1], [[1e30, 1]]),
        ([decimal.Decimal("1.5"), fractions.Fraction(1, 2)], [[1.5, 0.5]]),
        (np.ma.masked_array([1.0, 2.0], [True, False]), [[NAN, 2]]),
        ([np.ma.masked_array([1, 2], [False, True])], [[1, NAN]]),
        (pd.Series([1, None, 3], dtype="Int64"), [[1, NAN, 3]]),
        (pd.Series([1.0, 2.0], index=[5, 6]), [[1, 2]]),
        ([pd.Series([1.0, 2.0], index=[5, 6]), pd.Series([3])], [[1, 2], [NAN, 3]]),
        (pd.DataFrame([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (torch.tensor([1.0, 2.0]), [[1, 2]]),
        ([torch.tensor([1.0]), torch.tensor([2, 3])], [[NAN, 1], [2, 3]]),
    ],
    ids=named,
)
def test_contexts(data: Any, wanted: list[list[float]]):
    found = contexts_of(data, 10)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "data", [np.arange(5), [0, 1, 2, 3, 4], [[0, 1, 2, 3, 4], [9, 9]], np.arange(5)[None]], ids=named
)
def test_only_the_newest_steps_are_kept(data: Any):
    assert contexts_of(data, 2)[0].tolist() == [3, 4]


def test_a_short_series_beside_a_huge_one_takes_little_memory():
    """Series are cut before they are padded to one length."""
    assert contexts_of([np.zeros(10_000_000), *[[1.0]] * 1000], 50).shape == (1001, 50)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [[]],
        np.zeros((0, 5)),
        np.zeros((5, 0)),
        None,
        3.0,
        np.float64(3),
        np.array(3.0),
        np.array(None),
        "123",
        b"123",
        {1: [1.0]},
        {1.0, 2.0},
        ["1", "2"],
        [["1", None]],
        np.array(["1", None], object),
        [1j],
        np.array(["2020", "2021"], "M8[D]"),
        np.zeros((2, 2, 2)),
        [np.zeros((2, 2))],
        [[[1.0]]],
        [1.0, [2.0]],
        [10**400, 1],
        pd.DataFrame({"a": ["x"]}),
    ],
    ids=named,
)
def test_what_is_no_context(runtime: Runtime, data: Any):
    with pytest.raises(ExportError, match=r"^context( 0)?: .*\.$"):
        runtime.predict(data, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prediction_length": 0}, "prediction_length: is 0; it must be a whole number from 1 to 100,000."),
        ({"prediction_length": -5}, "from 1 to 100,000"),
        ({"prediction_length": 100_001}, "from 1 to 100,000"),
        ({"prediction_length": 2.0}, "whole number"),
        ({"prediction_length": "5"}, "whole number"),
        ({"batch_size": 0}, "batch_size: is 0; it must be a whole number of at least 1."),
        ({"batch_size": None}, "batch_size"),
        ({"quantiles": []}, "between 0 and 1"),
        ({"quantiles": [0.5, 1.0]}, "between 0 and 1"),
        ({"quantiles": [NAN]}, "between 0 and 1"),
        ({"quantiles": ["low"]}, "between 0 and 1"),
    ],
)
def test_options_out_of_range(runtime: Runtime, options: dict[str, Any], words: str):
    with pytest.raises(ExportError, match=re.escape(words)):
        runtime.predict(WAVE, **options)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", 10**6])
def test_threads_out_of_range(exported, threads: Any):
    with pytest.raises(ExportError, match="threads"):
        Runtime(exported("linear").folder, threads=threads)


@pytest.mark.parametrize(
    "context",
    [[1.0], [NAN], [NAN] * 30, [0.0] * 5, [5e-324, 0.0, 1e-323], [1e300, -1e300] * 9, [1e300] * 9, [1e300, 1e-300] * 5],
    ids=named,
)
@pytest.mark.filterwarnings("error")
def test_extreme_contexts_have_finite_forecasts(runtime: Runtime, context: list[float]):
    for steps in (1, 24, 60):
        forecast = runtime.predict(context, steps)
        assert forecast.quantiles.shape == (1, len(runtime.levels), steps)
        assert np.isfinite(forecast.quantiles).all()
        assert np.isfinite(forecast.mean).all()
        assert (np.diff(forecast.quantiles, axis=1) >= 0).all()


@pytest.mark.filterwarnings("error")
def test_forecasts_beyond_float64_are_an_error(exported):
    with pytest.raises(NotFinite, match="another unit") as caught:
        exported("linear").runtime.predict([WAVE, [1.7e308, -1.7e308] * 10, WAVE], 24, quantiles=[0.001, 0.5])
    assert caught.value.rows == [1]


def test_the_longest_forecast(exported):
    forecast = exported("linear").runtime.predict(WAVE, 100_000)
    assert forecast.quantiles.shape == (1, 9, 100_000)
    assert np.isfinite(forecast.quantiles).all()


def test_the_default_horizon_and_levels(runtime: Runtime):
    forecast = runtime.predict([WAVE, WAVE[:3]])
    assert forecast.quantiles.shape == (2, len(runtime.levels), runtime.manifest.max_horizon)
    np.testing.assert_array_equal(forecast.levels, runtime.levels)
    chosen = runtime.predict(WAVE, 3, quantiles=(0.9, 0.1, 0.9))
    np.testing.assert_allclose(chosen.levels, [0.1, 0.9])


def test_the_callers_arrays_are_left_alone(runtime: Runtime):
    context = np.where(np.arange(60) % 7, WAVE + 2e9, np.inf)
    kept = context.copy()
    runtime.predict(context, 30)
    np.testing.assert_array_equal(context, kept)
