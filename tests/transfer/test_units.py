"""Which heads and neurons are kept, and the least squares that make up for the others."""

from __future__ import annotations

import itertools

import pytest
import torch

from potstill.transfer.units import important_heads, important_neurons, reconstruction


def moments_of(rows: torch.Tensor) -> torch.Tensor:
    return rows.T @ rows / len(rows)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_heads_that_write_most_are_kept():
    """Of sizes 1² · 1² · 2, 3² · 0.5² · 2 and 2² · 0.5² · 2: the second and the third write 4.5 and 2, the first 2."""
    rows = torch.tensor([[1.0, 1.0, 3.0, 3.0, 2.0, 2.1]], dtype=torch.float64)
    matrix = torch.tensor([[1.0, 1.0, 0.5, 0.5, 0.5, 0.5]], dtype=torch.float64)
    assert important_heads(matrix, moments_of(rows), 2, heads=3).tolist() == [1, 2]
    assert important_heads(matrix, moments_of(rows), 1, heads=3).tolist() == [1]


def test_a_neuron_that_another_can_stand_for_is_left_out_though_it_writes_much():
    rows = random(400, 3)
    rows[:, 1] = 2 * rows[:, 0]
    matrix = torch.tensor([[1.0, 5.0, 0.1]], dtype=torch.float64)
    kept = important_neurons(matrix, moments_of(rows), 2)
    assert 2 in kept.tolist()
    written = rows[:, kept] @ (matrix @ reconstruction(moments_of(rows), kept)).T
    assert torch.allclose(written, rows @ matrix.T, atol=1e-2)


def test_one_neuron_less_is_the_one_whose_loss_costs_least():
    """Compared with least squares over every choice."""
    rows, matrix = random(300, 6) @ random(6, 6, seed=1), random(4, 6, seed=2)

    def error(kept: tuple[int, ...]) -> float:
        best = torch.linalg.lstsq(rows[:, list(kept)], rows @ matrix.T).solution
        return float((rows[:, list(kept)] @ best - rows @ matrix.T).square().sum())

    best = min(itertools.combinations(range(6), 5), key=error)
    assert important_neurons(matrix, moments_of(rows), 5).tolist() == list(best)


def test_the_reconstruction_is_the_least_squares_solution():
    rows, matrix, kept = random(300, 6) @ random(6, 6, seed=1), random(4, 6, seed=2), torch.tensor([0, 2, 3])
    found = rows[:, kept] @ (matrix @ reconstruction(moments_of(rows), kept)).T
    best = rows[:, kept] @ torch.linalg.lstsq(rows[:, kept], rows @ matrix.T).solution
    errors = [
        (part - rows @ matrix.T).square().sum().item() for part in (found, best, rows[:, kept] @ matrix[:, kept].T)
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)
    assert errors[0] < 0.8 * errors[2]


def test_kept_entries_stand_for_themselves():
    found = reconstruction(moments_of(random(50, 4)), torch.tensor([1, 3]))
    assert torch.equal(found[[1, 3]], torch.eye(2, dtype=torch.float64))


def test_neurons_that_are_never_active_do_no_harm():
    rows = random(50, 4)
    rows[:, 2:] = 0
    moments, matrix = moments_of(rows), random(3, 4, seed=1)
    assert important_neurons(matrix, moments, 2).tolist() == [0, 1]
    assert reconstruction(torch.zeros(4, 4, dtype=torch.float64), torch.tensor([0])).isfinite().all()
