"""The Chronos-2 family: load a checkpoint, and design, build and initialise a student."""

from __future__ import annotations

import bisect
import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from chronos.chronos2 import Chronos2Model
from chronos.chronos2.config import Chronos2CoreConfig
from torch import nn

from potstill.errors import UserError
from potstill.families.base import Architecture, Family, Model, ModelSource
from potstill.families.chronos2.anatomy import anatomy, obstacle
from potstill.families.chronos2.experts import KEYS, ExpertSettings
from potstill.families.chronos2.model import SPREAD_KEY, Chronos2Forecaster, active_parameters
from potstill.families.chronos2.sparse import build_module, dense_config, fill_from_dense, module_class
from potstill.transfer.anatomy import Anatomy
from potstill.transfer.layers import copy_layers

SIZE_KEYS = ("num_layers", "d_model", "d_ff", "num_heads", "d_kv")
#: keys of a teacher's config that say nothing about a student
OF_A_CHECKPOINT = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path")
MIN_HEAD_WIDTH = 16
DEFAULT_SIZES = {"num_layers": 2, "d_model": 128}  # 0.8 M parameters, used without a Chronos-2 teacher
DEFAULT_SHARE = 1 / 3  # of the teacher's parameters, if no size is given
MAX_LAYERS, MAX_PARAMETERS = 128, 10**10  # above these, counting the parameters alone takes minutes


class Chronos2Family(Family[Chronos2Forecaster]):
    """Loads, designs and builds Chronos-2 models."""

    name = "chronos2"
    library = "chronos-forecasting"
    bf16 = True  # twice as fast, and labels move by 0.005 of the context's scale
    gkd = True
    presets: ClassVar = {"3x384": {"num_layers": 3, "d_model": 384, "d_ff": 1536, "num_heads": 6, "d_kv": 64}}

    def recognises(self, config: dict[str, Any]) -> bool:
        """Recognised by the architecture name, or by keys that only Chronos-2's config has."""
        chronos = config.get("chronos_config")
        named = config.get("architectures")
        return named in (["Chronos2Model"], ["SparseChronos2Model"]) or (
            not named and isinstance(chronos, dict) and "input_patch_stride" in chronos
        )

    def load(self, folder: str, source: ModelSource, **hub_options: Any) -> Chronos2Forecaster:
        """Load with ``Chronos2Model.from_pretrained``, from safetensors only.

        Raises
        ------
        UserError
            If weights are missing from the checkpoint or their shapes differ from its config.json.
        """
        kind = module_class(Chronos2CoreConfig.from_pretrained(folder, revision=hub_options.get("revision")))
        loaded: Any = kind.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **hub_options
        )
        module, report = loaded
        # transformers would use random weights in both cases
        for what, names in (
            ("lacks", sorted(report["missing_keys"])),
            ("has other shapes than its config.json for", sorted(key[0] for key in report["mismatched_keys"])),
        ):
            if names:
                raise UserError(
                    f"{folder}: the checkpoint {what} {len(names)} of the model's weights, for example {names[0]};"
                    " download or create it again.",
                    key="model.weights_mismatch",
                )
        return Chronos2Forecaster(module, source)

    def design(self, teacher: Model | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """Derive the config from the overrides; omitted sizes follow (d_ff 4 · d_model, heads d_model / d_kv).

        An omitted d_kv is that of a Chronos-2 teacher, else 64. Without any size, the student is the teacher made
        narrower to ``DEFAULT_SHARE`` of its parameters. Without a Chronos-2 teacher it has 2 layers of width 128.
        ``experts`` and the other keys of :class:`ExpertSettings` give it sparse layers; it is sized without them.

        Raises
        ------
        UserError
            For a key that Chronos-2 does not have, or a value that it cannot be built with.
        """
        base = _config_of(teacher)
        sizes = {key: overrides[key] for key in SIZE_KEYS if key in overrides}
        sparse = {key: overrides[key] for key in KEYS if key in overrides}
        rest = {key: value for key, value in overrides.items() if key not in (*SIZE_KEYS, *KEYS)}
        settings = {**base, **base["chronos_config"]}
        unknown = [key for key in rest if key not in settings]
        if unknown:
            known = ", ".join([*SIZE_KEYS, *KEYS, *sorted(base["chronos_config"])])
            raise UserError(
                f"--student: {unknown[0]!r} is not a setting of Chronos-2; known: {known}.",
                key="student.unknown_setting",
            )
        for key, value in rest.items():
            _check_type(key, value, settings[key])
            (base["chronos_config"] if key in base["chronos_config"] else base)[key] = value
        _fit_lengths(base, context, horizon, fresh=teacher is None)
        if not isinstance(teacher, Chronos2Forecaster):
            config = _sized(base, {**DEFAULT_SIZES, **sizes})
        elif sizes:
            config = _sized(base, {"d_kv": base["d_kv"], **sizes})
        else:
            config = _narrowed(base, teacher)
        return self._sparse(config, sparse) if sparse else Architecture(self.name, config, _count(config))

    def build(self, architecture: Architecture, dropout: float, teacher: Model | None = None) -> Chronos2Forecaster:
        """Build with fresh weights by upstream's rule, which transformers 5 skips: see :func:`initialise`."""
        config = copy.deepcopy(architecture.config)
        config.dropout_rate = dropout
        module = build_module(config)
        initialise(module)
        return Chronos2Forecaster(module, ModelSource("student", "built here"))

    def copy_from(self, student: Chronos2Forecaster, teacher: Model) -> list[str]:
        """Copy embeddings, heads and evenly spaced layers whose shapes match; a dense teacher's into each expert."""
        if teacher.auxiliary:
            return copy_layers(student.module, teacher.module, blocks="encoder.block")
        with self.dense(student) as module:
            return copy_layers(module, teacher.module, blocks="encoder.block")

    @contextmanager
    def dense(self, student: Chronos2Forecaster) -> Iterator[nn.Module]:
        """The student's module; of a sparse student a dense one with fresh weights, see :func:`fill_from_dense`."""
        if not student.auxiliary:
            yield student.module
            return
        module = Chronos2Model(dense_config(student.module.config)).to(student.device)
        initialise(module)
        yield module
        fill_from_dense(student.module, module)

    def grown(self, student: Chronos2Forecaster, experts: Mapping[str, Any]) -> Architecture:
        """The student's sizes with sparse layers."""
        if student.auxiliary:
            raise UserError(
                f"{student.source.name}: has sparse layers already; name a student without them.",
                key="grow.already_sparse",
            )
        settings = zip(KEYS, (experts.get(key) for key in ("experts", "top_k", "layers", "insert")), strict=True)
        config = copy.deepcopy(student.module.config)
        if hasattr(config, SPREAD_KEY):
            delattr(config, SPREAD_KEY)  # the weights contain the factor; the grown model is calibrated again
        return self._sparse(config, dict(settings))

    def _sparse(self, config: Chronos2CoreConfig, values: dict[str, Any]) -> Architecture:
        """A dense config with the experts that the values by key of the config ask for."""
        settings = ExpertSettings.checked(values, config.num_layers)
        config = copy.deepcopy(config)
        config.update(settings.as_keys())
        total, kind = _count(config), f"{self.name} with {settings}"
        with torch.device("meta"):
            active = active_parameters(build_module(config))
        return Architecture(self.name, config, total, kind, active, library="potstill")

    def obstacle(self, architecture: Architecture, teacher: Model) -> str | None:
        """None if the teacher is a Chronos-2 with the same patches, levels and head width, and no smaller size."""
        if not isinstance(teacher, Chronos2Forecaster):
            return f"the teacher is not a Chronos-2 ({teacher.family})"
        if teacher.auxiliary:
            return "the teacher has sparse layers, which cannot be cut"
        return obstacle(architecture.config, teacher.module.config)

    def anatomy(self, module: Any) -> Anatomy:
        """See :func:`potstill.families.chronos2.anatomy.anatomy`."""
        return anatomy(module)


def initialise(model: Chronos2Model) -> None:
    """Apply upstream's initialisation rule to every weight.

    transformers 5 applies its generic rule to the leaf modules first and marks their weights as initialised. The rule
    of Chronos-2 for the modules above them is then skipped, and every matrix gets std ``initializer_factor``. This
    function removes the marks and applies the rule again, leaf modules first, as upstream's chronos2/model.py does.
    """

    def initialise_again(module: nn.Module) -> None:
        for parameter in module.parameters():
            vars(parameter).pop("_is_hf_initialized", None)
        model._init_weights(module)

    with torch.no_grad():
        model.apply(initialise_again)


def _config_of(teacher: Model | None) -> dict[str, Any]:
    if isinstance(teacher, Chronos2Forecaster):
        config = teacher.module.config.to_dict()
        for key in (
            "architectures",
            "dtype",
            "torch_dtype",
            "transformers_version",
            "_name_or_path",
            SPREAD_KEY,
            *KEYS,
        ):
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
    """Set the lengths that the student trains on; the scale of the time encoding stays the teacher's.

    ``prediction_length`` is a key of Potstill that upstream ignores. It is needed if the horizon is not a whole number
    of patches, because the end of the last patch is then untrained.
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
            raise UserError(
                f"--student: {key}={value!r}; expected a whole number of at least 1.", key="student.bad_value"
            )
    config = dict(base)
    if "d_model" in sizes:
        width = sizes["d_model"]
        d_kv = sizes.get("d_kv", 64 if width >= 64 else max(MIN_HEAD_WIDTH, width // 2))
        heads = sizes.get("num_heads", max(1, width // d_kv))
        config.update(d_ff=4 * width, d_kv=d_kv, num_heads=heads)
    config.update(sizes)
    if config["d_kv"] % 2:
        raise UserError(
            f"--student: d_kv={config['d_kv']} is odd; rotary position embeddings need an even d_kv.",
            key="student.bad_value",
        )
    return Chronos2CoreConfig(**config)


def _narrowed(base: dict[str, Any], teacher: Model) -> Chronos2CoreConfig:
    """The teacher with a narrower stream and feed-forward networks, the widest within ``DEFAULT_SHARE``.

    Depth and heads stay, because leaving them out costs more accuracy for the same number of parameters
    (docs/decisions/0016).
    """
    budget = int(DEFAULT_SHARE * teacher.parameters)

    def config(width: int) -> Chronos2CoreConfig:
        neurons = 8 * max(1, round(base["d_ff"] * width / base["d_model"] / 8))
        return Chronos2CoreConfig(**{**base, "d_model": width, "d_ff": min(neurons, base["d_ff"])})

    shapes = [config(width) for width in range(8, base["d_model"], 8)]
    fitting = bisect.bisect_right(shapes, budget, key=_count)
    if not fitting:
        raise UserError(
            f"--student: no width fits a third of this teacher's parameters ({budget:,}); give sizes, for example"
            f" num_layers=1,d_model={base['d_model'] // 2}.",
            key="student.no_size_fits",
        )
    return shapes[fitting - 1]


def _check_type(key: str, value: Any, default: Any) -> None:
    same_type = isinstance(value, (int, float)) if isinstance(default, float) else isinstance(value, type(default))
    if not same_type or (isinstance(value, bool) and not isinstance(default, bool)):
        raise UserError(f"--student: {key}={value!r}; expected a value like {default!r}.", key="student.bad_value")


def _count(config: Chronos2CoreConfig) -> int:
    """Number of parameters, counted on the meta device, which allocates no memory."""
    if config.num_layers > MAX_LAYERS:
        raise UserError(
            f"--student: num_layers={config.num_layers:,}; a student has at most {MAX_LAYERS} layers.",
            key="student.too_large",
        )
    try:
        with torch.device("meta"):
            module = build_module(config)
    except (AssertionError, KeyError, TypeError, ValueError, RuntimeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"--student: Chronos-2 cannot be built with these settings ({first}); change them.",
            key="student.cannot_be_built",
        ) from None
    count = sum(p.numel() for p in module.parameters())
    if count > MAX_PARAMETERS:
        raise UserError(
            f"--student: {count:,} parameters; a student has at most {MAX_PARAMETERS:,}.", key="student.too_large"
        )
    return count
