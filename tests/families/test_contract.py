"""The contract of every family: outputs have the shapes that ``info`` states, unsupported requests are rejected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from usage_errors import usage_error

from potstill.families.base import Forecaster, Model
from potstill.families.load import load
from potstill.families.registry import FAMILY_CLASSES, family
from potstill.types import LAYER_SIGNALS, Request, Tokens, Windows

B, CONTEXT, HORIZON = 3, 64, 32
SIZES: dict[str, dict[str, Any]] = {
    "chronos2": {"num_layers": 2, "d_model": 32, "num_heads": 2, "d_kv": 16, "d_ff": 64},
    "moirai": {"d_model": 128, "num_layers": 2, "patch_sizes": 16},
    "patch_transformer": {"d_model": 32, "num_layers": 2, "num_heads": 2, "patch_size": 16},
    "mixer": {"d_model": 32, "num_layers": 2, "patch_size": 16},
    "linear": {},
}
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
#: layers, width and heads of the models that are built here, and tokens per window
FACTS = {
    "chronos2": (2, 32, 2, 4 + 1 + 2),
    "moirai": (2, 128, 2, 4 + 2),
    "patch_transformer": (2, 32, 2, 4),
    "mixer": (2, 32, 0, 4),
    "linear": (0, 0, 0, 0),
    "bolt": (0, 0, 0, 0),
    "gpt2": (2, 32, 2, 9),
    "llama": (2, 32, 4, 9),
}
SIGNALS = {
    "chronos2": {"forecast", "hidden", "attention", "qkv"},
    "moirai": {"forecast", "hidden", "attention", "qkv"},
    "patch_transformer": {"forecast", "hidden", "attention", "qkv"},
    "mixer": {"forecast", "hidden"},
    "linear": {"forecast"},
    "bolt": {"forecast"},
    "gpt2": {"logits", "hidden", "attention", "qkv"},
    "llama": {"logits", "hidden", "attention", "qkv"},
}

#: what each token of a window covers, in steps relative to the forecast origin
CONTEXT_SPANS = tuple((first, first + 16) for first in range(-64, 0, 16))
SPANS = {
    "chronos2": (*CONTEXT_SPANS, None, (0, 16), (16, 32)),
    "moirai": (*CONTEXT_SPANS, (0, 16), (16, 32)),
    "patch_transformer": CONTEXT_SPANS,
    "mixer": CONTEXT_SPANS,
}

Make = Callable[[str], Model]


@pytest.fixture
def make(tiny_bolt: Path, gpt2_folder: Path) -> Make:
    """A model of a family, in evaluation mode."""

    def made(name: str) -> Model:
        torch.manual_seed(1)
        if name in ("bolt", "gpt2"):
            model = load({"bolt": tiny_bolt, "gpt2": gpt2_folder}[name])
        elif name == "llama":
            chosen, teacher = family("language"), load(gpt2_folder)
            sizes = {"model_type": "llama", **LLAMA, "num_key_value_heads": 2}
            model = chosen.build(chosen.design(teacher, sizes, CONTEXT, 0), 0.0, teacher)
        else:
            if name == "moirai":
                pytest.importorskip("uni2ts", reason="uni2ts is installed by the Makefile")
            chosen = family(name)
            model = chosen.build(chosen.design(None, SIZES[name], CONTEXT, HORIZON), 0.0)
        model.module.eval()
        return model

    return made


@pytest.fixture(params=list(FACTS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def batch_of(model: Model) -> Any:
    """Three windows, the second one with 1.5 patches of padding; or three texts, the second one shorter."""
    generator = torch.Generator().manual_seed(2)
    if isinstance(model, Forecaster):
        context = torch.randn(B, CONTEXT, generator=generator).cumsum(1)
        context[1, :24] = torch.nan
        return Windows.of_context(context, HORIZON)
    there = torch.ones(B, 9, dtype=torch.bool)
    there[1, 6:] = False
    ids = torch.randint(0, 200, (B, 9), generator=generator)
    return Tokens(ids, there, there, torch.arange(B))


def values_of(output: Any) -> torch.Tensor:
    return output.forecast.values if hasattr(output.answer, "levels") else output.logits.states


def test_every_built_in_family_is_tested():
    models = {"gpt2": "language", "llama": "language"}
    # tests/families/experts: its parts depend on its experts; tests/verbs/test_export.py: it has no torch module
    others = {"mixture", "exported"}
    assert {models.get(name, name) for name in FACTS} == {*FAMILY_CLASSES} - others


def test_info_describes_the_model(make: Make, name: str):
    model = make(name)
    info = model.info
    assert (info.layers, info.width, info.heads) == FACTS[name][:3]
    assert info.signals == SIGNALS[name]
    assert info.group_signals == (SIGNALS[name] if name == "chronos2" else set())
    assert info.parameters == info.active_parameters == sum(p.numel() for p in model.module.parameters())
    assert model.bytes == 4 * info.parameters
    if isinstance(model, Forecaster):
        assert list(info.levels) == pytest.approx(model.levels.tolist())
        assert (info.max_context, info.max_horizon, info.vocabulary) == (CONTEXT, HORIZON, 0)
    else:
        assert (info.levels, info.max_horizon, info.vocabulary) == ((), 0, 300)


def test_requested_layers_are_returned_with_gradients(make: Make, name: str):
    model = make(name)
    layers, width, heads, tokens = FACTS[name]
    requested: dict[str, Any] = {signal: tuple(range(layers)) for signal in LAYER_SIGNALS if signal in SIGNALS[name]}
    horizon = HORIZON if isinstance(model, Forecaster) else 0
    batch = batch_of(model)
    output = model.forward(batch, Request(horizon, **requested))
    assert {i: tuple(x.shape) for i, x in output.hidden.items()} == dict.fromkeys(
        requested.get("hidden", ()), (B, tokens, width)
    )
    assert {i: tuple(x.shape) for i, x in output.attention.items()} == dict.fromkeys(
        requested.get("attention", ()), (B, heads, tokens, tokens)
    )
    assert set(output.qkv) == {*requested.get("qkv", ())}
    for layer in output.qkv.values():
        assert {x.shape for x in vars(layer).values()} == {(B, heads, tokens, model.info.head_width)}
    for weights in output.attention.values():
        torch.testing.assert_close(weights.sum(-1), torch.ones(B, heads, tokens))
    with torch.no_grad():
        plain = model.forward(batch, Request(horizon))
    torch.testing.assert_close(values_of(output), values_of(plain), atol=1e-5, rtol=1e-5)
    if not requested:
        assert output.token_mask is None
        return
    assert plain.token_mask is None
    assert plain.token_spans is None
    assert output.token_spans == SPANS.get(name)
    assert output.token_mask is not None
    assert output.token_mask.shape == (B, tokens)
    assert output.token_mask.dtype == torch.bool
    padded = [6, 7, 8] if not isinstance(model, Forecaster) else [0]
    assert (~output.token_mask).nonzero().tolist() == [[1, token] for token in padded]
    projections = {layer: torch.stack([*vars(qkv).values()]) for layer, qkv in output.qkv.items()}
    for signal in (output.hidden, output.attention, projections):
        for layer, tensor in signal.items():
            (gradient,) = torch.autograd.grad(
                tensor.square().sum(), _early_weight(model), retain_graph=True, allow_unused=True
            )
            assert gradient is not None, f"layer {layer}"
            assert gradient.abs().max() > 0, f"layer {layer}"


def _early_weight(model: Model) -> torch.Tensor:
    """A weight that every layer's state and map depends on."""
    return next(
        p for name, p in model.module.named_parameters() if "embed" in name or "in_proj" in name or "wte" in name
    )


def test_unsupported_requests_are_rejected(make: Make, name: str):
    model = make(name)
    horizon = HORIZON if isinstance(model, Forecaster) else 0
    for signal in LAYER_SIGNALS:
        if signal in SIGNALS[name]:
            with usage_error("model.no_such_layer", model.source.name, "2 layers"):
                model.forward(batch_of(model), replace(Request(horizon), **{signal: (0, 2)}))
        else:
            with usage_error("model.cannot_return", model.source.name, f"'{signal}'"):
                model.forward(batch_of(model), replace(Request(horizon), **{signal: (0,)}))


def test_groups_are_rejected_by_univariate_models(make: Make, name: str):
    model = make(name)
    if not isinstance(model, Forecaster) or model.info.group_signals:
        return
    windows = batch_of(model)
    assert isinstance(windows, Windows)
    windows.past_covariates = torch.randn(B, 1, CONTEXT)
    with usage_error("model.no_groups", model.source.name):
        model.forward(windows, Request(HORIZON))
    with usage_error("model.no_groups", model.source.name):
        model.predict(windows, HORIZON)


def test_predict_accepts_contexts_and_windows(make: Make, name: str):
    model = make(name)
    if not isinstance(model, Forecaster):
        return
    windows = batch_of(model)
    assert isinstance(windows, Windows)
    assert torch.equal(model.predict(windows, 20).quantiles, model.predict(windows.context, 20).quantiles)


@pytest.mark.parametrize("name", SIZES)
def test_the_horizons_of_calibration_are_saved(make: Make, name: str, tmp_path: Path):
    model = make(name)
    assert isinstance(model, Forecaster)
    assert model.calibrate_horizons == 0
    for horizons in (7, 0):
        model.calibrate_horizons = horizons
        model.save(tmp_path / "saved")
        again = load(tmp_path / "saved")
        assert again.calibrate_horizons == horizons
        assert again.fingerprint == model.fingerprint
