"""Windows on their own: shares of the kinds, mixtures that are means, warps that do what they say."""

import numpy as np
import pytest
import torch
from device_sources import small_source

from potstill.data.device.draws import Draws
from potstill.data.device.singles import Shares, draw_singles, mixed_windows, synthetic_windows, warp


@pytest.fixture
def source(tmp_path):
    source = small_source(tmp_path)
    source.pool.update()
    return source


@pytest.mark.parametrize("count", [1, 2, 3, 7, 500])
@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.5, 0.5), (0.0, 1.0), (0.48, 0.3), (1.0, 0.0)])
def test_windows_of_every_kind_by_their_shares(source, shares, count):
    shares = Shares(*shares)
    drawn = draw_singles(Draws(0, 0, "cpu"), source.pool, source.real, shares, count, 64, 16)
    assert drawn.values.shape == (count, 80)
    assert drawn.series.shape == drawn.origin.shape == (count,)
    real = int((drawn.series >= 0).sum())
    assert real == pytest.approx(count * (1 - sum(shares)), abs=1)
    assert (drawn.origin[drawn.series < 0] == 0).all()
    assert (drawn.origin[drawn.series >= 0] > 0).all()


def test_without_real_series_all_windows_are_synthetic(source):
    drawn = draw_singles(Draws(0, 0, "cpu"), source.pool, None, Shares(1.0, 0.0), 9, 64, 16)
    assert (drawn.series == -1).all()
    assert drawn.values.isfinite().all()


def test_synthetic_windows_are_stretches_of_the_pool(source):
    windows = synthetic_windows(Draws(0, 0, "cpu"), source.pool, 300, 50)
    stretches = source.pool.rows.unfold(1, 50, 1).flatten(0, 1)
    signs = []
    for window in windows:
        same, flipped = (stretches == window).all(dim=1).any(), (stretches == -window).all(dim=1).any()
        assert same or flipped
        signs.append(bool(flipped))
    assert np.mean(signs) == pytest.approx(0.15, abs=0.06)


def test_mixtures_are_means_of_two_or_three_standardised_windows(source, monkeypatch):
    parts = torch.stack([torch.full((1000, 80), value) for value in (1.0, 2.0, 4.0)])
    monkeypatch.setattr("potstill.data.device.singles.unit", lambda x: parts.flatten(0, 1))
    mixed = mixed_windows(Draws(0, 0, "cpu"), source.pool, source.real, 1000, 64, 16)[:, 0]
    draws = Draws(0, 0, "cpu")
    source.real.draw(draws, 2000, 64, 16), synthetic_windows(draws, source.pool, 1000, 80)
    kind, weights = draws.uniform(1000), draws.dirichlet(3, 1000)
    without_first, all_three = kind < 0.3, (kind >= 0.3) & (kind < 0.5)
    expected = torch.where(
        without_first,
        2 * weights[1] + 4 * weights[2],
        torch.where(all_three, weights[0] + 2 * weights[1] + 4 * weights[2], weights[0] + 2 * weights[1]),
    )
    torch.testing.assert_close(mixed, expected)


def test_a_value_is_missing_where_a_part_that_is_used_misses_it(source, monkeypatch):
    parts = torch.ones(3, 1000, 80)
    parts[0, :, :40] = torch.nan
    monkeypatch.setattr("potstill.data.device.singles.unit", lambda x: parts.flatten(0, 1))
    mixed = mixed_windows(Draws(0, 0, "cpu"), source.pool, source.real, 1000, 64, 16)
    missing = mixed.isnan()
    assert not missing[:, 40:].any()
    assert float(missing[:, 0].float().mean()) == pytest.approx(0.7, abs=0.05)


def test_warps_drift_censor_or_spike():
    wave = torch.sin(torch.arange(600) * 0.7).expand(900, 600)
    warped = warp(Draws(0, 0, "cpu"), wave)
    kind = Draws(0, 0, "cpu").uniform(900, 1)[:, 0]
    base = (wave - wave.mean(dim=1, keepdim=True)) / wave.std(dim=1, keepdim=True, correction=0)
    drifted, censored, spiked = kind < 0.4, (kind >= 0.4) & (kind < 0.7), kind >= 0.7
    ratio = (warped / base)[drifted][:, base[0].abs() > 0.1]
    assert ratio.min() >= 0.5 - 1e-4
    assert ratio.max() <= 1.5 + 1e-4
    top = torch.quantile(base[0], 0.85)
    torch.testing.assert_close(warped[censored], base[censored].clamp(max=top))
    extra = (warped - base)[spiked]
    assert extra.min() > -1e-4
    for row in extra:
        places = (row > 0.5).nonzero()[:, 0]
        assert places.diff().unique().numel() == 1  # as far apart everywhere
        torch.testing.assert_close(row[places], row[places[:1]].expand(len(places)), atol=1e-4, rtol=0)
    assert warp(Draws(0, 0, "cpu"), wave[:0]).shape == (0, 600)
