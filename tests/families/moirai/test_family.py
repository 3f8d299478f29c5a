"""Moirai compared with uni2ts's forward pass, sampler and predictor; loading and settings."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

pytest.importorskip("uni2ts", reason="uni2ts is installed by the Makefile")

from uni2ts.distribution import (
    LogNormalOutput,
    MixtureOutput,
    NegativeBinomialOutput,
    NormalFixedScaleOutput,
    StudentTOutput,
)
from uni2ts.model.moirai import MoiraiForecast, MoiraiModule
from usage_errors import usage_error

from potstill.families.base import ModelSource
from potstill.families.load import load
from potstill.families.moirai.encode import encode_univariate
from potstill.families.moirai.family import MoiraiFamily, MoiraiForecaster
from potstill.families.moirai.pack import pack
from potstill.types import Request, Windows

SIZES = {"d_model": 64, "num_layers": 2, "patch_sizes": 16}
CONTEXT, HORIZON = 90, 40  # neither is a multiple of any patch


@pytest.fixture
def upstream() -> MoiraiModule:
    """An untrained module of upstream's four components and three patch sizes, biased to differ between steps."""
    torch.manual_seed(1)
    parts = [StudentTOutput(), NormalFixedScaleOutput(), NegativeBinomialOutput(), LogNormalOutput()]
    module = MoiraiModule(MixtureOutput(parts), 64, 2, (8, 16, 32), 512, 0.0, 0.0)
    with torch.no_grad():
        for parameter in module.param_proj.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return module.eval()


@pytest.fixture
def teacher(upstream: MoiraiModule) -> MoiraiForecaster:
    forecaster = MoiraiForecaster(
        upstream, ModelSource("t", "t"), dict(cast("dict[str, Any]", upstream._hub_mixin_config))
    )
    forecaster.context_length, forecaster.max_horizon = CONTEXT, HORIZON
    forecaster.patch_size = 16
    forecaster.freeze()
    return forecaster


@pytest.fixture
def contexts() -> Tensor:
    """``[100, 90]``: gaps, left padding, constants, large means, no values."""
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(100, CONTEXT, generator=generator).cumsum(dim=1)
    rows[:20][torch.rand(20, CONTEXT, generator=generator) < 0.3] = torch.nan
    for row in range(20, 45):
        rows[row, : 3 * (row - 19)] = torch.nan
    rows[30:40, 80:85] = torch.nan
    rows[45:65] = 480 + 3 * rows[45:65] / rows[45:65].std(dim=1, keepdim=True)
    rows[65:75] *= 0.1
    rows[75:78] = torch.tensor([0.0, 1.0, -7.5])[:, None]
    rows[78] = torch.nan
    rows[79, :-1] = torch.nan
    return rows


def upstream_inputs(context: Tensor) -> dict[str, Tensor]:
    """Inputs of ``MoiraiForecast`` as GluonTS's transformations prepare them: NaN at the start is padding."""
    observed = ~context.isnan()
    padded = ~observed.int().cummax(dim=1).values.bool()
    return {
        "past_target": context.nan_to_num()[..., None],
        "past_observed_target": observed[..., None],
        "past_is_pad": padded,
    }


def upstream_forecast(module: MoiraiModule, patch: int | str, samples: int = 100) -> MoiraiForecast:
    return MoiraiForecast(HORIZON, 1, 0, 0, CONTEXT, module=module, patch_size=patch, num_samples=samples).eval()


def parameters_of(distribution: Any) -> dict[str, Tensor]:
    """Every parameter of a mixture by name, ``[…, tokens, patch]``."""
    names = ("df", "loc", "scale", "total_count", "logits")
    found = {f"weight {i}": w for i, w in enumerate(distribution.weights.logits.unbind(-1))}
    for index, part in enumerate(distribution.components):
        found |= {f"{index} {name}": getattr(part, name) for name in names if hasattr(part, name)}
    return found


@pytest.mark.parametrize("patch", [8, 16, 32])
@pytest.mark.parametrize("rows", [slice(None), slice(80, 100)], ids=["all", "without padding"])
def test_the_distribution_equals_upstreams(upstream: MoiraiModule, contexts: Tensor, patch: int, rows: slice):
    contexts = contexts[rows]
    forecast = upstream_forecast(upstream, patch)
    with torch.no_grad():
        wanted = forecast._get_distr(patch, **upstream_inputs(contexts))
        found = encode_univariate(upstream, pack(contexts, HORIZON, patch), patch)
    tokens = math.ceil(HORIZON / patch)
    assert torch.allclose(found.loc.float(), wanted.loc[:, -1], atol=1e-5, rtol=1e-6)
    assert torch.allclose(found.scale.float(), wanted.scale[:, -1], atol=1e-5, rtol=1e-6)
    reference = parameters_of(wanted.base_dist)
    for name, actual in parameters_of(found.distribution).items():
        expected = reference[name] if reference[name].ndim == 0 else reference[name][:, -tokens:, :patch]
        assert torch.allclose(actual, expected.expand_as(actual), atol=1e-5), name


def test_packed_tokens_equal_upstreams(upstream: MoiraiModule, contexts: Tensor):
    for patch in (8, 16, 32):
        reads = upstream_inputs(contexts)
        target, observed, sample, time, variate, prediction = upstream_forecast(upstream, patch)._convert(
            patch, **reads
        )
        tokens = pack(contexts, HORIZON, patch)
        assert torch.equal(tokens.target, target[..., :patch])
        assert torch.equal(tokens.observed, observed[..., :patch])
        assert torch.equal(tokens.sample_id, sample)
        assert torch.equal(tokens.time_id, time)
        assert torch.equal(tokens.variate_id, variate)
        assert torch.equal(tokens.future, prediction)


def test_a_shorter_context_is_a_padded_one(teacher: MoiraiForecaster, contexts: Tensor):
    short = contexts[50:60, -33:]
    padded = torch.nn.functional.pad(short, (CONTEXT - 33, 0), value=torch.nan)
    assert torch.allclose(teacher.predict(short, 8).quantiles, teacher.predict(padded, 8).quantiles, atol=1e-4)


def test_a_window_does_not_depend_on_the_others(teacher: MoiraiForecaster, contexts: Tensor):
    together, alone = teacher.predict(contexts, HORIZON), teacher.predict(contexts[7:8], HORIZON)
    assert torch.allclose(together.values[7], alone.values[0], atol=1e-4)
    assert together.values.isfinite().all()


def test_upstreams_samples_are_within_the_dkw_band(teacher: MoiraiForecaster, contexts: Tensor):
    """Dvoretzky–Kiefer–Wolfowitz: 2,000 samples deviate from F by more than ε with probability 2·exp(-2·2000·ε²)."""
    rows = torch.cat([contexts[:4], contexts[22:24], contexts[50:52], contexts[66:68]])
    assert len(rows) == 10
    torch.manual_seed(0)
    samples = upstream_forecast(teacher.module, 16, samples=2000)(**upstream_inputs(rows)).double()
    forecast = teacher.predict(rows, HORIZON)
    band = math.sqrt(math.log(2 / (1e-3 / (10 * HORIZON))) / (2 * 2000))
    # the step at a whole number of scales is exact only up to the rounding of float32
    slack = 1e-5 * forecast.scale[:, :, None]
    quantiles = forecast.values.double().sinh() * forecast.scale[:, :, None] + forecast.loc[:, :, None]
    at_most = (samples[:, :, None] <= (quantiles + slack)[:, None]).double().mean(1)
    less = (samples[:, :, None] < (quantiles - slack)[:, None]).double().mean(1)
    levels = teacher.levels.double()[None, :, None]
    assert (at_most >= levels - band).all()
    assert (less <= levels + band).all()


def test_auto_chooses_the_patch_size_that_upstream_chooses(teacher: MoiraiForecaster, contexts: Tensor):
    rows = contexts[torch.tensor([*range(30), *range(45, 75)])]
    history = torch.cat([rows.flip(1)[:, -HORIZON:], rows], dim=1)
    reads = upstream_inputs(history)
    forecast = upstream_forecast(teacher.module, "auto")
    names = {"past_target": "target", "past_observed_target": "observed_target", "past_is_pad": "is_pad"}
    with torch.no_grad():
        inputs = {names[key]: value for key, value in reads.items()}
        wanted = torch.stack([forecast._val_loss(patch_size=p, **inputs) for p in (8, 16, 32)])
    found = torch.stack([teacher._loss(history, HORIZON, p) for p in (8, 16, 32)])
    assert torch.allclose(found, wanted, atol=1e-4)
    teacher.patch_size = "auto"
    assert teacher.max_context == CONTEXT + HORIZON
    chosen = wanted.argmin(0)
    assert len(chosen.unique()) > 1, "the test needs windows that differ"
    values = teacher.predict(history, HORIZON).values
    for index in chosen.unique().tolist():
        teacher.patch_size = (8, 16, 32)[index]
        own = teacher.predict(history[chosen == index], HORIZON).values
        assert torch.allclose(values[chosen == index], own, atol=1e-5)


def test_choosing_a_patch_does_not_change_the_random_state(teacher: MoiraiForecaster, contexts: Tensor):
    teacher.patch_size = "auto"
    torch.manual_seed(4)
    wanted = torch.rand(1)
    torch.manual_seed(4)
    teacher.predict(contexts, HORIZON)
    assert torch.equal(torch.rand(1), wanted)


def test_a_frozen_teacher_is_deterministic_without_gradients(teacher: MoiraiForecaster, contexts: Tensor):
    assert not teacher.module.training
    assert not any(p.requires_grad for p in teacher.module.parameters())
    first, second = (
        teacher.forward(Windows.of_context(contexts, HORIZON), Request(HORIZON)).forecast.values for _ in range(2)
    )
    assert torch.equal(first, second)
    assert not first.requires_grad


def test_hidden_states_of_the_requested_layers(teacher: MoiraiForecaster, contexts: Tensor):
    """A context of 90 fills six patches of 16 from the end, a horizon of 40 three."""
    output = teacher.forward(Windows.of_context(contexts, HORIZON), Request(HORIZON, hidden=(1,)))
    assert {layer: tuple(state.shape) for layer, state in output.hidden.items()} == {1: (100, 6 + 3, 64)}
    assert output.token_spans == tuple((first, first + 16) for first in range(-96, 48, 16))
    teacher.patch_size = "auto"
    with usage_error("model.cannot_return", "auto"):
        teacher.forward(Windows.of_context(contexts, HORIZON), Request(HORIZON, hidden=(1,)))


def test_levels_can_be_changed(teacher: MoiraiForecaster, contexts: Tensor):
    nine = teacher.predict(contexts, HORIZON)
    teacher.levels = torch.tensor([0.01, 0.5, 0.99])
    three = teacher.predict(contexts, HORIZON)
    assert torch.allclose(three.values[:, 1], nine.values[:, 4], atol=1e-6)
    assert (three.values[:, 0] <= nine.values[:, 0]).all()


def test_upstreams_checkpoint_loads(upstream: MoiraiModule, tmp_path: Path, contexts: Tensor, capsys: Any):
    upstream.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded, MoiraiForecaster)
    assert capsys.readouterr().out == ""
    assert (loaded.family, loaded.patch_size, loaded.max_context, loaded.max_horizon) == ("moirai", 32, 720, 96)
    assert loaded.levels.tolist() == pytest.approx([0.1 * k for k in range(1, 10)])
    assert loaded.predict(contexts, 200).values.isfinite().all(), "upstream's models forecast any horizon in one pass"


def test_lengths_and_patch_size_are_read_from_the_config(upstream: MoiraiModule, tmp_path: Path):
    upstream.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def with_settings(**values: Any) -> MoiraiForecaster:
        (tmp_path / "config.json").write_text(json.dumps({**config, "potstill": values}))
        loaded = load(tmp_path)
        assert isinstance(loaded, MoiraiForecaster)
        return loaded

    assert with_settings(patch_size="auto").max_context == 720 + 96
    assert with_settings(patch_size=8, context_length=64).max_context == 64
    for wrong, key, fact in (
        ({"patch_size": 7}, "model.bad_setting", "patch_size 7"),
        ({"context_length": "long"}, "model.bad_config", "context_length='long'"),
    ):
        with usage_error(key, fact):
            with_settings(**wrong)


def test_settings_follow_the_name(upstream: MoiraiModule, tmp_path: Path):
    upstream.save_pretrained(tmp_path)
    usual, other = load(tmp_path), load(f"{tmp_path}:patch_size=16,context_length=256")
    assert isinstance(other, MoiraiForecaster)
    assert (other.patch_size, other.max_context) == (16, 256)
    assert load(f"{tmp_path}:patch_size=auto,context_length=256").max_context == 256 + 96
    assert usual.fingerprint != other.fingerprint  # labels of one must not be used for the other


@pytest.mark.parametrize(
    ("settings", "key", "fact"),
    [
        ("patch_size=7", "model.bad_setting", "patch_size 7"),
        ("context_length=0", "model.bad_setting", "context_length=0"),
        ("levels=3", "model.unknown_setting", "'levels'"),
    ],
)
def test_wrong_settings_are_usage_errors(upstream: MoiraiModule, tmp_path: Path, settings: str, key: str, fact: str):
    upstream.save_pretrained(tmp_path)
    with usage_error(key, fact):
        load(f"{tmp_path}:{settings}")


@pytest.mark.parametrize(
    "target",
    [
        {"_target_": "uni2ts.distribution.mixture.torch.load", "f": "x"},
        {"_target_": "os.system", "command": "true"},
        {"_target_": "uni2ts.distribution.mixture.MixtureOutput", "components": [[{"_target_": "os.getcwd"}]]},
        {"_target_": "uni2ts.distribution.normal.NormalFixedScaleOutput", "scale": {"_target_": "os.getcwd"}},
        {"_target_": "uni2ts.distribution.mixture.MixtureOutput", "_args_": []},
    ],
)
def test_a_config_that_names_other_code_is_rejected(upstream: MoiraiModule, tmp_path: Path, target: dict[str, Any]):
    upstream.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "distr_output": target}))
    with usage_error("model.unsafe_config", str(tmp_path), "config.json"):
        load(tmp_path)


def test_missing_weights_are_named(upstream: MoiraiModule, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    upstream.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    with usage_error("model.weights_mismatch", str(tmp_path), "encoder.norm.weight"):
        load(tmp_path)


def test_salesforces_weights_have_their_licence(upstream: MoiraiModule, tmp_path: Path):
    upstream.save_pretrained(tmp_path)
    known = MoiraiFamily().load(str(tmp_path), ModelSource("m", "Salesforce/moirai-1.1-R-small"))
    stated = MoiraiFamily().load(str(tmp_path), ModelSource("m", "Salesforce/moirai-1.1-R-small", licence="mit"))
    other = MoiraiFamily().load(str(tmp_path), ModelSource("m", "somebody/else"))
    assert [f.source.licence for f in (known, stated, other)] == ["cc-by-nc-4.0", "mit", None]


def test_attention_dropout_is_off_in_evaluation(contexts: Tensor):
    torch.manual_seed(0)
    module = MoiraiModule(MixtureOutput([StudentTOutput()]), 64, 1, (16,), 512, 0.5, 0.5).eval()
    noisy = MoiraiForecaster(module, ModelSource("n", "n"), {})
    first, second = (noisy.predict(contexts, HORIZON).values for _ in range(2))
    assert torch.equal(first, second)


def test_bf16_weights_are_close_to_fp32(upstream: MoiraiModule, tmp_path: Path, contexts: Tensor):
    upstream.save_pretrained(tmp_path)
    whole, half = load(tmp_path), load(tmp_path, precision="bf16")
    difference = (whole.predict(contexts, 8).values - half.predict(contexts, 8).values).abs()
    assert 0 < difference.median() < 0.05


def test_without_uni2ts_the_message_gives_the_commands(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "uni2ts.model.moirai", None)
    with usage_error("model.missing_package", 'pip install "potstill[moirai]"', "pip install --no-deps uni2ts"):
        MoiraiFamily().design(None, {}, 64, 32)


def test_looking_up_the_family_does_not_import_uni2ts():
    code = (
        "import sys; from potstill.families.registry import family; assert not family('moirai').recognises({});"
        "assert 'uni2ts' not in sys.modules and 'lightning' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_queries_keys_and_values_are_those_that_upstream_attends_with(
    teacher: MoiraiForecaster, contexts: Tensor, monkeypatch: pytest.MonkeyPatch
):
    """Upstream's are turned by rotary positions; ours are turned here by upstream's module."""
    output = teacher.forward(Windows.of_context(contexts, HORIZON), Request(HORIZON, qkv=(0, 1)))
    seen, attend = [], torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *x, **k: seen.append(x) or attend(*x, **k)
    )
    packed = pack(contexts, HORIZON, 16)
    upstream_pass(teacher, packed)
    for layer, (query, key, value) in enumerate(seen):  # [B, heads, 1, T, width]
        attention, found = teacher.module.encoder.layers[layer].self_attn, output.qkv[layer]
        place = packed.time_id[:, None, None]
        turned = attention.time_qk_proj(found.query[:, :, None], found.key[:, :, None], place, place)
        for ours, theirs in zip((*turned, found.value[:, :, None]), (query, key, value), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert len(seen) == 2


def upstream_pass(teacher: MoiraiForecaster, packed: Any) -> None:
    """Upstream's own pass over packed windows with patches of 16."""
    pad = (0, 32 - 16)
    teacher.module(
        torch.nn.functional.pad(packed.target, pad), torch.nn.functional.pad(packed.observed, pad), packed.sample_id,
        packed.time_id, packed.variate_id, packed.future, torch.full_like(packed.time_id, 16),
    )  # fmt: skip


@pytest.mark.parametrize("padded", [True, False])
def test_maps_equal_those_that_upstream_applies(teacher: MoiraiForecaster, contexts: Tensor, padded: bool):
    """uni2ts does not return its maps, so upstream's attention output is compared with the maps times its values."""
    rows = contexts if padded else contexts[50:75]
    windows = Windows.of_context(rows, HORIZON)
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    for index, layer in enumerate(teacher.module.encoder.layers):
        layer.self_attn.register_forward_hook(
            lambda module, args, kwargs, out, i=index: seen.update({i: (args[2], out)}), with_kwargs=True
        )
    fused = teacher.forward(windows, Request(HORIZON, hidden=(0, 1)))
    output = teacher.forward(windows, Request(HORIZON, hidden=(0, 1), attention=(0, 1)))
    for layer in (0, 1):
        torch.testing.assert_close(output.hidden[layer], fused.hidden[layer], atol=1e-5, rtol=1e-5)
    upstream_pass(teacher, pack(rows, HORIZON, 16))
    for index, (value, reference) in seen.items():
        attention = teacher.module.encoder.layers[index].self_attn
        heads = attention.v_proj(value).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
        actual = attention.out_proj((output.attention[index] @ heads).transpose(1, 2).flatten(2))
        torch.testing.assert_close(actual, reference, atol=1e-5, rtol=1e-4)
    assert set(seen) == {0, 1}
    assert output.token_mask is not None
    assert bool(output.token_mask.all()) is not padded
