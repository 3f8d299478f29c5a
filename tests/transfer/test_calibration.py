"""What is measured on calibration data, against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_transformer import Tiny, describe, inputs

from potstill.transfer.calibration import measure_activity


def test_the_covariance_is_of_streams_scaled_to_unit_rms():
    model = Tiny(4, depth=0)
    streams = torch.cat([model.embed(x).flatten(0, 1) for x in inputs()])
    scaled = streams / streams.square().mean(1, keepdim=True).sqrt()
    expected = scaled.T @ scaled / len(streams) / 4
    found = measure_activity(model, describe(model), inputs(), []).covariance
    assert torch.allclose(found, expected, atol=1e-6)
    assert found.trace().item() == pytest.approx(1.0, abs=1e-6)


def test_moments_are_those_of_what_the_output_matrices_read():
    model, seen = Tiny(4, depth=1), {}
    block = model.blocks[0]
    hooks = [
        matrix.register_forward_pre_hook(lambda _, x, name=name: seen.setdefault(name, []).append(x[0].flatten(0, 1)))
        for name, matrix in (("blocks.0.heads", block.attention.o), ("blocks.0.neurons", block.down))
    ]
    found = measure_activity(model, describe(model), inputs(), list(describe(model).units)).moments
    for hook in hooks:
        hook.remove()
    for name, rows in seen.items():
        every = torch.cat(rows)
        assert torch.allclose(found[name], every.T @ every / len(every))


def test_padding_does_not_count():
    """In the middle of one batch and at the end of another; before its first block no token sees another."""
    model, batches = Tiny(4, depth=0), inputs()[:2]
    masks = [torch.ones(4, 5, dtype=torch.bool) for _ in batches]
    masks[0][1, 2:4], masks[1][:, 3:] = False, False
    by_batch = dict(zip(map(id, batches), masks, strict=True))
    masked = replace(describe(model), real=lambda batch: by_batch[id(batch)])
    streams = torch.cat([model.embed(x)[mask] for x, mask in zip(batches, masks, strict=True)])
    scaled = streams / streams.square().mean(1, keepdim=True).sqrt()
    assert len(scaled) == 40 - 2 - 8
    found = measure_activity(model, masked, batches, []).covariance
    assert torch.allclose(found, scaled.T @ scaled / len(scaled) / 4, atol=1e-6)


def test_only_the_named_units_are_measured_and_no_hooks_are_left():
    model = Tiny(4)
    found = measure_activity(model, describe(model), inputs(), ["blocks.1.neurons"])
    assert list(found.moments) == ["blocks.1.neurons"]
    assert not any(module._forward_pre_hooks for module in model.modules())
