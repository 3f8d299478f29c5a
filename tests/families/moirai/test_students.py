"""Moirai students: sizes, files that upstream loads, training and roll-out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("uni2ts", reason="uni2ts is installed by the Makefile")

from uni2ts.model.moirai import MoiraiForecast, MoiraiModule
from usage_errors import usage_error

from potstill.families.base import ModelSource
from potstill.families.chronos2.family import Chronos2Family
from potstill.families.load import load
from potstill.families.moirai.family import MoiraiFamily, MoiraiForecaster
from potstill.types import Request, Windows

SIZES = {"d_model": 64, "num_layers": 2, "patch_sizes": 16}


def student(overrides: dict[str, Any] | None = None, context: int = 64, horizon: int = 32, dropout: float = 0.0):
    torch.manual_seed(0)
    family = MoiraiFamily()
    return family.build(family.design(None, {**SIZES, **(overrides or {})}, context, horizon), dropout)


def test_the_architecture_counts_the_weights_that_are_built():
    family = MoiraiFamily()
    architecture = family.design(None, SIZES, 64, 32)
    assert family.build(architecture, 0.0).parameters == architecture.parameters


def test_without_sizes_a_student_is_its_teacher_made_narrower_to_a_third():
    module = MoiraiFamily().design(None, {"d_model": 384, "num_layers": 6}, 720, 96).config.module(0.0)
    teacher = MoiraiForecaster(module, ModelSource("t", "t"), {})
    architecture = MoiraiFamily().design(teacher, {}, 720, 96)
    assert 0.2 < architecture.parameters / teacher.parameters <= 1 / 3
    assert (architecture.config.num_layers, architecture.config.d_model, architecture.config.patch) == (6, 192, 32)
    narrow = MoiraiForecaster(replace(architecture.config, d_model=64).module(0.0), ModelSource("t", "t"), {})
    with usage_error("student.no_size_fits", "num_layers=2,d_model=64"):
        MoiraiFamily().design(narrow, {}, 720, 96)
    only_depth = MoiraiFamily().design(teacher, {"num_layers": 1}, 720, 96).config
    assert (only_depth.num_layers, only_depth.d_model) == (1, 384)


def test_with_a_teacher_of_another_family_the_default_sizes_are_used():
    chronos = Chronos2Family()
    sizes = {"num_layers": 2, "d_model": 32, "num_heads": 2, "d_kv": 16, "d_ff": 64}
    other = chronos.build(chronos.design(None, sizes, 64, 32), 0.0)
    config = MoiraiFamily().design(other, {}, 720, 96).config
    assert (config.d_model, config.num_layers, config.patch) == (128, 4, 32)


@pytest.mark.parametrize(
    ("overrides", "key", "fact"),
    [
        ({"d_model": 32}, "student.sizes_do_not_fit", "d_model=32"),
        ({"d_model": 200}, "student.sizes_do_not_fit", "d_model=200"),
        ({"d_model": "wide"}, "student.bad_value", "d_model='wide'"),
        ({"num_layers": 0}, "student.bad_value", "num_layers=0"),
        ({"num_layers": True}, "student.bad_value", "num_layers=True"),
        ({"patch_sizes": [8, 16]}, "student.bad_value", "patch_sizes=[8, 16]"),
        ({"patch_sizes": 0}, "student.bad_value", "patch_sizes=0"),
        ({"patch_size": 16}, "student.fixed_setting", "patch_sizes=16"),
        ({"d_ff": 128}, "student.fixed_setting", "'d_ff'"),
        ({"num_heads": 2}, "student.fixed_setting", "'num_heads'"),
        ({"negative_binomial": 1}, "student.bad_value", "negative_binomial=1"),
        ({"max_seq_len": 4}, "student.sizes_do_not_fit", "max_seq_len=4"),
        ({"depth": 3}, "student.unknown_setting", "'depth'"),
    ],
)
def test_bad_sizes_are_usage_errors(overrides: dict[str, Any], key: str, fact: str):
    with usage_error(key, fact):
        MoiraiFamily().design(None, overrides, 720, 96)


def test_upstream_and_potstill_load_a_saved_student(tmp_path: Path):
    own = student()
    own.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    again, reference = load(tmp_path), MoiraiModule.from_pretrained(tmp_path)
    assert isinstance(again, MoiraiForecaster)
    assert (again.max_context, again.max_horizon, again.patch_size) == (64, 32, 16)
    context = torch.randn(5, 64).cumsum(1)
    assert torch.equal(again.predict(context, 32).values, own.predict(context, 32).values)
    assert all(
        torch.equal(a, b)
        for a, b in zip(reference.state_dict().values(), again.module.state_dict().values(), strict=True)
    )
    again.save(tmp_path / "second")
    assert (tmp_path / "second" / "config.json").read_text() == (tmp_path / "config.json").read_text()


def test_an_existing_card_is_kept(tmp_path: Path):
    (tmp_path / "README.md").write_text("a card")
    student().save(tmp_path)
    assert (tmp_path / "README.md").read_text() == "a card"


def test_gluonts_predicts_with_a_student(tmp_path: Path):
    from gluonts.dataset.common import ListDataset

    student().save(tmp_path)
    module = MoiraiModule.from_pretrained(tmp_path)
    predictor = MoiraiForecast(
        prediction_length=32,
        context_length=64,
        target_dim=1,
        feat_dynamic_real_dim=0,
        past_feat_dynamic_real_dim=0,
        module=module,
        patch_size=16,
        num_samples=400,
    ).create_predictor(batch_size=4, device="cpu")
    series = np.random.default_rng(0).normal(size=(3, 100)).cumsum(1)
    series[1, 80:83] = np.nan
    torch.manual_seed(0)
    forecasts = list(predictor.predict(ListDataset([{"start": "2024-01-01", "target": s} for s in series], freq="h")))
    assert [f.samples.shape for f in forecasts] == [(400, 32)] * 3
    own = load(tmp_path).predict(torch.from_numpy(series), 32)
    width = own.scale.numpy()
    for row, forecast in enumerate(forecasts):
        share = (forecast.samples[:, None] <= own.quantiles[row].numpy() + 1e-5 * width[row]).mean(0)
        assert np.abs(share - own.levels.numpy()[:, None]).max() < 0.12, "samples must match the quantiles"


def test_roll_out_continues_every_quantile():
    own = student()
    context = torch.randn(4, 64).cumsum(1)
    with pytest.warns(UserWarning, match="feeding its own forecasts back"):
        long = own.predict(context, 80)
    short = own.predict(context, 32)
    assert long.quantiles.shape == (4, 9, 80)
    assert torch.allclose(long.quantiles[..., :32], short.quantiles, atol=1e-4)
    assert (long.quantiles.diff(dim=1) >= -1e-5).all()


def test_copy_from_copies_only_from_a_moirai():
    family, own = MoiraiFamily(), student({"num_layers": 1})
    deep = student({"num_layers": 3})
    lines = family.copy_from(own, deep)
    assert "layers 0" in lines[0]
    name = "encoder.layers.0.ffn.fc1.weight"
    assert torch.equal(own.module.state_dict()[name], deep.module.state_dict()[name])
    chronos = Chronos2Family()
    sizes = {"num_layers": 1, "d_model": 32, "num_heads": 2, "d_kv": 16, "d_ff": 64}
    with usage_error("student.start_mismatch", "Moirai 1.0 or 1.1"):
        family.copy_from(own, chronos.build(chronos.design(None, sizes, 64, 32), 0.0))


def test_pinball_loss_falls_in_training():
    own = student(dropout=0.1)
    assert own.module.training
    losses = trained(own, 20)
    assert losses[-1] < 0.7 * losses[0]


def test_a_student_with_a_negative_binomial_has_finite_losses():
    own = student({"negative_binomial": True})
    assert all(torch.tensor(trained(own, 3)).isfinite())


def trained(own: MoiraiForecaster, steps: int) -> list[float]:
    """Pinball losses of some steps on one batch of noisy waves; checks that every gradient is finite."""
    generator = torch.Generator().manual_seed(1)
    phase = torch.rand(8, 1, generator=generator) * 24
    wave = torch.sin((torch.arange(96) + phase) * 2 * torch.pi / 24)
    series = 5 + 2 * wave + 0.2 * torch.randn(8, 96, generator=generator)
    optimiser = torch.optim.AdamW(own.module.parameters(), lr=3e-3)
    levels, losses = own.levels[None, :, None], []
    for _ in range(steps):
        forecast = own.forward(Windows.of_context(series[:, :64], 32), Request(32)).forecast
        gap = forecast.scaled(series[:, 64:])[:, None] - forecast.values
        loss = torch.maximum(levels * gap, (levels - 1) * gap).mean()
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in own.module.parameters())
        torch.nn.utils.clip_grad_norm_(own.module.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_every_weight_but_the_attention_bias_learns():
    own = student()
    forecast = own.forward(Windows.of_context(torch.randn(8, 64).cumsum(1), 32), Request(32)).forecast
    forecast.values.square().mean().backward()
    untrained = {n for n, p in own.module.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    # with one series per window, the bias between variates adds the same to every score
    assert all("var_attn_bias" in name for name in untrained), untrained
