"""The mixer student: what each block mixes, and its size."""

from __future__ import annotations

import torch

from potstill.families.small.mixer import MixerFamily, Mixing
from potstill.types import Request, Windows


def student(context: int = 60, horizon: int = 20, **overrides: object):
    family = MixerFamily()
    torch.manual_seed(0)
    sizes = {"d_model": 16, "num_layers": 3, "patch_size": 8}
    built = family.build(family.design(None, {**sizes, **overrides}, context, horizon), 0.0)
    built.module.eval()
    return built


def changed(mixing: Mixing, along_time: bool) -> torch.Tensor:
    """Which elements ``[N, D]`` of the result depend on the features of patch 1."""
    stream = torch.randn(1, 4, 6)
    other = stream.clone()
    other[0, 1] = torch.randn(6)
    return (mixing(stream, along_time) - mixing(other, along_time)).abs()[0] > 1e-9


def test_time_mixes_patches_and_features_mix_within_one():
    torch.manual_seed(0)
    assert changed(Mixing(6, 4, 8, 0.0), along_time=True).all()
    within = changed(Mixing(6, 6, 8, 0.0), along_time=False)
    assert within[1].all()
    assert not within[[0, 2, 3]].any()


def test_streams_of_the_requested_layers():
    built = student()
    output = built.forward(Windows.of_context(torch.randn(2, 60), 20), Request(20, hidden=(0, 2)))
    assert {index: tuple(state.shape) for index, state in output.hidden.items()} == {0: (2, 8, 16), 2: (2, 8, 16)}
    assert "attention" not in built.info.signals


def test_the_direct_path_is_linear_in_the_context():
    built = student(context=8, horizon=2, levels=[0.5])
    with torch.no_grad():
        built.module.head.out.weight.zero_()
        built.module.head.out.bias.zero_()
        built.module.head.direct.weight.copy_(torch.eye(8)[[7, 0]])
    context = torch.randn(3, 8)
    torch.testing.assert_close(built.predict(context, 2).quantiles[:, 0], context[:, [7, 0]])


def test_default_sizes():
    family = MixerFamily()
    config = family.design(None, {"d_model": 24}, 512, 96).config
    assert (config.num_layers, config.d_ff, config.patch_size) == (2, 48, 32)
    assert family.design(None, {"d_ff": 10}, 512, 96).config.d_ff == 10
    assert family.design(None, {}, 512, 96).parameters <= 300_000
