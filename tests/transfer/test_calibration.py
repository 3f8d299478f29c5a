"""What is measured on calibration data, against figures worked out by hand."""

from __future__ import annotations

import pytest
import torch
from tiny_transformer import HEAD, Tiny, describe, inputs

from potstill.transfer.calibration import measure_activity


def test_the_covariance_is_of_streams_scaled_to_unit_rms():
    model = Tiny(4, depth=0)
    streams = torch.cat([model.embed(x).flatten(0, 1) for x in inputs()])
    scaled = streams / streams.square().mean(1, keepdim=True).sqrt()
    expected = scaled.T @ scaled / len(streams) / 4
    found = measure_activity(model, describe(model), inputs()).covariance
    assert torch.allclose(found, expected, atol=1e-6)
    assert found.trace().item() == pytest.approx(1.0, abs=1e-6)


def test_importance_is_the_size_of_what_a_unit_writes():
    model = Tiny(4, depth=1)
    seen = {}
    block = model.blocks[0]
    hooks = [
        getattr(owner, name).register_forward_pre_hook(lambda _, x, name=name: seen.setdefault(name, []).append(x[0]))
        for owner, name in ((block.attention, "o"), (block, "down"))
    ]
    found = measure_activity(model, describe(model), inputs()).importance
    for hook in hooks:
        hook.remove()
    heads, neurons = (torch.cat(seen[name]).flatten(0, 1) for name in ("o", "down"))
    o, down = block.attention.o.weight.detach(), block.down.weight.detach()
    for head in range(2):
        columns = range(head * HEAD, (head + 1) * HEAD)
        size = sum((heads[:, c] ** 2).mean() * (o[:, c] ** 2).sum() for c in columns)
        assert found["blocks.0.heads"][head].item() == pytest.approx(float(size), rel=1e-5)
    for neuron in range(6):
        size = neurons[:, neuron].abs().mean() * down[:, neuron].norm()
        assert found["blocks.0.neurons"][neuron].item() == pytest.approx(float(size), rel=1e-5)


def test_no_hooks_are_left():
    model = Tiny(4)
    measure_activity(model, describe(model), inputs())
    assert not any(module._forward_pre_hooks for module in model.modules())
