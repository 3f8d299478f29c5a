"""The training data set: shares, determinism, identity in the plain case, shortened and holed histories."""

import numpy as np
import pytest
import torch
from fake_windows import FakeWindows, fake_windows

from potstill.data.sources import TrainingWindows
from potstill.data.synthetic import generate
from potstill.errors import UserError
from potstill.recipe import DataConfig


def source(seed=0, length=5000, windows=None, **config):
    return TrainingWindows(fake_windows() if windows is None else windows, DataConfig(**config), seed, length)


def test_plain_windows_keep_their_ids():
    windows = fake_windows()
    plain = source(windows=windows)
    assert not plain.stores_inputs
    assert len(plain) == len(windows)
    batch, real = plain.__getitems__([3, 0, 700]), windows.__getitems__([3, 0, 700])
    assert batch.ids.tolist() == [3, 0, 700]
    torch.testing.assert_close(batch.context, real.context)


def test_any_batch_gives_the_same_windows():
    mixture = source(synthetic=0.3, augmented=0.3, balance=0.5)
    batch = mixture.__getitems__(list(range(50, 90)))
    for position in (0, 7, 39):
        alone = mixture[50 + position]
        for name in ("context", "future", "ids", "series", "origin"):
            torch.testing.assert_close(
                getattr(batch, name)[position], getattr(alone, name)[0], rtol=0, atol=0, equal_nan=True
            )


def test_shares_and_marks():
    mixture = source(synthetic=0.3, augmented=0.25, balance=0.5)
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


def test_real_windows_among_others_are_untouched_unless_balanced():
    windows = fake_windows()
    batch = source(windows=windows, synthetic=0.5).__getitems__(np.arange(600))
    real = (batch.series >= 0).numpy()
    first = windows.store.offsets[batch.series[real]] + batch.origin[real].numpy() - 64
    rows = windows.store.values[first[:, None] + np.arange(80)]
    np.testing.assert_array_equal(np.concatenate([batch.context[real], batch.future[real]], 1), rows)
    assert torch.isnan(batch.context[~real]).any()


def test_histories_are_shortened_and_holed():
    context = source(balance=0.5).__getitems__(np.arange(4000)).context
    missing = torch.isnan(context)
    short = missing[:, 0] & (missing.float().argmin(1) > 0)
    assert 0.2 < short.float().mean() < 0.32
    assert ((~missing).sum(1) >= 3).all()
    holed = missing[:, -8:].any(1)
    assert 0.005 < holed.float().mean() < 0.06
    assert not torch.isnan(source(balance=0.5).__getitems__(np.arange(400)).future).any()


def test_scarce_data_uses_its_pool_alone():
    windows = fake_windows()
    scarce = source(windows=windows, train_windows=20)
    assert scarce.stores_inputs
    batch = scarce.__getitems__(np.arange(500))
    assert len({*zip(batch.series.tolist(), batch.origin.tolist(), strict=True)}) == 20


def test_fingerprint_names_what_matters():
    base = source(synthetic=0.3).fingerprint
    assert base == source(synthetic=0.3, length=7).fingerprint
    others = [source(synthetic=0.4), source(synthetic=0.3, seed=1), source(synthetic=0.3, balance=0.5), source()]
    assert len({base, *(other.fingerprint for other in others)}) == 5
    assert source(seed=1).fingerprint == source().fingerprint


def test_no_real_windows():
    empty = FakeWindows([np.zeros(10)], [0], [10], [0])
    batch = source(windows=empty, synthetic=1.0).__getitems__([1, 2])
    assert torch.isfinite(batch.future).all()
    with pytest.raises(UserError, match="no training window"):
        source(windows=empty, synthetic=0.5)
