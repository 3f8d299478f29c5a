"""Chronos-2: the forward pass compared with upstream's, its memory, roll-out and precision."""

from __future__ import annotations

import warnings

import pytest
import torch
from chronos.chronos2 import Chronos2Pipeline
from chronos.chronos2.layers import MHA

from potstill.errors import UserError
from potstill.families.chronos2.encode import attend_single
from potstill.families.load import load
from potstill.types import Request, Windows


def upstream_scaled(forecaster, contexts, patches):
    """Upstream's own forward pass: quantiles in input units, and the values of its output head."""
    seen = {}
    hook = forecaster.module.output_patch_embedding.register_forward_hook(lambda m, a, out: seen.update(out=out))
    out = forecaster.module(context=contexts, num_output_patches=patches).quantile_preds
    hook.remove()
    levels = len(forecaster.levels)
    head = seen["out"].view(len(contexts), patches, levels, -1).transpose(1, 2).reshape(len(contexts), levels, -1)
    return out, head


@pytest.mark.parametrize("horizon", [5, 16, 20, 32])
def test_the_forward_pass_equals_upstreams(small, contexts, horizon):
    with torch.no_grad():
        out, head = upstream_scaled(small, contexts, -(-horizon // 16))
        forecast = small.forward(Windows.of_context(contexts, horizon), Request(horizon)).forecast
    assert forecast.values.shape == (100, len(small.levels), horizon)
    assert (forecast.values - head[..., :horizon]).abs().max() <= 1e-5
    # in input units: relative to the scale of each context, as a level of 48,000 has float32 steps of 0.004
    error = (forecast.quantiles - out[..., :horizon].sort(dim=1).values).abs().amax(dim=(1, 2))
    size = out.abs().amax(dim=(1, 2)).clamp(min=1.0)
    assert (error / size).max() < 1e-5


def test_gradients_agree_with_upstream(small, contexts):
    weights = torch.randn(100, len(small.levels), 32, generator=torch.Generator().manual_seed(3))

    def gradients(values):
        small.module.zero_grad()
        (values * weights).sum().backward()
        return {name: p.grad.clone() for name, p in small.module.named_parameters() if p.grad is not None}

    expected = gradients(upstream_scaled(small, contexts, 2)[1])
    actual = gradients(small.forward(Windows.of_context(contexts, 32), Request(32)).forecast.values)
    for name, gradient in expected.items():
        if name in actual:
            assert (actual[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max().clamp(min=1), name
        else:  # queries and keys of group attention, on which a softmax over one key does not depend
            assert name.rpartition("layer.1.self_attention.")[2] in ("q.weight", "k.weight")
            assert gradient.abs().max() < 1e-4


def test_memory_is_linear_in_the_batch(small):
    def largest_saved(batch):
        sizes = []
        windows = Windows.of_context(torch.randn(batch, 64), 16)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            small.forward(windows, Request(16))
        return max(sizes)

    one, many = largest_saved(20), largest_saved(2000)
    assert many <= 100 * one
    assert many < 2000 * 2000


def test_a_context_longer_than_the_model_reads_is_cut_before_it_is_scaled(small):
    long = torch.cat([1000 + torch.randn(4, 50), torch.randn(4, 64)], dim=1)
    with torch.no_grad():
        cut = small.forward(Windows.of_context(long[:, -64:], 16), Request(16)).forecast
        forecast = small.forward(Windows.of_context(long, 16), Request(16)).forecast
    assert torch.equal(forecast.values, cut.values)
    assert torch.equal(forecast.scale, cut.scale)


def test_infinite_values_are_missing_values(small, contexts):
    spoilt = contexts[:1].clone()
    spoilt[0, 3], spoilt[0, 9] = torch.inf, -torch.inf
    known = spoilt.where(spoilt.isfinite(), torch.nan)
    assert torch.equal(small.predict(spoilt, 16).quantiles, small.predict(known, 16).quantiles)


def test_hidden_states_and_maps_of_the_requested_layers(small, contexts):
    output = small.forward(Windows.of_context(contexts[:3], 32), Request(32, hidden=(0, 1), attention=(1,)))
    tokens = 64 // 16 + 1 + 2
    assert output.hidden[0].shape == output.hidden[1].shape == (3, tokens, 32)
    assert set(output.attention) == {1}
    assert output.attention[1].shape == (3, 2, tokens, tokens)
    torch.testing.assert_close(output.attention[1].sum(dim=-1), torch.ones(3, 2, tokens))
    expected = small.module(context=contexts[:3], num_output_patches=2, output_attentions=True)
    torch.testing.assert_close(output.attention[1], expected.enc_time_self_attn_weights[1])


def test_queries_keys_and_values_are_those_that_upstream_attends_with(small, contexts, monkeypatch):
    """Upstream's are turned by rotary positions; ours are turned here by upstream's function."""
    seen, attend = [], MHA._sdpa_attention

    def attends(self, *given):
        seen.append(given[:3])
        return attend(self, *given)

    monkeypatch.setattr(MHA, "_sdpa_attention", attends)
    with torch.no_grad():
        small.module(context=contexts, num_output_patches=2)
        output = small.forward(Windows.of_context(contexts, 32), Request(32, qkv=(0, 1)))
    along_time = seen[::2]  # attention along time and within groups take turns
    positions = torch.arange(64 // 16 + 1 + 2)[None]
    for layer, upstream in enumerate(along_time):
        rotary = small.module.encoder.block[layer].layer[0].self_attention.rope_embed
        found = output.qkv[layer]
        turn = rotary(found.value, positions)
        query, key = rotary.apply_rotary_pos_emb(found.query, found.key, *turn)
        there = output.token_mask[:, None, :, None]
        for ours, theirs in zip((query, key, found.value), upstream, strict=True):
            torch.testing.assert_close(ours * there, theirs * there, atol=1e-5, rtol=1e-5)


def test_requests_of_the_last_layer_change_no_forecast(small, contexts):
    """Without them the last layer computes only the tokens of the forecast."""
    windows = Windows.of_context(contexts, 32)
    plain = small.forward(windows, Request(32)).forecast.values
    for request in (Request(32, hidden=(1,)), Request(32, attention=(1,)), Request(32, qkv=(1,))):
        torch.testing.assert_close(small.forward(windows, request).forecast.values, plain, atol=1e-5, rtol=0)


def test_dropout_drops_what_upstream_drops(small):
    """In a group of one, dropout keeps or drops whole heads: four outcomes for two heads, here and in upstream."""
    layer = small.module.encoder.block[0].layer[1].train()
    attention = layer.self_attention
    attention.dropout = 0.25
    stream = torch.randn(1, 1, 32).expand(200, -1, -1)
    heads = attention.v(layer.layer_norm(stream[:1])).view(2, 16)
    kept = torch.cartesian_prod(*[torch.tensor([0.0, 1 / 0.75])] * 2)
    outcomes = stream[0] + attention.o((heads * kept[:, :, None]).reshape(4, 32))
    alone = torch.eye(200).log().clamp(min=torch.finfo(torch.float32).min)[None, None]
    for drawn in (attend_single(layer, stream), layer(stream, attention_mask=alone)[0]):
        distance = torch.cdist(drawn[:, 0], outcomes, compute_mode="donot_use_mm_for_euclid_dist")
        assert distance.min(dim=1).values.max() < 1e-4
        assert len(distance.argmin(dim=1).unique()) == 4


def test_dropout_acts_in_training_and_not_in_forecasts(family, contexts):
    architecture = family.design(None, {"num_layers": 1, "d_model": 32}, 64, 32)
    student = family.build(architecture, dropout=0.3)
    student.module.train()
    windows = Windows.of_context(contexts[:8], 32)
    draws = [student.forward(windows, Request(32)).forecast.values for _ in range(2)]
    assert (draws[0] - draws[1]).abs().max() > 1e-3
    embedded = []
    student.module.input_patch_embedding.register_forward_hook(lambda m, a, out: embedded.append(out))
    student.forward(windows, Request(32))
    assert (embedded[1][0] != embedded[1][1]).any(), "dropout is independent for each window's future tokens"
    assert torch.equal(student.predict(contexts[:8], 32).values, student.predict(contexts[:8], 32).values)
    assert student.module.training


def test_one_context_and_any_batch_size_give_the_same_forecast(small, contexts):
    together = small.predict(contexts, 32)
    apart = small.predict(contexts, 32, batch_size=7)
    torch.testing.assert_close(together.values, apart.values, atol=1e-5, rtol=0)
    torch.testing.assert_close(small.predict(contexts[3], 32).values, together.values[3:4], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("context", "horizon"), [(torch.zeros(2, 0), 4), (torch.zeros(2, 3, 4), 4), (torch.ones(9), 0)]
)
def test_invalid_contexts_and_horizons_are_rejected(small, context, horizon):
    with pytest.raises(UserError, match=r"context: |prediction_length: "):
        small.predict(context, horizon)


@pytest.mark.parametrize("horizon", [24, 75])
def test_a_saved_student_forecasts_the_same_in_the_upstream_pipeline(small, contexts, tmp_path, horizon):
    small.save(tmp_path / "student")
    pipeline = Chronos2Pipeline.from_pretrained(tmp_path / "student")
    some = contexts[:40]
    levels = pipeline.quantiles
    expected, median = pipeline.predict_quantiles(
        [row[None] for row in some], prediction_length=horizon, quantile_levels=levels, limit_prediction_length=False
    )
    loaded = load(tmp_path / "student")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        forecast = loaded.predict(some, horizon)
    assert any("feeding its own forecasts back" in str(w.message) for w in caught) == (horizon > 32)
    raw = torch.cat(expected).transpose(1, 2).sort(dim=1).values  # an untrained model's quantiles cross
    assert forecast.quantiles.shape == raw.shape == (40, len(levels), horizon)
    torch.testing.assert_close(forecast.quantiles, raw, rtol=1e-5, atol=1e-4)
    assert len(median) == 40


def test_bf16_weights_are_close_to_fp32(small, contexts, tmp_path):
    small.save(tmp_path / "student")
    half = load(tmp_path / "student", precision="bf16")
    assert next(half.module.parameters()).dtype == torch.bfloat16
    forecast = half.predict(contexts[:75], 32)
    assert forecast.values.dtype == torch.float32
    assert forecast.loc.dtype == torch.float64
    assert (forecast.values - small.predict(contexts[:75], 32).values).abs().mean() < 0.05
    assert half.fingerprint != small.fingerprint
    assert load(tmp_path / "student").fingerprint == small.fingerprint


def test_the_spread_is_folded_into_the_weights(small, contexts, tmp_path):
    context = Windows.of_context(contexts, 20)
    before = small.forward(context, Request(20)).forecast.values
    middle = before[:, [int((small.levels - 0.5).abs().argmin())]]
    small.save(tmp_path / "before")
    copy = load(tmp_path / "before")
    assert copy.scale_spread(1.5)
    assert copy.scale_spread(1.2)
    wanted = middle + 1.8 * (before - middle)
    torch.testing.assert_close(copy.forward(context, Request(20)).forecast.values, wanted, atol=2e-5, rtol=1e-5)
    copy.save(tmp_path / "after")
    again = load(tmp_path / "after")
    assert again.spread == pytest.approx(1.8)
    pipeline = Chronos2Pipeline.from_pretrained(tmp_path / "after")  # the factor needs nothing of Potstill
    contexts = torch.cat([contexts[:44], contexts[45:]])  # upstream's spread of a constant ignores how small it is
    expected = torch.stack(pipeline.predict(list(contexts), prediction_length=20))[:, 0]
    size = expected.abs().amax(dim=(1, 2)).clamp(min=1.0)
    error = (again.predict(contexts, 20).quantiles - expected.sort(dim=1).values).abs().amax(dim=(1, 2))
    assert (error / size).max() < 1e-4
