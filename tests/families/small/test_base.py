"""What the three small students share: scale, levels, missing values, files, gradients and the roll-out."""

from __future__ import annotations

import json
import warnings
from statistics import NormalDist
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from usage_errors import usage_error

from potstill.families.base import Forecaster
from potstill.families.load import load
from potstill.families.registry import family as family_named
from potstill.families.registry import family_of
from potstill.families.small.base import DEFAULT_LEVELS, mix_paths
from potstill.families.small.family import SmallStudentFamily
from potstill.families.small.layers import ascending, forward_fill, normal_start, patched
from potstill.families.standardise import standardise
from potstill.types import Request, Windows

SIZES = {
    "patch_transformer": {"d_model": 32, "num_layers": 2, "num_heads": 2, "patch_size": 8},
    "linear": {"window": 5, "rank": 8},
    "mixer": {"d_model": 16, "num_layers": 2, "patch_size": 8},
}


def build(name: str, context: int = 64, horizon: int = 20, dropout: float = 0.0, **overrides: object) -> Forecaster:
    chosen = family_named(name)
    torch.manual_seed(3)
    student = chosen.build(chosen.design(None, SIZES[name] | overrides, context, horizon), dropout)
    student.module.eval()
    return student


def perturbed(name: str, **options: Any) -> Forecaster:
    """A student with perturbed weights, so that its forecasts depend on the context."""
    student = build(name, **options)
    with torch.no_grad():
        for weight in student.module.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return student


@pytest.fixture(params=list(SIZES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_scale_of_a_context_by_hand():
    scaled, known, loc, scale = standardise(torch.tensor([[torch.nan, 1.0, 2.0, 3.0]]))
    assert loc.tolist() == [[2.0]]
    assert scale.item() == pytest.approx((2 / 3) ** 0.5)
    assert loc.dtype == scale.dtype == torch.float64
    assert known.tolist() == [[False, True, True, True]]
    torch.testing.assert_close(scaled[0].sinh(), torch.tensor([0.0, -(1.5**0.5), 0.0, 1.5**0.5]))


def test_constant_and_empty_contexts_have_a_scale():
    rows = torch.tensor([[5.0] * 8, [0.0] * 8, [torch.nan] * 8, [0.1] * 8])
    scaled, _, loc, scale = standardise(rows)
    assert loc[:, 0].tolist() == pytest.approx([5.0, 0.0, 0.0, 0.1])
    assert scale[:, 0].tolist() == pytest.approx([5e-6, 1e-5, 1.0, 1e-7])
    assert scaled.abs().max() < 0.2


def test_gaps_are_forward_filled():
    known = torch.tensor([[False, True, False, False, False, True, False]])
    x = torch.tensor([[0.0, 3.0, 0.0, 0.0, 0.0, 7.0, 0.0]])
    assert forward_fill(x, known).tolist() == [[0.0, 3.0, 3.0, 3.0, 3.0, 7.0, 7.0]]
    assert forward_fill(x, torch.ones_like(known)) is x


def test_patches_end_where_the_context_ends():
    assert patched(torch.arange(1.0, 6.0)[None], 3).tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_quantiles_are_cumulative_gaps_from_the_middle():
    gaps = torch.tensor([1.0, 2.0, 3.0]).expm1().log()[None, :, None]
    assert ascending(torch.tensor([[10.0]]), gaps, 1).flatten().tolist() == pytest.approx([9.0, 10.0, 12.0, 15.0])
    assert ascending(torch.tensor([[10.0]]), gaps[:, :0], 0).flatten().tolist() == [10.0]


def test_the_initial_quantiles_are_normal():
    middle, gaps = normal_start([0.1, 0.3, 0.6], 1)
    values = ascending(torch.tensor([[middle]]), gaps[None, :, None], 1).sinh().flatten()
    assert values.tolist() == pytest.approx([NormalDist().inv_cdf(p) for p in (0.1, 0.3, 0.6)], rel=1e-5)


@pytest.mark.parametrize("levels", [(0.5,), (0.25, 0.75), DEFAULT_LEVELS, (0.01, 0.3, 0.5, 0.95)])
def test_equal_paths_mix_to_their_own_quantiles(levels):
    values = torch.randn(3, 1, len(levels), 5).sort(dim=2).values
    mixed = mix_paths(values.expand(-1, len(levels), -1, -1), torch.tensor(levels))
    torch.testing.assert_close(mixed, values[:, 0])


def test_two_distant_paths_mix_to_one_quantile_of_each():
    followed = torch.tensor([0.0, 1.0])[None, :, None, None].expand(1, 2, 2, 3)
    assert mix_paths(followed, torch.tensor([0.25, 0.75])).tolist() == [[[0.0] * 3, [1.0] * 3]]


def test_an_untrained_student_forecasts_a_normal_with_the_contexts_mean_and_spread(name):
    student = build(name, levels=[0.1, 0.5, 0.9])
    context = 50 + 4 * torch.randn(200, 64)
    quantiles = student.predict(context, 20).quantiles
    spread = context.std(dim=1, correction=0)
    for place, level in enumerate((0.1, 0.5, 0.9)):
        expected = context.mean(dim=1) + spread * NormalDist().inv_cdf(level)
        assert ((quantiles[:, place] - expected[:, None]) / spread[:, None]).abs().max() < 0.3


@settings(max_examples=15)
@given(factor=st.floats(1e-3, 1e3), shift=st.floats(-50, 50))
@pytest.mark.parametrize("kind", list(SIZES))
def test_forecasts_are_equivariant_to_scale_and_shift(kind, factor, shift):
    student = perturbed(kind)
    context = torch.randn(4, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(dim=1)
    context[0, 10:20] = torch.nan
    forecast = student.predict(context, 20).quantiles
    other = student.predict(factor * (context + shift), 20).quantiles
    torch.testing.assert_close(other / factor - shift, forecast, atol=2e-3, rtol=1e-4)


def test_edge_case_contexts_have_finite_sorted_forecasts(name, contexts):
    forecast = perturbed(name).predict(contexts, 20)
    assert forecast.values.isfinite().all()
    assert (forecast.values.diff(dim=1) >= 0).all(), "levels never cross"
    quantiles = forecast.quantiles
    assert quantiles.isfinite().all()
    constants = contexts[40:45, :1, None]
    assert ((quantiles[40:45] - constants).abs() < 1e-3 * constants.abs() + 1e-3).all()


def test_a_forecast_does_not_depend_on_the_rest_of_the_batch(name, contexts):
    student = perturbed(name)
    together = student.predict(contexts, 20).values
    torch.testing.assert_close(student.predict(contexts, 20, batch_size=7).values, together, atol=1e-5, rtol=0)
    torch.testing.assert_close(student.predict(contexts[21], 20).values, together[21:22], atol=1e-5, rtol=0)


def test_contexts_of_other_lengths(name):
    student = perturbed(name)
    context = torch.randn(5, 64).cumsum(dim=1)
    forecast = student.predict(context, 20)
    longer = student.predict(torch.cat([1000 + torch.randn(5, 30), context], dim=1), 20)
    assert torch.equal(longer.quantiles, forecast.quantiles)
    short = context[:, -13:]
    padded = torch.cat([torch.full((5, 51), torch.nan), short], dim=1)
    assert torch.equal(student.predict(short, 20).quantiles, student.predict(padded, 20).quantiles)


def test_the_forecast_depends_on_values_and_gaps(name):
    student = perturbed(name)
    context = torch.randn(1, 64)
    forecast = student.forward(Windows.of_context(context, 20), Request(20)).forecast.values
    for place in (0, 63):
        other = context.clone()
        other[0, place] = torch.nan
        assert (
            student.forward(Windows.of_context(other, 20), Request(20)).forecast.values - forecast
        ).abs().max() > 1e-4


def test_a_shorter_horizon_is_a_prefix_of_the_full_forecast(name, contexts):
    student = perturbed(name)
    whole = student.predict(contexts, 20)
    assert torch.equal(student.predict(contexts, 7).values, whole.values[..., :7])
    with pytest.raises(ValueError, match="at most 20 steps"):
        student.forward(Windows.of_context(contexts, 21), Request(21))


def test_a_saved_student_loads_bit_for_bit(name, contexts, tmp_path):
    student = perturbed(name, levels=[0.1, 0.5, 0.8])
    student.save(tmp_path / "student")
    loaded = load(tmp_path / "student")
    assert loaded.fingerprint == student.fingerprint
    assert loaded.levels.tolist() == pytest.approx([0.1, 0.5, 0.8])
    assert (loaded.family, loaded.max_context, loaded.max_horizon) == (name, 64, 20)
    assert torch.equal(loaded.predict(contexts, 20).values, student.predict(contexts, 20).values)
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    for part in ("model_type", "architectures"):
        found = family_of({part: config[part]})
        assert found is not None
        assert found.name == name


def test_half_precision_is_close_to_fp32(name, contexts, tmp_path):
    student = build(name)
    student.save(tmp_path / "student")
    half = load(tmp_path / "student", precision="bf16").predict(contexts, 20)
    assert half.values.dtype == torch.float32
    assert (half.values - student.predict(contexts, 20).values).abs().mean() < 0.05


def test_a_checkpoint_with_missing_weights_is_rejected(name, tmp_path):
    build(name).save(tmp_path / "student")
    path = tmp_path / "student" / "model.safetensors"
    weights = load_file(path)
    lost = sorted(weights)[0]
    save_file({key: value for key, value in weights.items() if key != lost}, path, metadata={"format": "pt"})
    with usage_error("model.weights_mismatch", lost):
        load(tmp_path / "student")


def test_a_checkpoint_with_unknown_weights_is_rejected(name, tmp_path):
    build(name).save(tmp_path / "student")
    path = tmp_path / "student" / "model.safetensors"
    save_file(load_file(path) | {"gate.weight": torch.zeros(2)}, path, metadata={"format": "pt"})
    with usage_error("model.weights_mismatch", "gate.weight"):
        load(tmp_path / "student")


def noisy_sines(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    phase, size = torch.rand(2, count, 1, generator=generator)
    steps = torch.arange(84)
    x = 10 * size * torch.sin(2 * torch.pi * (steps / 12 + phase)) + torch.randn(count, 84, generator=generator)
    return x[:, :64], x[:, 64:]


def loss_of(student: Forecaster, seed: int) -> Tensor:
    """The pinball loss in the context's scale."""
    context, future = noisy_sines(64, seed)
    forecast = student.forward(Windows.of_context(context, 20), Request(20)).forecast
    miss = forecast.scaled(future)[:, None] - forecast.values
    level = forecast.levels[:, None]
    return torch.maximum(level * miss, (level - 1) * miss).mean()


def test_gradients_reach_every_weight(name):
    student = build(name)
    loss_of(student, 0).backward()
    untouched = [n for n, p in student.module.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert untouched == []


def test_a_few_steps_of_training_lower_the_loss(name):
    student = build(name)
    optimizer = torch.optim.AdamW(student.module.parameters(), lr=5e-3)
    before = loss_of(student, 1000).item()
    for step in range(40):
        optimizer.zero_grad()
        loss_of(student, step).backward()
        optimizer.step()
    assert loss_of(student, 1000).item() < 0.7 * before


def test_dropout_acts_in_training_and_not_in_forecasts(name):
    student = build(name, dropout=0.5)
    with torch.no_grad():
        for weight in student.module.parameters():
            weight += 0.1 * torch.randn_like(weight)
    context = torch.randn(8, 64)
    student.module.train()
    draws = [student.forward(Windows.of_context(context, 20), Request(20)).forecast.values for _ in range(2)]
    assert (draws[0] - draws[1]).abs().max() > 1e-3
    assert torch.equal(student.predict(context, 20).values, student.predict(context, 20).values)


def test_the_same_seed_builds_the_same_student(name):
    assert build(name).fingerprint == build(name).fingerprint


def test_the_architecture_counts_the_weights_that_are_built(name):
    architecture = family_named(name).design(None, SIZES[name], 50, 9)
    assert architecture.parameters == build(name, 50, 9).parameters


@pytest.mark.parametrize("levels", [None, [0.5], [0.2, 0.9]])
def test_beyond_the_trained_horizon_intervals_do_not_shrink(name, levels):
    student = perturbed(name, **({"levels": levels} if levels else {}))
    context = torch.randn(6, 64).cumsum(dim=1)
    context[0] = torch.nan
    with pytest.warns(UserWarning, match="feeding its own forecasts back"):
        forecast = student.predict(context, 70)
    assert forecast.quantiles.shape == (6, len(student.levels), 70)
    assert torch.equal(forecast.values[..., :20], student.predict(context, 20).values)
    assert forecast.values.isfinite().all()
    width = forecast.quantiles[:, -1] - forecast.quantiles[:, 0]
    blocks = torch.stack([width[:, k : k + 20].mean(dim=1) for k in (0, 20, 40)], dim=1)
    assert (blocks.diff(dim=1) >= -1e-4 * blocks[:, :1]).all()


def test_a_single_level_is_fed_back_as_its_own_path(name):
    student = perturbed(name, levels=[0.5])
    context = torch.randn(3, 64).cumsum(dim=1)
    first = student.predict(context, 20).quantiles[:, 0]
    second = student.predict(torch.cat([context, first], dim=1), 20).quantiles[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = student.predict(context, 40).quantiles[:, 0]
    torch.testing.assert_close(whole, torch.cat([first, second], dim=1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("overrides", "key", "fact"),
    [
        ({"widht": 3}, "student.unknown_setting", "'widht'"),
        ({"levels": 0.5}, "student.bad_value", "levels=0.5"),
        ({"levels": []}, "student.bad_value", "levels=[]"),
        ({"levels": [0.5, 0.1]}, "student.bad_value", "levels=[0.5, 0.1]"),
        ({"levels": [0.5, 1.0]}, "student.bad_value", "levels=[0.5, 1.0]"),
        ({"levels": [1, 2]}, "student.bad_value", "levels=[1, 2]"),
    ],
)
def test_bad_settings_are_usage_errors(name, overrides, key, fact):
    with usage_error(key, fact):
        family_named(name).design(None, overrides, 64, 20)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "wide", None, 10**9])
def test_sizes_are_whole_numbers_within_limits(name, value):
    chosen = family_named(name)
    assert isinstance(chosen, SmallStudentFamily)
    for key in chosen.sizes:
        with usage_error("student.bad_value", f"{key}={value!r}"):
            chosen.design(None, {key: value}, 64, 20)


def test_the_teacher_does_not_change_the_sizes(name, small):
    chosen = family_named(name)
    assert chosen.design(small, {}, 64, 32).config.to_dict() == chosen.design(None, {}, 64, 32).config.to_dict()
    student = chosen.build(chosen.design(small, {}, 64, 32), 0.0)
    with usage_error("student.start_unsupported", name):
        chosen.copy_from(student, small)


@pytest.mark.parametrize("name", SIZES)
def test_the_spread_is_saved_and_applied(name, tmp_path):
    student = perturbed(name)
    context = Windows.of_context(torch.randn(4, 64), 20)
    before = student.forward(context, Request(20)).forecast.values
    assert student.scale_spread(0.5)
    assert student.scale_spread(1.2)
    module: Any = student.module
    middle = before[:, module.middle, None]
    student.save(tmp_path / "student")
    again = load(tmp_path / "student")
    assert again.spread == pytest.approx(0.6)
    torch.testing.assert_close(
        again.forward(context, Request(20)).forecast.values, middle + 0.6 * (before - middle), atol=1e-5, rtol=1e-5
    )
