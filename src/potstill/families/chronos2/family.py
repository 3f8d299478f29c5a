"""Chronos-2 (Amazon, arXiv:2510.15821) through chronos-forecasting's own classes.

Windows without groups take the cheaper ``encode_univariate``, in memory linear in the batch; groups and covariates
take upstream's own. Weights, names and files stay upstream's.

Shapes: B windows, C context, N output patches, P steps per patch, Q levels.
"""

from __future__ import annotations

import bisect
import copy
from pathlib import Path
from typing import Any, ClassVar

import torch
from chronos.chronos2 import Chronos2Model, Chronos2Pipeline
from chronos.chronos2.config import Chronos2CoreConfig
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.families.base import Architecture, Family, Forecaster, Source
from potstill.families.chronos2.encode import encode_univariate
from potstill.types import Forecast, Output, Windows

SIZE_KEYS = ("num_layers", "d_model", "d_ff", "num_heads", "d_kv")
SMALLEST_HEAD = 16
ALONE = {"num_layers": 2, "d_model": 128}  # 0.8 M parameters, where there is no teacher to take a tenth of
MOST_LAYERS, MOST_PARAMETERS = 128, 10**10  # beyond them, the mere counting takes minutes


class Chronos2Forecaster(Forecaster):
    """A Chronos-2 model of any size; see :class:`Forecaster`."""

    family = "chronos2"
    module: Any  # a Chronos2Model; as such, each of its submodules would need a cast

    def __init__(self, module: Chronos2Model, source: Source):
        self.module = module
        self.source = source
        chronos = module.chronos_config
        self.levels = torch.tensor(chronos.quantiles, dtype=torch.float32)
        self.horizon_multiple = chronos.output_patch_size
        self.max_context = chronos.context_length
        longest = chronos.max_output_patches * self.horizon_multiple
        self.max_horizon = min(longest, getattr(module.config, "prediction_length", longest))

    def forward(
        self, windows: Windows, horizon: int, hidden: tuple[int, ...] = (), attention: tuple[int, ...] = ()
    ) -> Output:
        """Quantiles in instance-normalised arcsinh space; ``hidden[i]`` is the stream after block ``i``."""
        patches = -(-horizon // self.horizon_multiple)
        context = windows.context[:, -self.max_context :]
        if windows.group is None:
            loc, scale = instance_scale(context, self.module.instance_norm.eps)
            stream, states, maps = encode_univariate(self.module, context, patches, hidden, attention)
        else:
            stream, loc, scale = self._upstream(windows, patches)
            states, maps = {}, {}
        values = self.module.output_patch_embedding(stream).float()
        rows, levels = len(values), len(self.levels)
        values = values.view(rows, patches, levels, self.horizon_multiple).transpose(1, 2).reshape(rows, levels, -1)
        arcsinh = self.module.chronos_config.use_arcsinh
        forecast = Forecast(self.levels.to(values.device), values[..., :horizon], loc, scale, arcsinh)
        return Output(forecast, hidden=states, attention=maps)

    def _upstream(self, windows: Windows, patches: int) -> tuple[Tensor, Tensor, Tensor]:
        encoded, (loc, scale), _, _ = self.module.encode(
            context=windows.context,
            group_ids=windows.group,
            future_covariates=windows.future_covariates,
            num_output_patches=patches,
        )
        return encoded[0][:, -patches:], loc.double(), scale.double()

    def roll_out(self, context: Tensor, prediction_length: int) -> Forecast:
        """Upstream's long-horizon unrolling, which carries several quantile paths so that intervals keep growing."""
        pipeline = Chronos2Pipeline(self.module)
        rows = [row[None] for row in context.cpu()]
        parts = pipeline.predict(rows, prediction_length=prediction_length, limit_prediction_length=False)
        quantiles = torch.cat([torch.as_tensor(part) for part in parts]).double()
        loc, scale = instance_scale(context.cpu(), self.module.instance_norm.eps)
        values = (quantiles - loc[:, :, None]) / scale[:, :, None]
        return Forecast(self.levels, values.float(), loc, scale)

    def save(self, folder: Path) -> None:
        """Upstream's layout: config.json and model.safetensors."""
        self.module.save_pretrained(folder)


def instance_scale(context: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each context as upstream's InstanceNorm takes them, ``[B, 1]`` float64."""
    x = context.float()
    loc = torch.nan_to_num(x.nanmean(dim=-1, keepdim=True), nan=0.0)
    scale = torch.nan_to_num((x - loc).square().nanmean(dim=-1, keepdim=True).sqrt(), nan=1.0)
    return loc.double(), torch.where(scale == 0, eps, scale).double()


class Chronos2Family(Family):
    """Loads, shapes and builds Chronos-2 models."""

    name = "chronos2"
    presets: ClassVar = {"3x384": {"num_layers": 3, "d_model": 384, "d_ff": 1536, "num_heads": 6, "d_kv": 64}}

    def recognises(self, config: dict[str, Any]) -> bool:
        """By the architecture name, or by Chronos-2's own part of the config."""
        chronos = config.get("chronos_config")
        named = config.get("architectures")
        return named == ["Chronos2Model"] or (
            not named and isinstance(chronos, dict) and "input_patch_stride" in chronos
        )

    def load(self, folder: str, source: Source, **hub_options: Any) -> Chronos2Forecaster:
        """Through ``Chronos2Model.from_pretrained``; safetensors only."""
        loaded: Any = Chronos2Model.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **hub_options
        )
        module, found = loaded
        # transformers would go on with random numbers in the place of either
        for what, names in (
            ("lacks", sorted(found["missing_keys"])),
            ("has other shapes than its config.json says for", sorted(key[0] for key in found["mismatched_keys"])),
        ):
            if names:
                raise UserError(
                    f"{folder}: the checkpoint {what} {len(names)} of the model's weights, for example {names[0]};"
                    " fetch or make it again."
                )
        return Chronos2Forecaster(module, source)

    def design(self, teacher: Forecaster | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """Sizes as overridden; omitted ones follow (d_kv 64, d_ff 4 · d_model, heads d_model / d_kv).

        With no size at all, the width and depth whose parameter count comes nearest below a tenth of the teacher's;
        without a teacher 2 layers of width 128.

        Raises
        ------
        UserError
            For a key Chronos-2 does not have, or a value it cannot be built with.
        """
        base = _config_of(teacher)
        sizes = {key: overrides[key] for key in SIZE_KEYS if key in overrides}
        rest = {key: value for key, value in overrides.items() if key not in SIZE_KEYS}
        settings = {**base, **base["chronos_config"]}
        unknown = [key for key in rest if key not in settings]
        if unknown:
            known = ", ".join([*SIZE_KEYS, *sorted(base["chronos_config"])])
            raise UserError(f"--student: {unknown[0]!r} is no setting of Chronos-2; known: {known}.")
        for key, value in rest.items():
            _check_kind(key, value, settings[key])
            (base["chronos_config"] if key in base["chronos_config"] else base)[key] = value
        _fit_lengths(base, context, horizon, fresh=teacher is None)
        if teacher is None:
            sizes = {**ALONE, **sizes}
        config = _sized(base, sizes) if teacher is None or sizes else _tenth(base, teacher.parameters // 10)
        return Architecture(self.name, config, _count(config))

    def build(self, architecture: Architecture, dropout: float) -> Chronos2Forecaster:
        """Fresh weights by upstream's rule, which transformers 5 skips: see :func:`initialise`."""
        config = copy.deepcopy(architecture.config)
        config.dropout_rate = dropout
        module = Chronos2Model(config)
        initialise(module)
        return Chronos2Forecaster(module, Source("student", "built here"))

    def start_from(self, student: Forecaster, teacher: Forecaster) -> list[str]:
        """Embeddings, heads and evenly spaced layers, where shapes agree."""
        from potstill.transfer.layers import copy_layers

        return copy_layers(student.module, teacher.module, blocks="encoder.block")


def initialise(model: Chronos2Model) -> None:
    """Apply upstream's initialisation rule to every weight.

    Under transformers 5 the generic rule runs on the leaves first and marks their weights as done, so that
    Chronos-2's own rule for the modules above them is skipped and every matrix gets std ``initializer_factor``.
    Taking the marks off and walking once more, leaves first, gives what chronos2/model.py says.
    """

    def again(module: nn.Module) -> None:
        for parameter in module.parameters():
            vars(parameter).pop("_is_hf_initialized", None)
        model._init_weights(module)

    with torch.no_grad():
        model.apply(again)


def _config_of(teacher: Forecaster | None) -> dict[str, Any]:
    if isinstance(teacher, Chronos2Forecaster):
        config = teacher.module.config.to_dict()
        for key in ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path"):
            config.pop(key, None)
        return copy.deepcopy(config)
    chronos = {
        "context_length": 2048,
        "output_patch_size": 16,
        "input_patch_size": 16,
        "input_patch_stride": 16,
        "quantiles": [0.01, 0.05, *[round(0.1 * k, 1) for k in range(1, 10)], 0.95, 0.99],
        "use_reg_token": True,
        "use_arcsinh": True,
        "max_output_patches": 64,
        "time_encoding_scale": 2048,
    }
    return {**Chronos2CoreConfig().to_dict(), "initializer_factor": 1.0, "chronos_config": chronos}


def _fit_lengths(base: dict[str, Any], context: int, horizon: int, fresh: bool) -> None:
    """A student is built for the lengths it trains on; of a teacher's it keeps the scale of its time encoding.

    ``prediction_length`` is ours, upstream passes over it: a horizon that is no whole number of patches leaves the end
    of the last one untrained.
    """
    chronos = base["chronos_config"]
    chronos["context_length"] = context
    chronos["max_output_patches"] = -(-horizon // chronos["output_patch_size"])
    if fresh:
        chronos["time_encoding_scale"] = context
    base["prediction_length"] = horizon


def _sized(base: dict[str, Any], sizes: dict[str, Any]) -> Chronos2CoreConfig:
    for key, value in sizes.items():
        if type(value) is not int or value < 1:
            raise UserError(f"--student: {key}={value!r}; expected a whole number of at least 1.")
    config = dict(base)
    if "d_model" in sizes:
        width = sizes["d_model"]
        d_kv = sizes.get("d_kv", 64 if width >= 64 else max(SMALLEST_HEAD, width // 2))
        heads = sizes.get("num_heads", max(1, width // d_kv))
        config.update(d_ff=4 * width, d_kv=d_kv, num_heads=heads)
    config.update(sizes)
    if config["d_kv"] % 2:
        raise UserError(f"--student: d_kv={config['d_kv']} is odd; rotary position embeddings need an even d_kv.")
    return Chronos2CoreConfig(**config)


def _tenth(base: dict[str, Any], budget: int) -> Chronos2CoreConfig:
    """The largest shape within the budget: up to half the teacher's depth, widths in steps of 32."""
    candidates = []
    depth = base["num_layers"]
    for layers in range(2, max(3, depth // 2 + 1)):
        shapes = [
            _sized(base, {"num_layers": layers, "d_model": width}) for width in range(32, base["d_model"] + 1, 32)
        ]
        fitting = bisect.bisect_right(shapes, budget, key=_count)
        if fitting:
            candidates.append((_count(shapes[fitting - 1]), -layers, shapes[fitting - 1]))
    if not candidates:
        raise UserError(
            f"--student: no Chronos-2 fits a tenth of this teacher ({budget:,} parameters); give sizes, for example"
            " num_layers=2,d_model=32."
        )
    return max(candidates, key=lambda c: c[:2])[2]


def _check_kind(key: str, value: Any, own: Any) -> None:
    alike = isinstance(value, (int, float)) if isinstance(own, float) else isinstance(value, type(own))
    if not alike or (isinstance(value, bool) and not isinstance(own, bool)):
        raise UserError(f"--student: {key}={value!r}; expected a value like {own!r}.")


def _count(config: Chronos2CoreConfig) -> int:
    """Parameters, counted on a model without memory."""
    if config.num_layers > MOST_LAYERS:
        raise UserError(f"--student: num_layers={config.num_layers:,}; a student has at most {MOST_LAYERS} layers.")
    try:
        with torch.device("meta"):
            module = Chronos2Model(copy.deepcopy(config))
    except (AssertionError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"--student: Chronos-2 cannot be built with these settings ({error}); change them.") from None
    count = sum(p.numel() for p in module.parameters())
    if count > MOST_PARAMETERS:
        raise UserError(f"--student: {count:,} parameters; a student has at most {MOST_PARAMETERS:,}.")
    return count
