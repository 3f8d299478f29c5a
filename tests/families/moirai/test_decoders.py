"""Moirai-MoE and Moirai-2 as teachers, compared with their predictors in uni2ts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("uni2ts", reason="uni2ts is installed by the Makefile")

from gluonts.dataset.common import ListDataset
from gluonts.dataset.loader import InferenceDataLoader
from gluonts.torch.batchify import batchify
from uni2ts.distribution import LogNormalOutput, MixtureOutput, NormalFixedScaleOutput, StudentTOutput
from uni2ts.model.moirai2 import Moirai2Forecast, Moirai2Module
from uni2ts.model.moirai_moe import MoiraiMoEForecast, MoiraiMoEModule
from usage_errors import usage_error

from potstill.families.load import load
from potstill.families.moirai.family import MoiraiDecoderForecaster, MoiraiFamily
from potstill.families.moirai.pack import filled_by_mean
from potstill.types import Request, Windows

CONTEXT, HORIZON = 70, 40  # with patches of 16: a padded first token, three tokens of which the last is cut


@pytest.fixture
def series() -> list[np.ndarray]:
    """Three whole ones, one with gaps, one short: GluonTS pads it on the left."""
    rows = list(np.random.default_rng(0).normal(size=(5, CONTEXT)).cumsum(1).astype(np.float32))
    rows[3][[20, 21, 22, 69]] = np.nan
    rows[4] = rows[4][-25:]
    return rows


@pytest.fixture
def two(tmp_path: Path) -> MoiraiDecoderForecaster:
    torch.manual_seed(0)
    Moirai2Module(64, 128, 1, 16, 512, 0.0, 0.0, num_predict_token=2).save_pretrained(tmp_path)
    return loaded(tmp_path)


@pytest.fixture
def moe(tmp_path: Path) -> MoiraiDecoderForecaster:
    torch.manual_seed(0)
    distribution = MixtureOutput([StudentTOutput(), NormalFixedScaleOutput(), LogNormalOutput()])
    module: Any = MoiraiMoEModule(distribution, 64, 32, 1, (16,), 512, 0.0, 0.0)
    torch.nn.init.normal_(module.encoder.centroid)  # upstream leaves it uninitialised
    module.save_pretrained(tmp_path)
    return loaded(tmp_path)


def loaded(folder: Path) -> MoiraiDecoderForecaster:
    forecaster = load(folder)
    assert isinstance(forecaster, MoiraiDecoderForecaster)
    forecaster.freeze()
    return forecaster


def contexts(series: list[np.ndarray]) -> torch.Tensor:
    rows = torch.full((len(series), CONTEXT), torch.nan)
    for row, values in zip(rows, series, strict=True):
        row[-len(values) :] = torch.from_numpy(values)
    return rows


def upstream_forecast(forecast: Any, series: list[np.ndarray]) -> torch.Tensor:
    """The output of the network of uni2ts's predictor for series prepared by its own transformations.

    The whole predictor of Moirai-2 does not run on GluonTS 0.17, whose generator of quantile forecasts unpacks a tuple.
    """
    data = ListDataset([{"start": "2024-01-01", "target": values} for values in series], freq="h")
    predictor = forecast.create_predictor(batch_size=8, device="cpu")
    batch = next(iter(InferenceDataLoader(data, transform=predictor.input_transform, batch_size=8, stack_fn=batchify)))
    with torch.no_grad():
        return forecast.eval()(**{name: batch[name] for name in predictor.input_names})


def test_moirai_2_equals_upstreams_predictor(two: MoiraiDecoderForecaster, series: list[np.ndarray]):
    wanted = upstream_forecast(Moirai2Forecast(HORIZON, 1, 0, 0, CONTEXT, module=two.module), series)
    found = two.forward(Windows.of_context(contexts(series), HORIZON), Request(HORIZON)).forecast
    quantiles = found.values * found.scale[:, :, None] + found.loc[:, :, None]  # an untrained model's quantiles cross
    assert torch.allclose(quantiles, wanted.double(), atol=1e-4)


def test_the_first_patch_of_moirai_moe_follows_upstreams_samples(
    moe: MoiraiDecoderForecaster, series: list[np.ndarray]
):
    samples, steps = 500, 16
    upstream = MoiraiMoEForecast(steps, 1, 0, 0, CONTEXT, module=moe.module, patch_size=16, num_samples=samples)
    torch.manual_seed(0)
    wanted = upstream_forecast(upstream, series).numpy()
    quantiles = moe.predict(contexts(series), steps).quantiles.numpy()
    share = (wanted[:, :, None] <= quantiles[:, None]).mean(1)
    band = math.sqrt(math.log(2 / (1e-3 / share.size)) / (2 * samples))
    assert np.abs(share - moe.levels.numpy()[:, None]).max() < band


def test_later_patches_of_moirai_moe_continue_every_quantile(moe: MoiraiDecoderForecaster, series: list[np.ndarray]):
    long, short = (moe.predict(contexts(series), steps) for steps in (HORIZON, 16))
    assert long.values.shape == (5, 9, HORIZON)
    assert torch.allclose(long.values[..., :16], short.values, atol=1e-4)
    assert long.values.isfinite().all()
    assert (long.values.diff(dim=1) >= 0).all()
    alone = moe.predict(contexts(series)[3:4], HORIZON)
    assert torch.allclose(alone.values[0], long.values[3], atol=1e-4)


def test_they_return_no_gradients_and_no_hidden_states(two: MoiraiDecoderForecaster, moe: MoiraiDecoderForecaster):
    for teacher in (two, moe):
        assert not any(p.requires_grad for p in teacher.module.parameters())
        assert not teacher.module.training
        windows = Windows.of_context(torch.randn(2, CONTEXT), 8)
        assert not teacher.forward(windows, Request(8)).forecast.values.requires_grad
        with usage_error("model.cannot_return", "'hidden'"):
            teacher.forward(windows, Request(8, hidden=(0,)))
        config = MoiraiFamily().design(teacher, {}, CONTEXT, HORIZON).config
        assert config.d_model == 128, "their students are Moirai 1 of the small default size"


def test_they_save_what_they_load(two: MoiraiDecoderForecaster, tmp_path: Path):
    two.save(tmp_path / "again")
    again = loaded(tmp_path / "again")
    context = torch.randn(2, CONTEXT)
    assert torch.equal(again.predict(context, 8).values, two.predict(context, 8).values)


def test_bf16_is_a_usage_error(two: MoiraiDecoderForecaster, tmp_path: Path):
    with usage_error("model.precision_unsupported", str(tmp_path), "bf16"):
        load(tmp_path, precision="bf16")


def test_gaps_become_the_mean_of_earlier_values():
    nan = torch.nan
    context = torch.tensor([[nan, nan, 4.0, nan, nan, 10.0, nan], [1.0, 2.0, 3.0, nan, 5.0, nan, nan], [nan] * 7])
    # filled with the last value: 4 4 4 10; the gaps are then the means of 4 · 4 4 · 4 4 4 10
    wanted = torch.tensor([[0, 0, 4, 4, 4, 10, 5.5], [1, 2, 3, 2, 5, 14 / 5, 19 / 6], [0.0] * 7])
    assert torch.allclose(filled_by_mean(context), wanted)


def test_active_parameters_count_the_experts_that_a_token_uses(
    two: MoiraiDecoderForecaster, moe: MoiraiDecoderForecaster
):
    assert two.info.active_parameters == two.info.parameters
    layers = moe.module.encoder.layers
    expert = sum(p.numel() for p in layers[0].ffn.experts[0].parameters())
    idle = len(layers[0].ffn.experts) - layers[0].ffn.num_experts_per_token
    assert idle > 0
    assert moe.info.active_parameters == moe.info.parameters - len(layers) * idle * expert


def test_moirai_moe_gives_the_balance_of_its_experts(moe: MoiraiDecoderForecaster, two: MoiraiDecoderForecaster):
    """Switch's loss from the inputs of the layer, counted token by token; tokens of the horizon do not count."""
    windows = Windows.of_context(torch.randn(3, CONTEXT, generator=torch.Generator().manual_seed(1)).cumsum(1), HORIZON)
    (layer,) = (part for part in moe.module.modules() if type(part).__name__ == "MoEFeedForward")
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda part, given: seen.append(given[0]))
    output = moe.forward(windows, Request(HORIZON))
    hook.remove()
    tokens = seen[0][:, :-3].flatten(0, 1)  # three patches of the horizon
    scores = torch.cdist(tokens, moe.module.encoder.centroid[0].float())
    counts = torch.zeros(32)
    for row in scores.topk(layer.num_experts_per_token).indices.flatten().tolist():
        counts[row] += 1
    expected = 32 * (counts / counts.sum() * scores.softmax(dim=1).mean(dim=0)).sum()
    assert len(tokens) == 3 * 5
    torch.testing.assert_close(output.auxiliary["balance"], expected, atol=1e-4, rtol=1e-4)
    assert moe.info.auxiliary == tuple(output.auxiliary) == ("balance",)
    assert two.info.auxiliary == () == tuple(two.forward(windows, Request(8)).auxiliary)
