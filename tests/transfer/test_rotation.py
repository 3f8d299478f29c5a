"""The bases that a stream is cut to, and the norms that commute with them."""

from __future__ import annotations

import pytest
import torch

from potstill.transfer.rotation import largest_dimensions, mean_free_basis, principal_components


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_principal_components_are_ordered_by_variance():
    rows = random(500, 3) * torch.tensor([1.0, 10.0, 3.0], dtype=torch.float64)
    basis, share = principal_components(rows.T @ rows / 500, 2, centred=False)
    assert basis.abs().argmax(0).tolist() == [1, 2]
    assert torch.allclose(basis.T @ basis, torch.eye(2, dtype=torch.float64))
    assert share == pytest.approx((100 + 9) / 110, abs=0.01)


@pytest.mark.parametrize("width", [7, 4])
def test_with_layer_norms_the_mean_stays_the_mean(width):
    rows = random(500, 7)
    rows = rows - rows.mean(1, keepdim=True)
    basis, share = principal_components(rows.T @ rows / 500, width, centred=True)
    assert torch.allclose(basis.T @ basis, torch.eye(width, dtype=torch.float64))
    assert torch.allclose(
        basis.T @ torch.ones(7, dtype=torch.float64) / 7**0.5, torch.full((width,), width**-0.5).double()
    )
    assert share == pytest.approx(1.0) if width == 7 else share < 1


def test_layer_norm_commutes_with_the_full_rotation_and_is_scaled_in_a_subspace():
    """``LayerNorm(Rᵀ x) = sqrt(K / D) Rᵀ LayerNorm(x)`` for x in the span of R."""
    mixed = random(500, 3) @ mean_free_basis(7)[:, :3].T
    basis, _ = principal_components(mixed.T @ mixed / 500, 4, centred=True)
    x = mixed + random(500, 1, seed=1)  # the mean of a stream is free: a LayerNorm removes it
    small = torch.nn.functional.layer_norm(x @ basis, (4,), eps=1e-12)
    large = torch.nn.functional.layer_norm(x, (7,), eps=1e-12)
    assert torch.allclose(small, (4 / 7) ** 0.5 * large @ basis, atol=1e-8)


def test_rms_norm_is_scaled_in_a_subspace():
    x = random(50, 3) @ random(3, 7, seed=1)
    basis, share = principal_components(x.T @ x / 50, 3, centred=False)
    small, large = x @ basis, x
    small, large = (y / y.square().mean(1, keepdim=True).sqrt() for y in (small, large))
    assert torch.allclose(small, (3 / 7) ** 0.5 * large @ basis)
    assert share == pytest.approx(1.0)


def test_dimensions_are_kept_in_their_order():
    basis, share = largest_dimensions(torch.diag(torch.tensor([4.0, 1.0, 5.0])).double(), 2, centred=True)
    assert basis.tolist() == [[1, 0], [0, 0], [0, 1]]
    assert share == pytest.approx(0.9)


@pytest.mark.parametrize("width", [2, 5])
def test_the_mean_free_basis_is_orthonormal(width):
    basis = mean_free_basis(width)
    assert torch.allclose(basis.T @ basis, torch.eye(width - 1, dtype=torch.float64))
    assert basis.sum(0).abs().max() < 1e-12
