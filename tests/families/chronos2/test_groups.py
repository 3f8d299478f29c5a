"""Chronos-2 with groups and covariates, compared with upstream's model and pipeline on the same rows."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from chronos.chronos2 import Chronos2Pipeline

from potstill.families.chronos2.encode import encode_groups, encode_univariate
from potstill.families.chronos2.groups import members_by_size
from potstill.families.chronos2.rows import Rows, rows_of
from potstill.types import Request, Windows

NAN = torch.nan
LAYERS: dict[str, Any] = {"hidden": (0, 1), "attention": (0, 1)}


@pytest.fixture
def windows(contexts) -> Windows:
    """Six windows in groups of 3, 1 and 2, out of order, with gaps and padding; a past and two known covariates."""
    generator = torch.Generator().manual_seed(4)
    rows = contexts[[0, 22, 80, 81, 5, 30]]
    past = torch.randn(6, 1, 64, generator=generator)
    known = torch.randn(6, 2, 64 + 32, generator=generator).cumsum(2)
    known[1, 0, 10:20] = NAN
    group = torch.tensor([7, 3, 7, 9, 7, 9])
    return Windows.of_context(rows, 32, group=group, past_covariates=past, future_covariates=known)


def upstream_rows(windows: Windows, horizon: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Context, group and future of every window and every one of its covariates, written out one by one."""
    assert windows.group is not None
    rows = [(c, g, torch.full((horizon,), NAN)) for c, g in zip(windows.context, windows.group, strict=True)]
    for i, group in enumerate(windows.group):
        for series in windows.past_covariates[i] if windows.past_covariates is not None else []:
            rows.append((series, group, torch.full((horizon,), NAN)))
        for series in windows.future_covariates[i] if windows.future_covariates is not None else []:
            rows.append((series[:64], group, series[64 : 64 + horizon]))
    context, group, future = zip(*rows, strict=True)
    return torch.stack(context), torch.stack(group), torch.stack(future)


def assert_close(forecast, expected):
    """Relative to the size of each window's values."""
    error = (forecast.quantiles - expected.sort(dim=1).values).abs().amax(dim=(1, 2))
    assert (error / expected.abs().amax(dim=(1, 2)).clamp(min=1.0)).max() < 1e-5


@pytest.mark.parametrize("horizon", [32, 20, 5])
def test_forecasts_equal_upstreams_on_the_same_rows(small, windows, horizon):
    context, group, future = upstream_rows(windows, horizon)
    with torch.no_grad():
        expected = small.module(
            context=context, group_ids=group, future_covariates=future, num_output_patches=-(-horizon // 16)
        ).quantile_preds
        actual = small.forward(windows, Request(horizon)).forecast
        alone = small.forward(Windows.of_context(windows.context, horizon), Request(horizon)).forecast
    assert_close(actual, expected[:6, :, :horizon])
    assert (actual.values - alone.values).abs().amax(dim=(1, 2)).min() > 1e-3, "the group's other rows must matter"


def test_states_and_maps_equal_upstreams(small, windows):
    context, group, future = upstream_rows(windows, 32)
    states = {}
    for i, block in enumerate(small.module.encoder.block):
        block.register_forward_hook(lambda module, args, out, i=i: states.update({i: out.hidden_states}))
    with torch.no_grad():
        expected = small.module(
            context=context, group_ids=group, future_covariates=future, num_output_patches=2, output_attentions=True
        )
        actual = small.forward(windows, Request(32, **LAYERS))
    there = actual.token_mask
    assert (~there).nonzero().tolist() == [[5, 0], [5, 1]], (
        "33 steps of padding are two patches of 16 and one more step"
    )
    for layer in (0, 1):
        torch.testing.assert_close(actual.hidden[layer][there], states[layer][:6][there], atol=1e-5, rtol=1e-5)
        maps = expected.enc_time_self_attn_weights[layer][:6].transpose(1, 2)
        torch.testing.assert_close(actual.attention[layer].transpose(1, 2)[there], maps[there], atol=1e-5, rtol=1e-5)


def test_gradients_equal_upstreams(small, windows):
    context, group, future = upstream_rows(windows, 32)

    def gradients(values):
        small.module.zero_grad()
        values.sinh().sum().backward()
        return {name: p.grad.clone() for name, p in small.module.named_parameters() if p.grad is not None}

    seen = {}
    hook = small.module.output_patch_embedding.register_forward_hook(lambda m, a, out: seen.update(out=out))
    small.module(context=context, group_ids=group, future_covariates=future, num_output_patches=2)
    hook.remove()
    head = seen["out"][:6].view(6, 2, len(small.levels), 16).transpose(1, 2).flatten(2)
    expected = gradients(head)
    actual = gradients(small.forward(windows, Request(32)).forecast.values)
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (actual[name] - gradient).abs().max() <= 1e-4 * gradient.abs().max().clamp(min=1), name
    assert actual["encoder.block.0.layer.1.self_attention.q.weight"].abs().max() > 1e-6


@pytest.mark.parametrize("horizon", [32, 75])
def test_predict_equals_upstreams_pipeline(small, windows, horizon):
    """Within one pass, and beyond it, where upstream feeds quantile paths back."""
    rows = windows.context[2:6]
    known = torch.randn(4, 2, 64 + horizon, generator=torch.Generator().manual_seed(5)).cumsum(2)
    past = windows.past_covariates[2:6]
    known[[1, 3]], past[[1, 3]] = known[[0, 2]], past[[0, 2]]  # each pair carries the same covariates
    pairs = Windows.of_context(
        rows, horizon, group=torch.tensor([0, 0, 1, 1]), past_covariates=past, future_covariates=known
    )
    inputs = [
        {
            "target": rows[i : i + 2],
            "past_covariates": {"a": known[i, 0, :64], "b": known[i, 1, :64], "c": past[i, 0]},
            "future_covariates": {"a": known[i, 0, 64:], "b": known[i, 1, 64:]},
        }
        for i in (0, 2)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.cat(Chronos2Pipeline(small.module).predict(inputs, prediction_length=horizon))
        assert_close(small.predict(pairs, horizon), expected)
        one_by_one = small.predict(pairs, horizon, batch_size=1)
    assert_close(one_by_one, expected)


def test_a_window_without_a_group_is_one_with_its_covariates(small, windows):
    apart = Windows.of_context(windows.context, 32, future_covariates=windows.future_covariates)
    assert apart.future_covariates is not None
    with torch.no_grad():
        actual = small.forward(apart, Request(32)).forecast
    expected = Chronos2Pipeline(small.module).predict(
        [
            {
                "target": context,
                "past_covariates": {"a": known[0, :64], "b": known[1, :64]},
                "future_covariates": {"a": known[0, 64:], "b": known[1, 64:]},
            }
            for context, known in zip(apart.context, apart.future_covariates, strict=True)
        ],
        prediction_length=32,
    )
    assert_close(actual, torch.cat(expected))


def test_groups_of_one_equal_separate_windows(small, contexts):
    rows = Rows(contexts, torch.randperm(100, generator=torch.Generator().manual_seed(6)), None)
    request = Request(hidden=(0, 1), attention=(1,), qkv=(0,))
    with torch.no_grad():
        actual, alone = (
            encode_groups(small.module, rows, 2, request),
            encode_univariate(small.module, contexts, 2, request),
        )
    torch.testing.assert_close(actual.stream, alone.stream, atol=1e-5, rtol=0)
    for layer in (0, 1):
        found = (one.recorded.hidden[layer] for one in (actual, alone))
        torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(actual.recorded.attention[1], alone.recorded.attention[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(vars(actual.recorded.qkv[0]), vars(alone.recorded.qkv[0]), atol=1e-5, rtol=1e-5)


def test_a_group_does_not_depend_on_the_others(small, windows):
    with torch.no_grad():
        together = small.forward(windows, Request(32, hidden=(1,)))
        apart = small.forward(windows.take(windows.group == 9), Request(32, hidden=(1,)))
    torch.testing.assert_close(together.hidden[1][[3, 5]], apart.hidden[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.forecast.values[[3, 5]], apart.forecast.values, atol=1e-5, rtol=0)


def test_covariates_as_rows():
    """By hand: two windows of one group with the same first covariate, the second window's second one missing."""
    known = torch.tensor([[[1.0, 2.0, 3.0, 4.0], [5.0, NAN, 7.0, 8.0]], [[1.0, 2.0, 3.0, 4.0], [NAN] * 4]])
    past = torch.tensor([[[10.0, 11.0, 12.0]], [[20.0, 21.0, 22.0]]])
    group = torch.tensor([5, 5])
    windows = Windows.of_context(
        torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]), 1, group=group, past_covariates=past, future_covariates=known
    )
    rows = rows_of(windows, 2)
    expected = [[0, 1, 2], [3, 4, 5], [10, 11, 12], [1, 2, 3], [5, NAN, 7], [20, 21, 22]]
    torch.testing.assert_close(rows.context, torch.tensor(expected), equal_nan=True)
    assert rows.group.tolist() == [5] * 6
    future = [[NAN, NAN]] * 3 + [[4.0, NAN], [8.0, NAN], [NAN, NAN]]
    torch.testing.assert_close(rows.future, torch.tensor(future), equal_nan=True)
    windows.group = None
    assert rows_of(windows, 1).group.tolist() == [0, 1, 0, 0, 0, 1, 1]


def test_windows_of_a_longer_context_are_cut_with_their_covariates(small, windows):
    longer = Windows.of_context(
        torch.cat([1e3 * torch.randn(6, 10), windows.context], dim=1),
        32,
        group=windows.group,
        past_covariates=torch.cat([1e3 * torch.randn(6, 1, 10), windows.past_covariates], dim=2),
        future_covariates=torch.cat([1e3 * torch.randn(6, 2, 10), windows.future_covariates], dim=2),
    )
    with torch.no_grad():
        actual, cut = (small.forward(w, Request(32)).forecast for w in (longer, windows))
    assert torch.equal(actual.values, cut.values)


def test_members_are_sorted_by_the_size_of_their_group():
    found = members_by_size(torch.tensor([7, 3, 7, 9, 7, 9, 1]))
    assert [rows.tolist() for rows in found] == [[[6], [1]], [[3, 5]], [[0, 2, 4]]]


def test_memory_is_linear_in_the_number_of_groups(small):
    def largest_saved(groups):
        sizes = []
        windows = Windows.of_context(torch.randn(4 * groups, 64), 16, group=torch.arange(4 * groups) // 4)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            small.forward(windows, Request(16))
        return max(sizes)

    assert largest_saved(500) <= 100 * largest_saved(5)


def test_dropout_acts_among_the_rows_of_a_group_in_training(family):
    student = family.build(family.design(None, {"num_layers": 1, "d_model": 32}, 64, 32), dropout=0.3)
    windows = Windows.of_context(torch.randn(4, 64), 32, group=torch.zeros(4, dtype=torch.long))
    first, second = (student.forward(windows, Request(32)).forecast.values for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(student.predict(windows, 32).values, student.predict(windows, 32).values)
