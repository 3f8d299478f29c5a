"""The common grid of two models' tokens: patches, contexts, horizons and padding, all worked out by hand."""

from __future__ import annotations

import pytest
import torch
from layer_fakes import of_text, of_windows, output
from usage_errors import usage_error

from potstill.objectives.common_tokens import CommonTokens
from potstill.types import Spans

FINE = ((-8, -6), (-6, -4), (-4, -2), (-2, 0), None, (0, 2), (2, 4))
COARSE = ((-8, -4), (-4, 0), None, (0, 4))


def grid(own: Spans | None, theirs: Spans | None, own_mask=None, their_mask=None, rows: int = 1) -> CommonTokens:
    student = output(rows, token_spans=own, token_mask=own_mask)
    teacher = output(rows, token_spans=theirs, token_mask=their_mask)
    counts = (len(own or "1234"), len(theirs or "1234"))
    return CommonTokens.of("term", of_windows(student, teacher), teacher, counts)


def states(*values: float) -> torch.Tensor:
    return torch.tensor(values)[None, :, None]


def mask(*there: int) -> torch.Tensor:
    return torch.tensor([there]).bool()


def values_of(pooled: torch.Tensor) -> list[float]:
    return pooled.flatten().tolist()


@pytest.mark.parametrize("swapped", [False, True])
def test_fine_tokens_are_averaged_within_coarse_ones(swapped):
    """The register tokens of both models make the last cell."""
    tokens = grid(COARSE, FINE) if swapped else grid(FINE, COARSE)
    fine, coarse = (tokens.teacher, tokens.student) if swapped else (tokens.student, tokens.teacher)
    assert values_of(fine.pooled(states(1, 3, 5, 9, 100, 2, 4))) == [2, 7, 3, 100]
    assert values_of(coarse.pooled(states(1, 2, 50, 3))) == [1, 2, 3, 50]
    assert tokens.known.tolist() == [[True] * 4]


def test_a_register_token_of_one_model_is_left_out():
    tokens = grid(FINE, ((-8, -4), (-4, 0), (0, 4)))
    assert values_of(tokens.student.pooled(states(1, 3, 5, 9, 100, 2, 4))) == [2, 7, 3]


def test_patches_that_do_not_divide_one_another_share_steps():
    """Cells of six steps: a token of four steps lies half in each of two of them."""
    four = ((-12, -8), (-8, -4), (-4, 0))
    tokens = grid(((-12, -6), (-6, 0)), four)
    assert values_of(tokens.teacher.pooled(states(1, 4, 10))) == pytest.approx([(4 + 2 * 4) / 6, (2 * 4 + 4 * 10) / 6])


def test_only_the_steps_of_both_models_count():
    """A teacher that reads more context and forecasts more steps; a student without tokens of the horizon."""
    tokens = grid(((-4, -2), (-2, 0)), FINE)
    assert values_of(tokens.student.pooled(states(1, 2))) == [1, 2]
    assert values_of(tokens.teacher.pooled(states(1, 3, 5, 9, 100, 2, 4))) == [5, 9]
    # of two models with equal patches, but another horizon, register tokens are still a pair
    shorter = grid(FINE[:-1], FINE)
    assert values_of(shorter.teacher.pooled(states(1, 3, 5, 9, 100, 2, 4))) == [1, 3, 5, 9, 2, 100]


def test_padded_tokens_are_left_out():
    tokens = grid(FINE, COARSE, mask(0, 0, 0, 1, 1, 1, 1), mask(1, 1, 1, 1))
    assert tokens.known.tolist() == [[False, True, True, True]]
    padding = float("nan")
    assert values_of(tokens.student.pooled(states(padding, padding, padding, 9, 1, 2, 4)))[1:] == [9, 3, 1]
    assert tokens.mean(torch.tensor([[padding, 1.0, 2.0, 6.0]])).tolist() == [3.0]


def test_a_cell_needs_a_token_of_both_models():
    tokens = grid(COARSE, COARSE, mask(0, 1, 1, 1), mask(1, 1, 1, 0))
    assert tokens.known.tolist() == [[False, True, True, False]]
    nothing = grid(COARSE, COARSE, mask(0, 0, 0, 0))
    assert nothing.mean(torch.full((1, 4), torch.nan)).tolist() == [0.0]


def test_equal_grids_are_compared_one_by_one():
    tokens = grid(FINE, FINE)
    assert tokens.student.averages is None
    assert values_of(tokens.student.pooled(states(1, 2, 3, 4, 5, 6, 7))) == [1, 2, 3, 4, 5, 6, 7]
    assert tokens.visible.tolist() == [[[[True] * 7]]]


def test_maps_are_summed_over_keys_and_averaged_over_queries():
    spans = ((-4, -2), (-2, 0), (0, 2), (2, 4))
    tokens = grid(spans, ((-4, 0), (0, 4)), mask(1, 1, 1, 1), mask(1, 1))
    rows = [[0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.2, 0.2], [0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 0.25, 0.25]]
    pooled = tokens.student.pooled_map(torch.tensor(rows)[None, None])
    torch.testing.assert_close(pooled, torch.tensor([[[[0.45, 0.55], [0.25, 0.75]]]]))
    # a key of four steps, of which two lie in a cell, gives that cell half of its weight
    halves = grid(((-6, -2), (-2, 2), (2, 4)), ((-6, 0), (0, 4)))
    pooled = halves.student.pooled_map(torch.tensor([[0.2, 0.6, 0.2]] * 3)[None, None])
    torch.testing.assert_close(pooled, torch.tensor([[[[0.5, 0.5], [0.5, 0.5]]]]))


def test_text_is_compared_token_by_token_with_earlier_tokens():
    there = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
    inputs = of_text(there, {}, {})
    tokens = CommonTokens.of("term", inputs, inputs.teachers["t0"], (3, 3))
    assert tokens.known.tolist() == there.tolist()
    assert tokens.visible[:, 0].int().tolist() == [
        [[1, 0, 0], [1, 1, 0], [1, 1, 1]],
        [[1, 0, 0], [1, 1, 0], [1, 1, 0]],
    ]


@pytest.mark.parametrize("spans", [(None, COARSE), (FINE, None)])
def test_tokens_without_spans_are_rejected(spans):
    with usage_error("objective.no_token_spans", "objective.terms.term", "Output.token_spans"):
        grid(*spans)


def test_models_without_common_steps_are_rejected():
    with usage_error("objective.no_common_tokens", "objective.terms.term"):
        grid(((-4, -2), (-2, 0)), ((0, 2), (2, 4)))
