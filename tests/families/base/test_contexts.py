"""What ``predict`` takes as contexts."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from usage_errors import usage_error

import potstill
from potstill.families.base.contexts import contexts_of

NAN = np.nan
A = [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (A, [A]),
        (tuple(A), [A]),
        (np.array(A), [A]),
        (np.array([1, 2, 3]), [A]),
        (torch.tensor(A), [A]),
        (torch.tensor([A, A]), [A, A]),
        (pd.Series(A, index=[7, 8, 9]), [A]),
        (pd.Series([1, None, 3], dtype="Int64"), [[1, NAN, 3]]),
        (np.array(A, dtype=object), [A]),
        (np.array([1, None, Decimal(3)], dtype=object), [[1, NAN, 3]]),
        ([1, pd.NA, 3], [[1, NAN, 3]]),
        ([np.inf, 2, 3], [[NAN, 2, 3]]),
        (np.ma.masked_array(A, [False, True, False]), [[1, NAN, 3]]),
        ([A, A[:1]], [A, [NAN, NAN, 1]]),
        ([torch.tensor(A), np.array([4.0]), pd.Series([5, 6])], [A, [NAN, NAN, 4], [NAN, 5, 6]]),
        (np.array([np.array(A), np.array([4.0])], dtype=object), [A, [NAN, NAN, 4]]),
        ([np.array(A, dtype=object), A[:2]], [A, [NAN, 1, 2]]),
    ],
)
def test_contexts_are_numbers_padded_at_their_start(data, expected):
    found = contexts_of(data)
    assert found.dtype == (torch.float32 if getattr(data, "dtype", None) == torch.float32 else torch.float64)
    np.testing.assert_array_equal(found.numpy(), np.array(expected))


@pytest.mark.parametrize(
    "data", [np.array(A, np.float32), [np.array(A, np.float32)] * 2, torch.tensor(A), pd.Series(A, dtype="float32")]
)
def test_single_precision_stays(data):
    assert contexts_of(data).dtype == torch.float32


def test_a_signal_on_a_large_level_keeps_its_precision():
    high = 2e9 + np.array(A) / 8
    for data in (high, [high, high[:2]], high.tolist(), pd.Series(high)):
        np.testing.assert_array_equal(contexts_of(data)[0].numpy(), high)


@pytest.mark.parametrize(
    ("data", "key", "fact"),
    [
        ([], "context.empty", "no values"),
        ([[], []], "context.empty", "no values"),
        (3.0, "context.bad_shape", "[]"),
        (np.zeros((2, 3, 4)), "context.bad_shape", "[2, 3, 4]"),
        (torch.zeros(2, 3, 4), "context.bad_shape", "[2, 3, 4]"),
        ([np.zeros((2, 3)), np.zeros(3)], "context.bad_shape", "context 0"),
        ([A, 4.0], "context.bad_shape", "context 1"),
        (["a", "b"], "context.not_numbers", "'a'"),
        (["1", "2"], "context.not_numbers", "numbers"),
        ([A, ["x"]], "context.not_numbers", "context 1"),
        (pd.date_range("2024", periods=3), "context.not_numbers", "datetime64"),
        (np.array([1j, 2]), "context.not_numbers", "complex"),
        (pd.DataFrame({"y": A}), "context.data_frame", "predict_df"),
        ({"target": A}, "context.not_numbers", "dict"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(data, key, fact):
    with usage_error(key, fact):
        contexts_of(data)


def test_a_list_is_forecast_like_each_series_alone(tiny_teacher):
    model = potstill.load(tiny_teacher)
    wave = np.sin(np.arange(60.0))
    both = model.predict([wave, wave[:20].astype(object)], 3, quantiles=[0.9, 0.5])
    assert both.levels.tolist() == pytest.approx([0.5, 0.9])
    for row, alone in enumerate((wave, wave[:20])):
        own = model.predict(alone, 3)
        middle = own.levels.tolist().index(0.5)
        np.testing.assert_allclose(both.quantiles[row, 0], own.quantiles[0, middle], atol=1e-5)
    with usage_error("quantiles.bad_levels", "1.5"):
        model.predict(wave, 3, quantiles=[1.5])
