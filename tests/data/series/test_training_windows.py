"""The training data set: shares, determinism, unchanged real windows, shortened histories and gaps."""

from typing import Any

import numpy as np
import pytest
import torch
from training_series import SIZES, small_windows
from usage_errors import usage_error

from potstill.data.series.training_windows import TrainingWindows
from potstill.data.synthetic import generate
from potstill.recipe import SeriesData


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return small_windows(tmp_path_factory.mktemp("data"))


def source(windows, seed=0, length=5000, **config):
    return TrainingWindows(windows, SeriesData(**config), seed, length)


def test_plain_windows_keep_their_ids(windows):
    plain = source(windows)
    assert not plain.stores_inputs
    assert len(plain) == len(windows)
    batch, real = plain.batch([3, 0, 700]), windows.batch([3, 0, 700])
    assert batch.ids.tolist() == [3, 0, 700]
    torch.testing.assert_close(batch.context, real.context)


def test_a_window_is_the_same_in_every_batch(windows):
    mixture = source(windows, synthetic=0.3, augmented=0.3, balance=0.5)
    batch = mixture.batch(list(range(50, 90)))
    for position in (0, 7, 39):
        alone = mixture[50 + position]
        for name in ("context", "future", "ids", "series", "origin"):
            torch.testing.assert_close(
                getattr(batch, name)[position], getattr(alone, name)[0], rtol=0, atol=0, equal_nan=True
            )


def test_shares_and_marks(windows):
    mixture = source(windows, synthetic=0.3, augmented=0.25, balance=0.5)
    assert mixture.stores_inputs
    assert len(mixture) == 5000
    batch = mixture.batch(np.arange(3000))
    assert batch.context.shape == (3000, 64)
    assert batch.future.shape == (3000, 16)
    assert batch.context.dtype == torch.float32
    assert batch.ids.tolist() == list(range(3000))
    generated = batch.series < 0
    assert abs(generated.float().mean() - 0.55) < 0.03
    assert (batch.origin[generated] == 0).all()
    synthetic = torch.from_numpy(generate(0, np.arange(3000), 80))[:, 64:]
    assert abs((batch.future == synthetic).all(1).float().mean() - 0.3) < 0.03


def test_real_windows_are_unchanged_without_balance(windows):
    batch = source(windows, synthetic=0.5).batch(np.arange(600))
    real = (batch.series >= 0).numpy()
    first = windows.store.offsets[batch.series[real]] + batch.origin[real].numpy() - 64
    rows = windows.store.values[first[:, None] + np.arange(80)]
    np.testing.assert_array_equal(np.concatenate([batch.context[real], batch.future[real]], 1), rows)
    assert torch.isnan(batch.context[~real]).any()


def test_histories_are_shortened_and_have_gaps(windows):
    context = source(windows, balance=0.5).batch(np.arange(4000)).context
    missing = torch.isnan(context)
    short = missing[:, 0] & (missing.float().argmin(1) > 0)
    assert 0.2 < short.float().mean() < 0.32
    assert ((~missing).sum(1) >= 3).all()
    gapped = missing[:, -8:].any(1)
    assert 0.005 < gapped.float().mean() < 0.06
    assert not torch.isnan(source(windows, balance=0.5).batch(np.arange(400)).future).any()


def test_the_fingerprint_covers_what_decides_the_windows(windows):
    base = source(windows, synthetic=0.3).fingerprint
    assert base == source(windows, synthetic=0.3, length=7).fingerprint
    configs: tuple[dict[str, Any], ...] = (
        {"synthetic": 0.4},
        {"synthetic": 0.3, "seed": 1},
        {"synthetic": 0.3, "balance": 0.5},
        {},
    )
    others = [source(windows, **config) for config in configs]
    assert len({base, *(other.fingerprint for other in others)}) == 5
    assert source(windows, seed=1).fingerprint == source(windows).fingerprint


def test_no_real_windows(tmp_path):
    empty = small_windows(tmp_path, context_length=max(SIZES.values()), prediction_length=max(SIZES.values()))
    assert len(empty) == 0
    batch = source(empty, synthetic=1.0).batch([1, 2])
    assert torch.isfinite(batch.future).all()
    with usage_error("data.no_usable_window", "a, b, c"):
        source(empty, synthetic=0.5)


def test_scarce_data_uses_only_its_windows(tmp_path):
    windows = small_windows(tmp_path, train_windows=20)
    scarce = source(windows, balance=0.5, train_windows=20)
    batch = scarce.batch(np.arange(800))
    assert len({*zip(batch.series.tolist(), batch.origin.tolist(), strict=True)}) == 20
    assert len(source(windows, train_windows=20)) == 20
    assert torch.isfinite(source(windows, augmented=1.0, train_windows=20)[3].context).any()
