"""Groups: targets that respond to their covariates, common latent series, and which rows are known ahead."""

import numpy as np
import pytest
import torch

from potstill.data.device.draws import Draws
from potstill.data.device.groups import columns, driven, latent
from potstill.data.device.series import Drawn


def noise(groups: int, size: int, length: int = 400) -> torch.Tensor:
    return Draws(99, 0, "cpu").normal(groups, size, length)


def explained(rows: torch.Tensor) -> np.ndarray:
    """Share of each target's variance that a linear regression on the other rows explains."""
    shares = []
    for group in rows.double().numpy():
        target = group[0] - group[0].mean()
        others = np.column_stack([group[1:].T, np.ones(group.shape[1])])
        rest = target - others @ np.linalg.lstsq(others, target, rcond=None)[0]
        shares.append(1 - (rest @ rest) / (target @ target))
    return np.array(shares)


def test_targets_respond_to_most_covariates_and_covariates_come_from_elsewhere():
    found = driven(Draws(0, 0, "cpu"), noise(300, 3))
    assert found.rows.shape == (300, 3, 400)
    assert found.rows.isfinite().all()
    shares = explained(found.rows)
    assert np.median(shares) > 0.5
    assert (shares < 0.1).mean() == pytest.approx(
        0.1, abs=0.08
    )  # both covariates without effect: a sixteenth, and weak ones
    covariates = found.rows[:, 1:].flatten(0, 1)
    two_valued = sum(len(row.unique()) == 2 for row in covariates) / len(covariates)
    assert two_valued == pytest.approx(0.6, abs=0.08)  # events, calendar events, exceedances


def test_an_effect_is_immediate():
    """The target at one step depends on the covariates of that step alone."""
    found = driven(Draws(0, 0, "cpu"), noise(300, 2))
    later = torch.stack([found.rows[:, 0, 1:], found.rows[:, 1, :-1]], dim=1)
    assert np.median(explained(later)) < np.median(explained(found.rows))


def test_missing_values_of_the_base_are_no_values_of_a_group():
    base = noise(20, 3)
    base[:, :, 100:150] = torch.nan
    for made in (driven(Draws(0, 0, "cpu"), base), latent(Draws(0, 0, "cpu"), base)):
        assert made.rows.isfinite().all()


def test_how_many_covariates_are_known_differs_from_batch_to_batch():
    known = [driven(Draws(0, k, "cpu"), noise(2, 5, 30)).known for k in range(300)]
    assert np.mean(known) == pytest.approx(4 * 0.85, abs=0.15)
    assert set(known) <= {0, 1, 2, 3, 4}


def test_latent_groups_have_as_many_latent_series_as_rows_some_delayed():
    found = latent(Draws(0, 0, "cpu"), noise(200, 3))
    assert found.known == 0
    draws = Draws(0, 0, "cpu")
    delay = (draws.integers(0, 25, 200, 3, 1) * draws.chance(0.5, 200, 3, 1))[..., 0]
    weight = draws.normal(200, 3, 3) * draws.chance(0.6, 200, 3, 3) + 0.5 * torch.eye(3)
    base = noise(200, 3)
    base = (base - base.mean(dim=2, keepdim=True)) / base.std(dim=2, keepdim=True, correction=0)
    for group in range(0, 200, 40):
        delayed = torch.stack([torch.roll(base[group, i], int(delay[group, i])) for i in range(3)])
        torch.testing.assert_close(found.rows[group][:, 25:], (weight[group] @ delayed)[:, 25:], atol=1e-4, rtol=1e-4)


def test_columns_keep_rows_and_places():
    values = torch.arange(24.0).view(6, 4)
    found = columns(Draws(0, 0, "cpu"), Drawn(values, torch.arange(6), torch.arange(6) + 10), 2)
    assert torch.equal(found.rows, values.view(2, 3, 4))
    assert found.series.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found.origin.tolist() == [[10, 11, 12], [13, 14, 15]]
    known = [columns(Draws(0, k, "cpu"), Drawn(values, torch.arange(6), torch.arange(6)), 2).known for k in range(300)]
    assert np.mean(known) == pytest.approx(0.6, abs=0.1)
