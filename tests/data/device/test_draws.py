"""Random numbers of a batch: the same for the same batch, others for others, with the distribution they say."""

import pytest
import torch

from potstill.data.device.draws import Draws


def numbers(seed: int, number: int) -> list[torch.Tensor]:
    draws = Draws(seed, number, "cpu")
    length = draws.choice({40: 1.0, 50: 1.0, 60: 2.0})
    return [draws.uniform(50), draws.normal(50), draws.integers(0, 9, 50), torch.tensor(length)]


def test_a_batch_draws_the_same_and_another_one_other_numbers():
    first, again, other, later = numbers(0, 7), numbers(0, 7), numbers(1, 7), numbers(0, 8)
    assert torch.equal(first[3], again[3])
    for k in range(3):
        assert torch.equal(first[k], again[k])
        assert not torch.equal(first[k], other[k])
        assert not torch.equal(first[k], later[k])


def test_draws_do_not_touch_torchs_own_generator():
    torch.manual_seed(3)
    before = torch.rand(1)
    torch.manual_seed(3)
    numbers(0, 0)
    assert torch.equal(torch.rand(1), before)


def test_choices_follow_their_weights():
    found = [Draws(0, k, "cpu").choice({256: 1.0, 512: 3.0}) for k in range(800)]
    assert found.count(512) / len(found) == pytest.approx(0.75, abs=0.05)


def test_dirichlet_weights_sum_to_one_with_the_variance_of_alpha_one_and_a_half():
    weights = Draws(0, 0, "cpu").dirichlet(3, 20_000)
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(20_000))
    assert (weights > 0).all()
    # the sum of the parameters is 4.5: variance 1.5 · 3 / (4.5² · 5.5)
    torch.testing.assert_close(weights.mean(dim=1), torch.full((3,), 1 / 3), atol=0.005, rtol=0)
    torch.testing.assert_close(weights.var(dim=1), torch.full((3,), 0.0404), atol=0.001, rtol=0)
