"""The training data set: shares, determinism, identity in the plain case, shortened and holed histories."""

import numpy as np
import pytest
import torch
from training_series import SIZES, small_windows

from potstill.data.series.training_windows import TrainingWindows
from potstill.data.synthetic import generate
from potstill.errors import UserError
from potstill.recipe import DataConfig


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return small_windows(tmp_path_factory.mktemp("data"))


def source(windows, seed=0, length=5000, **config):
    return TrainingWindows(windows, DataConfig(**config), seed, length)


def test_plain_windows_keep_their_ids(windows):
    plain = source(windows)
    assert not plain.stores_inputs
    assert len(plain) == len(windows)
    batch, real = plain.__getitems__([3, 0, 700]), windows.__getitems__([3, 0, 700])
    assert batch.ids.tolist() == [3, 0, 700]
    torch.testing.assert_close(batch.context, real.context)


def test_any_batch_gives_the_same_windows(windows):
    mixture = source(windows, synthetic=0.3, augmented=0.3, balance=0.5)
    batch = mixture.__getitems__(list(range(50, 90)))
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
    batch = mixture.__getitems__(np.arange(3000))
    assert batch.context.shape == (3000, 64)
    assert batch.future.shape == (3000, 16)
    assert batch.context.dtype == torch.float32
    assert batch.ids.tolist() == list(range(3000))
    own = batch.series < 0
    assert abs(own.float().mean() - 0.55) < 0.03
    assert (batch.origin[own] == 0).all()
    synthetic = torch.from_numpy(generate(0, np.arange(3000), 80))[:, 64:]
    assert abs((batch.future == synthetic).all(1).float().mean() - 0.3) < 0.03


def test_real_windows_among_others_are_untouched_unless_balanced(windows):
    batch = source(windows, synthetic=0.5).__getitems__(np.arange(600))
    real = (batch.series >= 0).numpy()
    first = windows.store.offsets[batch.series[real]] + batch.origin[real].numpy() - 64
    rows = windows.store.values[first[:, None] + np.arange(80)]
    np.testing.assert_array_equal(np.concatenate([batch.context[real], batch.future[real]], 1), rows)
    assert torch.isnan(batch.context[~real]).any()


def test_histories_are_shortened_and_holed(windows):
    context = source(windows, balance=0.5).__getitems__(np.arange(4000)).context
    missing = torch.isnan(context)
    short = missing[:, 0] & (missing.float().argmin(1) > 0)
    assert 0.2 < short.float().mean() < 0.32
    assert ((~missing).sum(1) >= 3).all()
    holed = missing[:, -8:].any(1)
    assert 0.005 < holed.float().mean() < 0.06
    assert not torch.isnan(source(windows, balance=0.5).__getitems__(np.arange(400)).future).any()


def test_fingerprint_names_what_matters(windows):
    base = source(windows, synthetic=0.3).fingerprint
    assert base == source(windows, synthetic=0.3, length=7).fingerprint
    configs = ({"synthetic": 0.4}, {"synthetic": 0.3, "seed": 1}, {"synthetic": 0.3, "balance": 0.5}, {})
    others = [source(windows, **config) for config in configs]
    assert len({base, *(other.fingerprint for other in others)}) == 5
    assert source(windows, seed=1).fingerprint == source(windows).fingerprint


def test_no_real_windows(tmp_path):
    empty = small_windows(tmp_path, context_length=max(SIZES.values()), prediction_length=max(SIZES.values()))
    assert len(empty) == 0
    batch = source(empty, synthetic=1.0).__getitems__([1, 2])
    assert torch.isfinite(batch.future).all()
    with pytest.raises(UserError, match="no usable window"):
        source(empty, synthetic=0.5)


def test_scarce_data_keeps_to_its_windows(tmp_path):
    windows = small_windows(tmp_path, train_windows=20)
    scarce = source(windows, balance=0.5, train_windows=20)
    batch = scarce.__getitems__(np.arange(800))
    assert len({*zip(batch.series.tolist(), batch.origin.tolist(), strict=True)}) == 20
    assert len(source(windows, train_windows=20)) == 20
    assert torch.isfinite(source(windows, augmented=1.0, train_windows=20)[3].context).any()
