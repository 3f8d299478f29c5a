"""The patch transformer: attention maps compared with torch's attention, masks, positions, sizes."""

from __future__ import annotations

import pytest
import torch
from usage_errors import usage_error

from potstill.families.recorder import Recorder
from potstill.families.small.patch_transformer import PatchTransformerFamily, angles, rotate
from potstill.types import Request, Windows


def student(context: int = 64, horizon: int = 20, **overrides: object):
    family = PatchTransformerFamily()
    torch.manual_seed(0)
    sizes = {"d_model": 32, "num_layers": 3, "num_heads": 2, "patch_size": 8}
    built = family.build(family.design(None, {**sizes, **overrides}, context, horizon), 0.0)
    built.module.eval()
    return built


def test_maps_and_streams_of_the_requested_layers():
    built = student()
    context = torch.randn(2, 64)
    context[0, :20] = torch.nan
    windows = Windows.of_context(context, 20)
    plain = built.forward(windows, Request(20))
    outputs = {}
    for layer in (1, 2):
        built.module.blocks[layer].attention.register_forward_hook(lambda m, a, out, i=layer: outputs.update({i: out}))
    output = built.forward(windows, Request(20, hidden=(0, 2), attention=(1, 2), qkv=(1, 2)))
    tokens = 64 // 8
    assert {index: tuple(state.shape) for index, state in output.hidden.items()} == dict.fromkeys(
        (0, 2), (2, tokens, 32)
    )
    assert set(output.attention) == {1, 2}
    for weights in output.attention.values():
        assert weights.shape == (2, 2, tokens, tokens)
        torch.testing.assert_close(weights.sum(dim=3), torch.ones(2, 2, tokens))
        assert (weights[0, :, :, :2] == 0).all(), "patches without a known value are not attended to"
        assert (weights[0, :, :, 2:] > 0).all()
    assert output.token_mask is not None
    for layer in (1, 2):  # queries and keys before rotary positions give the map, values what is mixed by it
        qkv = output.qkv[layer]
        query, key = (rotate(x, *angles(tokens, 16, x.device)) for x in (qkv.query, qkv.key))
        scores = (query @ key.transpose(2, 3) / 4.0).masked_fill(~output.token_mask[:, None, None], -torch.inf)
        torch.testing.assert_close(scores.softmax(dim=3), output.attention[layer])
        mixed = (output.attention[layer] @ qkv.value).transpose(1, 2).flatten(2)
        torch.testing.assert_close(built.module.blocks[layer].attention.out(mixed), outputs[layer])
    # the maps equal those of the fused attention
    torch.testing.assert_close(output.forecast.values, plain.forecast.values, atol=1e-5, rtol=0)


def test_rotary_scores_depend_only_on_the_distance():
    query, key = torch.randn(2, 1, 1, 1, 8)
    turned = angles(10, 8, torch.device("cpu"))

    def score(i: int, j: int) -> float:
        at = [(cosine[None], sine[None]) for cosine, sine in zip(*turned, strict=True)]
        return (rotate(query, *at[i]) * rotate(key, *at[j])).sum().item()

    assert score(3, 1) == pytest.approx(score(9, 7), abs=1e-5)
    assert score(3, 1) != pytest.approx(score(3, 2), abs=1e-3)
    assert score(4, 4) == pytest.approx((query * key).sum().item(), abs=1e-5)


def last_stream(built, scaled: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    recorder = Recorder(Request(hidden=(2,)))
    built.module(scaled, known, recorder)
    return recorder.hidden[2]


def test_patches_without_a_known_value_are_not_attended_to():
    built = student()
    scaled = torch.randn(1, 64)
    known = torch.ones(1, 64, dtype=torch.bool)
    known[:, :16] = False
    with torch.no_grad():
        stream = last_stream(built, scaled, known)
        built.module.embed.register_forward_hook(lambda m, a, out: out + 5 * (torch.arange(8) < 2)[:, None])
        changed = last_stream(built, scaled, known)
    torch.testing.assert_close(changed[:, 2:], stream[:, 2:])
    assert (changed[:, :2] - stream[:, :2]).abs().max() > 1


@pytest.mark.parametrize(("context", "least", "most"), [(512, 1.0e6, 2.0e6), (720, 1.0e6, 2.0e6)])
def test_the_default_student_has_one_to_two_million_weights(context, least, most):
    architecture = PatchTransformerFamily().design(None, {}, context, 96)
    config = architecture.config
    assert (config.d_model, config.num_layers, config.num_heads, config.d_ff, config.patch_size) == (128, 4, 8, 512, 16)
    assert least <= architecture.parameters <= most


def test_heads_must_divide_the_width_evenly():
    with usage_error("student.sizes_do_not_fit", "d_model=30", "num_heads=4"):
        PatchTransformerFamily().design(None, {"d_model": 30, "num_heads": 4}, 64, 20)
    with usage_error("student.sizes_do_not_fit", "d_model=24", "num_heads=8"):
        PatchTransformerFamily().design(None, {"d_model": 24, "num_heads": 8}, 64, 20)
