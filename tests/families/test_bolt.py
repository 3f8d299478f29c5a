"""Chronos-Bolt compared with upstream's own classes, on a small untrained model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from chronos.chronos_bolt import ChronosBoltModelForForecasting, ChronosBoltPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor
from usage_errors import usage_error

from potstill.families.bolt import BoltFamily, BoltForecaster
from potstill.families.load import load
from potstill.families.registry import family_of
from potstill.types import Request, Windows


@pytest.fixture(scope="module")
def teacher(tiny_bolt: Path) -> BoltForecaster:
    forecaster = load(tiny_bolt).freeze()
    assert isinstance(forecaster, BoltForecaster)
    return forecaster


@pytest.fixture(scope="module")
def upstream(tiny_bolt: Path) -> ChronosBoltPipeline:
    pipeline = ChronosBoltPipeline.from_pretrained(tiny_bolt)
    pipeline.model.eval()
    return pipeline


def assert_equal(actual: Tensor, expected: Tensor, context: Tensor) -> None:
    """To 1e-5 of each row's largest distance from its mean, plus the float32 rounding of that mean."""
    level = context.nanmean(dim=1).nan_to_num(0.0)[:, None, None]
    reach = (expected - level).abs().amax(dim=(1, 2), keepdim=True)
    assert ((actual - expected).abs() <= 1e-5 * reach + 5e-7 * level.abs()).all()


def test_what_the_config_says(teacher: BoltForecaster):
    assert teacher.family == "bolt"
    assert (teacher.max_context, teacher.max_horizon, teacher.horizon_multiple) == (64, 32, 16)
    torch.testing.assert_close(teacher.levels, torch.arange(1, 10) / 10)
    assert not teacher.module.training
    assert not any(p.requires_grad for p in teacher.module.parameters())


@pytest.mark.parametrize("length", [64, 57, 16, 5, 1])
def test_the_pass_equals_upstreams(
    teacher: BoltForecaster, upstream: ChronosBoltPipeline, contexts: Tensor, length: int
):
    """Gaps, padding, constants, means far above the spread, no values; lengths that are not whole patches."""
    context = contexts[:, -length:]
    forecast = teacher.forward(Windows.of_context(context, 32), Request(32)).forecast
    expected = upstream.model(context=context).quantile_preds
    raw = forecast.values.double() * forecast.scale[:, :, None] + forecast.loc[:, :, None]
    assert raw.isfinite().all()
    assert_equal(raw.float(), expected, context)


def test_predict_equals_upstreams(teacher: BoltForecaster, upstream: ChronosBoltPipeline, contexts: Tensor):
    """With a longer context, cut to its newest steps, and a horizon shorter than the model's."""
    contexts = torch.cat([contexts[:44], contexts[45:]])  # upstream's spread of a constant ignores how small it is
    context = torch.cat([contexts + 1, contexts], dim=1)
    actual = teacher.predict(context, 20, batch_size=33)
    assert actual.quantiles.shape == (99, 9, 20)
    assert_equal(actual.quantiles, upstream.predict(context, prediction_length=20).sort(dim=1).values, contexts)


def test_the_scale_is_the_contexts_mean_and_deviation(teacher: BoltForecaster):
    context = torch.tensor([[1.0, torch.nan, 3.0, 5.0], [7.0] * 4, [torch.nan] * 4])
    forecast = teacher.predict(context, 4)
    assert forecast.loc.dtype == forecast.scale.dtype == torch.float64
    torch.testing.assert_close(forecast.loc[:, 0], torch.tensor([3.0, 7.0, 0.0]).double())
    torch.testing.assert_close(forecast.scale[:, 0], torch.tensor([(8 / 3) ** 0.5, 1e-5, 1.0]).double())


def test_longer_horizons_roll_out_as_upstream(teacher: BoltForecaster, upstream: ChronosBoltPipeline, contexts: Tensor):
    context = contexts[:44]
    with pytest.warns(UserWarning, match="feeding its own forecasts back"):
        actual = teacher.predict(context, 70)
    expected = upstream.predict(context, prediction_length=70)
    assert actual.quantiles.shape == (44, 9, 70)
    assert_equal(actual.quantiles, expected.sort(dim=1).values, context)


def test_it_is_saved_in_upstreams_layout(teacher: BoltForecaster, tmp_path: Path):
    teacher.save(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["architectures"] == ["ChronosBoltModelForForecasting"]
    expected = ChronosBoltModelForForecasting.from_pretrained(tmp_path / "saved")
    for name, weight in teacher.module.state_dict().items():
        torch.testing.assert_close(expected.state_dict()[name], weight, rtol=0, atol=0)
    assert load(tmp_path / "saved").fingerprint == teacher.fingerprint


@pytest.mark.parametrize(
    "lost", ["output_patch_embedding.output_layer.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"]
)
def test_missing_weights_are_rejected(tiny_bolt: Path, tmp_path: Path, lost: str):
    """Upstream ignores missing patch embeddings."""
    folder = Path(shutil.copytree(tiny_bolt, tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with usage_error("model.weights_mismatch", lost):
        load(folder)


def test_weights_with_other_shapes_than_the_config_are_rejected(tiny_bolt: Path, tmp_path: Path):
    folder = Path(shutil.copytree(tiny_bolt, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "d_ff": 48}))
    with usage_error("model.weights_mismatch", str(folder)):
        load(folder)


def test_it_cannot_be_a_student():
    family = BoltFamily()
    with usage_error("student.teacher_only", "bolt"):
        family.design(None, {}, 64, 32)


def test_its_config_is_not_chronos_2s(tiny_bolt: Path):
    config = json.loads((tiny_bolt / "config.json").read_text())
    assert family_of(config).name == "bolt"


def test_half_precision_weights(tiny_bolt: Path, teacher: BoltForecaster, contexts: Tensor):
    forecast = load(tiny_bolt, precision="bf16").predict(contexts[:10], 32)
    assert forecast.values.dtype == torch.float32
    full = teacher.predict(contexts[:10], 32).values
    assert (forecast.values - full).norm() < 0.05 * full.norm()
