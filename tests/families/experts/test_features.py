"""Features of a context: values worked out by hand, and what they do not depend on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from potstill.families.experts.features import FEATURE_NAMES, series_features


def features_of(row: Tensor) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, series_features(row[None])[0].tolist(), strict=True))


def test_a_daily_wave():
    found = features_of(5 + torch.sin(torch.arange(480) * 2 * math.pi / 24))
    assert found["autocorrelation_24"] == pytest.approx(1, abs=1e-3)
    assert found["autocorrelation_12"] == pytest.approx(-1, abs=1e-3)
    assert found["spectral_peak_period"] == pytest.approx(math.log(24) / math.log(480), abs=1e-3)
    assert found["spectral_peak_share"] > 0.9
    assert found["spectral_entropy"] < 0.1
    assert found["level_over_spread"] == pytest.approx(math.log(1 + 5 * math.sqrt(2)), abs=1e-3)


def test_a_straight_line_is_all_trend():
    found = features_of(torch.arange(100.0))
    assert found["trend_strength"] > 0.95
    assert found["trend"] > 1
    assert features_of(-torch.arange(100.0))["trend"] == pytest.approx(-found["trend"], abs=1e-4)


def test_noise_has_neither_trend_nor_season():
    found = features_of(torch.randn(512, generator=torch.Generator().manual_seed(0)))
    assert found["trend_strength"] < 0.05
    assert abs(found["autocorrelation_24"]) < 0.15
    assert found["spectral_entropy"] > 0.9


def test_gaps_zeros_and_repeats_are_counted():
    row = torch.tensor([math.nan, math.nan, 0.0, 0.0, 3.0, math.nan, 3.0, 3.0, 0.0, 1.0])
    found = features_of(row)
    assert found["missing"] == pytest.approx(1 / 8)  # of the steps since the first known value
    assert found["zeros"] == pytest.approx(3 / 7)
    assert found["unchanged"] == pytest.approx(2 / 5)  # of the pairs of neighbours: 0 0, 3 3
    assert found["history"] == pytest.approx(math.log(8) / math.log(1024))
    assert found["value_-5"] == 0  # missing


def test_units_do_not_matter(contexts):
    rows = contexts[:40]
    free = [i for i, name in enumerate(FEATURE_NAMES) if name not in ("level_over_spread", "zeros")]
    torch.testing.assert_close(
        series_features(1000 * rows + 50)[:, free], series_features(rows)[:, free], atol=2e-3, rtol=1e-3
    )


def test_a_row_does_not_depend_on_its_batch(contexts):
    together = series_features(contexts)
    apart = torch.cat([series_features(row[None]) for row in contexts])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 7, 600])
def test_any_length_and_any_content_gives_finite_features(length):
    rows = torch.randn(6, length)
    rows[1] = math.nan
    rows[2] = 0.0
    rows[3] = 1e20
    rows[4, : length // 2] = math.nan
    found = series_features(rows)
    assert found.shape == (6, len(FEATURE_NAMES))
    assert found.isfinite().all()
