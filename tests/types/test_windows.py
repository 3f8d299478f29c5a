"""Batches of windows: taking rows, cutting steps and moving apply to every field."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from potstill.types import Output, Request, Tokens, Windows
from potstill.types.forecast import Forecast

B, C, H, P, F = 5, 6, 4, 2, 3


@pytest.fixture
def windows() -> Windows:
    """Every number encodes its row and, if it has one, its step."""
    rows = torch.arange(B)
    step = torch.arange(C + H) / 100
    value = rows[:, None] + step
    return Windows(
        context=value[:, :C],
        future=value[:, C:],
        ids=rows + 100,
        series=rows + 200,
        origin=rows + 300,
        dataset=rows % 2,
        group=rows // 2,
        past_covariates=(value[:, None, :C]).repeat(1, P, 1),
        future_covariates=(value[:, None]).repeat(1, F, 1),
    )


@pytest.mark.parametrize(
    "rows", [[3, 0], slice(1, 3), torch.tensor([4]), torch.tensor([True, False, True, False, False])]
)
def test_taking_rows_takes_every_field(windows, rows):
    taken = windows.take(rows)
    for field in fields(Windows):
        torch.testing.assert_close(getattr(taken, field.name), getattr(windows, field.name)[rows])


def test_first_steps_cut_futures_and_known_covariates(windows):
    cut = windows.first_steps(1)
    assert cut.future.shape == (B, 1)
    assert cut.future_covariates.shape == (B, F, C + 1)
    torch.testing.assert_close(cut.future_covariates[:, 0, C:], cut.future)
    assert cut.context is windows.context
    assert cut.group is windows.group
    assert windows.first_steps(H) is windows


def test_newest_cuts_contexts_and_covariates(windows):
    cut = windows.newest(2)
    assert cut.context.shape == (B, 2)
    assert cut.past_covariates.shape == (B, P, 2)
    assert cut.future_covariates.shape == (B, F, 2 + H)
    torch.testing.assert_close(cut.future_covariates[:, 0, :2], cut.context)
    torch.testing.assert_close(cut.past_covariates[:, 1], cut.context)
    assert windows.newest(C) is windows


def test_moving_moves_every_field(windows):
    moved = windows.to("meta")
    assert {getattr(moved, field.name).device.type for field in fields(Windows)} == {"meta"}
    bare = Windows.of_context(torch.zeros(2, C), H).to("meta")
    assert bare.group is None
    assert bare.context.device.type == "meta"


def test_stands_alone_is_false_with_groups_or_covariates(windows):
    assert not windows.stands_alone
    assert Windows.of_context(torch.zeros(2, C), H).stands_alone
    assert not Windows.of_context(torch.zeros(2, C), H, group=torch.zeros(2)).stands_alone


def test_tokens_take_rows_and_have_no_horizon():
    ids = torch.arange(12).view(3, 4)
    tokens = Tokens(ids, ids > -1, ids % 2 == 0, torch.arange(3))
    assert tokens.take([2, 0]).input_ids.tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert tokens.first_steps(1) is tokens


def test_requests_are_combined_and_outputs_cut():
    assert Request(4, (0, 2)) | Request(8, (1, 2), (3,)) == Request(8, (0, 1, 2), (3,))
    one = torch.ones(2, 1).double()
    output = Output(Forecast(torch.tensor([0.5]), torch.zeros(2, 1, H), one, one), hidden={0: torch.zeros(2, 3, 4)})
    assert output.first_steps(2).forecast.values.shape == (2, 1, 2)
    assert output.first_steps(2).hidden is output.hidden
    assert output.to("meta").hidden[0].device.type == "meta"
