"""Moirai-MoE and Moirai-2 as teachers, against the predictors that uni2ts makes of them."""

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

from potstill.errors import UserError
from potstill.families.base import bare_windows
from potstill.families.load import load
from potstill.families.moirai.family import MoiraiDecoderForecaster, MoiraiFamily
from potstill.families.moirai.pack import filled_by_mean

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
    module = MoiraiMoEModule(distribution, 64, 32, 1, (16,), 512, 0.0, 0.0)
    torch.nn.init.normal_(module.encoder.centroid)  # upstream leaves it to the checkpoint
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


def upstream_says(forecast: Any, series: list[np.ndarray]) -> torch.Tensor:
    """What the network of uni2ts's predictor answers to the series as its own transformations prepare them.

    Moirai-2's predictor as a whole does not run on GluonTS 0.17, whose generator of quantile forecasts unpacks a tuple.
    """
    data = ListDataset([{"start": "2024-01-01", "target": values} for values in series], freq="h")
    predictor = forecast.create_predictor(batch_size=8, device="cpu")
    batch = next(iter(InferenceDataLoader(data, transform=predictor.input_transform, batch_size=8, stack_fn=batchify)))
    with torch.no_grad():
        return forecast.eval()(**{name: batch[name] for name in predictor.input_names})


def test_moirai_2_is_upstreams_predictor(two: MoiraiDecoderForecaster, series: list[np.ndarray]):
    wanted = upstream_says(Moirai2Forecast(HORIZON, 1, 0, 0, CONTEXT, module=two.module), series)
    found = two.forward(bare_windows(contexts(series), HORIZON), HORIZON).forecast
    quantiles = found.values * found.scale[:, :, None] + found.loc[:, :, None]  # untrained: they cross
    assert torch.allclose(quantiles, wanted.double(), atol=1e-4)


def test_the_first_patch_of_moirai_moe_follows_upstreams_samples(
    moe: MoiraiDecoderForecaster, series: list[np.ndarray]
):
    samples, steps = 500, 16
    upstream = MoiraiMoEForecast(steps, 1, 0, 0, CONTEXT, module=moe.module, patch_size=16, num_samples=samples)
    torch.manual_seed(0)
    wanted = upstream_says(upstream, series).numpy()
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


def test_they_teach_without_gradients_and_without_inner_states(
    two: MoiraiDecoderForecaster, moe: MoiraiDecoderForecaster
):
    for teacher in (two, moe):
        assert not any(p.requires_grad for p in teacher.module.parameters())
        assert not teacher.module.training
        windows = bare_windows(torch.randn(2, CONTEXT), 8)
        assert not teacher.forward(windows, 8).forecast.values.requires_grad
        with pytest.raises(UserError, match="neither hidden states nor attention"):
            teacher.forward(windows, 8, hidden=(0,))
        config = MoiraiFamily().design(teacher, {}, CONTEXT, HORIZON).config
        assert config.d_model == 128, "their students are Moirai 1 of the small default size"


def test_they_save_what_they_load(two: MoiraiDecoderForecaster, tmp_path: Path):
    two.save(tmp_path / "again")
    again = loaded(tmp_path / "again")
    context = torch.randn(2, CONTEXT)
    assert torch.equal(again.predict(context, 8).values, two.predict(context, 8).values)


def test_bf16_is_refused_in_one_sentence(two: MoiraiDecoderForecaster, tmp_path: Path):
    with pytest.raises(UserError, match="precision bf16 is for Moirai 1"):
        load(tmp_path, precision="bf16")


def test_gaps_become_the_mean_of_what_went_before():
    nan = torch.nan
    context = torch.tensor([[nan, nan, 4.0, nan, nan, 10.0, nan], [1.0, 2.0, 3.0, nan, 5.0, nan, nan], [nan] * 7])
    # carried forward: 4 4 4 10; then the means of 4 · 4 4 · 4 4 4 10
    wanted = torch.tensor([[0, 0, 4, 4, 4, 10, 5.5], [1, 2, 3, 2, 5, 14 / 5, 19 / 6], [0.0] * 7])
    assert torch.allclose(filled_by_mean(context), wanted)
