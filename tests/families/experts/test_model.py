"""A mixture forecasts what a plain loop over its experts gives, and is a model like any other."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from usage_errors import usage_error

from potstill.families.base import in_safe_units
from potstill.families.ensemble import average_forecasts
from potstill.families.experts.fusion import common_scale
from potstill.families.experts.windows import ForecastWindows
from potstill.families.load import load, load_forecaster, saved_weights
from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective
from potstill.types import Request, Windows


def plain_loop(mixture, windows, horizon):
    """Every window by itself: each expert with a weight runs on it, and quantiles are averaged in arcsinh space."""
    weights = mixture.weights(windows)
    rows = []
    for row in range(len(windows)):
        one = windows.take(slice(row, row + 1))
        common = common_scale(one, mixture.levels)
        total = 0.0
        for number, member in enumerate(mixture.experts.values()):
            if weights[row, number] > 0:
                raw = member.predict(one.newest(member.max_context), horizon).at_levels(mixture.levels).quantiles
                total = (
                    total + weights[row, number] * ((raw - common.loc[:, :, None]) / common.scale[:, :, None]).asinh()
                )
        rows.append((total.sort(dim=1).values.sinh() * common.scale[:, :, None] + common.loc[:, :, None]).float())
    return torch.cat(rows)


@pytest.mark.parametrize("settings", [{"top_k": 1}, {"top_k": 2}, {"routing": "mass", "mass": 0.9, "top_k": 3},
                                      {"routing": "gumbel"}, {"gate": 0.7}])  # fmt: skip
def test_dispatch_equals_a_plain_loop(mix, experts, contexts, settings):
    rows = contexts[:40]
    mixture = mix(experts, **settings)
    windows = Windows.of_context(rows, 32)
    assert (mixture.weights(windows) > 0).any(dim=0).all()
    expected = plain_loop(mixture, windows, 32)
    spread = rows.nan_to_num(0.0).std(dim=1)[:, None, None].clamp(min=1)
    torch.testing.assert_close(mixture.predict(rows, 32).quantiles / spread, expected / spread, atol=1e-5, rtol=1e-6)


def test_only_the_chosen_experts_run_once_and_on_their_own_rows(mix, experts, contexts, monkeypatch):
    mixture = mix(experts, top_k=2)
    windows = Windows.of_context(contexts, 32)
    weights = mixture.weights(windows)
    seen = {}
    for name, member in experts.items():
        original = member.forward

        def noted(batch, request, name=name, original=original):
            seen.setdefault(name, []).append(batch.context)
            return original(batch, request)

        monkeypatch.setattr(member, "forward", noted)
    mixture.predict(contexts, 32)
    contexts = in_safe_units(windows)[0].context
    assert {name: len(calls) for name, calls in seen.items()} == dict.fromkeys(experts, 1)
    for number, name in enumerate(experts):
        torch.testing.assert_close(seen[name][0], contexts[weights[:, number] > 0], equal_nan=True)


def test_one_expert_alone_is_that_expert(mix, experts, contexts):
    member = experts["mixer"]
    mixture = mix({"mixer": member}, top_k=2)
    for horizon in (20, 32, 70):
        with pytest.warns(UserWarning, match="feeding") if horizon > 32 else nullcontext():
            assert torch.equal(
                mixture.predict(contexts, horizon).quantiles, member.predict(contexts, horizon).quantiles
            )


def test_equal_weights_are_the_mean(mix, experts, contexts):
    mixture = mix(experts, top_k=3)
    torch.nn.init.zeros_(mixture.router.network[-1].weight)
    rows = contexts[:75]
    mean = average_forecasts([member.predict(rows, 32) for member in experts.values()])
    torch.testing.assert_close(mixture.predict(rows, 32).in_scale_of(mean).values, mean.values, atol=1e-5, rtol=1e-5)


def test_a_forecast_does_not_depend_on_its_batch(mix, experts, contexts):
    mixture = mix(experts, top_k=2)
    together = mixture.predict(contexts[:40], 32).values
    apart = torch.cat([mixture.predict(row[None], 32).values for row in contexts[:40]])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_experts_with_other_levels_contexts_and_horizons(mix, make_expert, contexts):
    members = {
        "short": make_expert("linear", 1, context=32, horizon=8, levels=[0.1, 0.5, 0.9]),
        "long": make_expert("mixer", 2, context=128, horizon=48),
    }
    mixture = mix(members, top_k=2)
    assert (mixture.max_context, mixture.max_horizon, len(mixture.levels)) == (128, 48, 9)
    windows = Windows.of_context(contexts[:20], 48)
    expected = plain_loop(mixture, windows, 8)
    torch.testing.assert_close(mixture.predict(contexts[:20], 8).quantiles, expected, atol=1e-4, rtol=1e-5)
    assert mixture.predict(contexts, 48).quantiles.isfinite()[:75].all()  # the short one rolls out
    with pytest.warns(UserWarning, match="trained for horizons"):
        assert mixture.predict(contexts[:20], 60).values.shape == (20, 9, 60)


def test_stored_forecasts_are_fused_as_live_ones(mix, experts, contexts):
    mixture = mix(experts, top_k=2)
    windows = Windows.of_context(contexts[:40], 32)
    common = common_scale(windows, mixture.levels)
    stored = torch.stack(
        [
            member.predict(windows, 32).at_levels(mixture.levels).in_scale_of(common).values
            for member in experts.values()
        ],
        dim=1,
    )
    together = ForecastWindows(**vars(windows), experts=stored)
    for horizon in (32, 10):
        fused = mixture.predict(together.first_steps(horizon), horizon).values
        torch.testing.assert_close(fused, mixture.predict(windows, horizon).values, atol=1e-5, rtol=1e-5)


def test_autocast_does_not_round_weights_and_quantiles(mix, experts, contexts):
    mixture = mix(experts, top_k=2)
    windows = Windows.of_context(contexts[:40], 32)
    stored = torch.randn(40, 3, 9, 32).sort(dim=2).values
    together = ForecastWindows(**vars(windows), experts=stored)
    exact = mixture.forward(together, Request(32)).forecast
    with torch.autocast("cpu", torch.bfloat16):
        rounded = mixture.forward(together, Request(32)).forecast
    assert rounded.values.dtype == torch.float32
    assert torch.equal(rounded.values, exact.values)


def test_members_of_a_group_have_the_same_experts(mix, experts, contexts):
    mixture = mix(experts, top_k=2)
    windows = Windows.of_context(contexts[:6], 32)
    windows.group = torch.tensor([1, 0, 1, 0, 2, 1])
    weights = mixture.weights(windows)
    assert torch.equal(weights[0], weights[2])
    assert torch.equal(weights[0], weights[5])
    torch.testing.assert_close(weights[4:5], mixture.weights(Windows.of_context(contexts[4:5], 32)))
    with usage_error("model.no_groups", "groups"):
        mixture.predict(windows, 32)  # its experts cannot


def loss_of(mixture, batch, auxiliary=0.0):
    objective = Objective(ForecastObjective(alpha=0.0, auxiliary={"usage_mse": auxiliary, "balance": 0.0}))
    objective.bind(mixture.info, {})
    return objective(LossInputs(batch, mixture.forward(batch, Request(32))))[0]


def test_gradients_reach_router_and_experts_and_auxiliary_losses_change_them(mix, experts, contexts):
    mixture = mix(experts, top_k=2)
    mixture.module.train()
    batch = replace(Windows.of_context(contexts[:40], 32), future=torch.randn(40, 32))
    gradients = {}
    for auxiliary in (0.0, 10.0):
        mixture.module.zero_grad()
        torch.manual_seed(0)
        loss_of(mixture, batch, auxiliary).backward()
        gradients[auxiliary] = mixture.router.network[0].weight.grad.clone()
        assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in mixture.router.parameters())
        for member in experts.values():
            assert any(w.grad is not None and w.grad.abs().sum() > 0 for w in member.module.parameters())
    assert (gradients[0.0] - gradients[10.0]).abs().max() > 1e-4
    assert not mixture.forward(batch, Request(8)).forecast.values.isnan().all()


def test_a_saved_mixture_loads_bit_for_bit(mix, experts, contexts, tmp_path):
    mixture = mix(experts, top_k=2, spread=1.1, gate=0.5)
    mixture.calibrate_horizons = 3
    mixture.cards["linear"] = "# Card\n"
    mixture.save(tmp_path / "mixture")
    loaded = load_forecaster(tmp_path / "mixture")
    assert loaded.family == "mixture"
    assert loaded.fingerprint == mixture.fingerprint
    assert (loaded.spread, loaded.calibrate_horizons) == (1.1, 3)
    assert torch.equal(loaded.predict(contexts, 32).values, mixture.predict(contexts, 32).values)
    assert (tmp_path / "mixture" / "experts" / "linear" / "README.md").read_text() == "# Card\n"
    assert loaded.cards == {"linear": "# Card\n"}
    loaded.save(tmp_path / "mixture")  # over itself
    member = load(tmp_path / "mixture" / "experts" / "mixer")  # an expert by itself
    assert torch.equal(member.predict(contexts, 32).values, experts["mixer"].predict(contexts, 32).values)


def test_a_mixture_can_be_an_expert(mix, experts, contexts, tmp_path):
    inner = mix({name: experts[name] for name in ("linear", "mixer")}, top_k=1)
    outer = mix({"inner": inner, "transformer": experts["patch_transformer"]}, top_k=2)
    outer.save(tmp_path / "outer")
    loaded = load_forecaster(tmp_path / "outer")
    assert torch.equal(loaded.predict(contexts, 32).values, outer.predict(contexts, 32).values)
    assert loaded.parameters == outer.parameters
    assert loaded.active_parameters < loaded.parameters


def test_the_size_as_saved_counts_router_and_experts(mix, experts, tmp_path):
    mix({"inner": mix(experts), "linear": experts["linear"]}).save(tmp_path / "mixture")
    saved = saved_weights(load_forecaster(tmp_path / "mixture").source)
    assert sorted(saved) == sorted((tmp_path / "mixture").rglob("*.safetensors"))
    assert len(saved) == 6  # two routers, three experts of the inner mixture, one of the outer one


def test_missing_and_damaged_experts_are_one_sentence(mix, experts, tmp_path):
    mix(experts).save(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "missing")
    shutil.rmtree(tmp_path / "missing" / "experts" / "mixer")
    with usage_error("mixture.no_expert", "mixer"):
        load_forecaster(tmp_path / "missing")
    shutil.copytree(tmp_path / "whole", tmp_path / "damaged")
    weights = tmp_path / "damaged" / "experts" / "linear" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with usage_error("mixture.bad_expert", "linear"):
        load_forecaster(tmp_path / "damaged")
    shutil.copytree(tmp_path / "whole", tmp_path / "router")
    config = tmp_path / "router" / "config.json"
    config.write_text(config.read_text().replace('"hidden": 128', '"hidden": 64'))
    with usage_error("mixture.router_mismatch", "router"):
        load_forecaster(tmp_path / "router")
    config.write_text(config.read_text().replace('"top_k": 2', '"top_k": "two"'))
    with usage_error("mixture.bad_config", "top_k"):
        load_forecaster(tmp_path / "router")
    for names in ([], ["../linear"], [".."]):
        config.write_text(json.dumps({"model_type": "potstill_mixture", "experts": names, "router": {}}))
        with usage_error("mixture.bad_config", "config.json"):
            load_forecaster(tmp_path / "router")
    config.write_text('{"model_type": "potstill_mixture"}')
    with usage_error("mixture.bad_config", "config.json"):
        load_forecaster(tmp_path / "router")


def test_the_spread_scales_distances_from_the_median(mix, experts, contexts):
    narrow, wide = mix(experts, top_k=2), mix(experts, top_k=2)
    assert wide.scale_spread(2.0)
    a, b = narrow.predict(contexts[:40], 32).values, wide.predict(contexts[:40], 32).values
    torch.testing.assert_close(b - b[:, 4:5], 2 * (a - a[:, 4:5]), atol=1e-5, rtol=1e-5)
