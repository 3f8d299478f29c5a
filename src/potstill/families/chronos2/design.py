"""The sizes of a Chronos-2 student: what the user chooses, what follows from it or from the teacher, and the checks."""

from __future__ import annotations

import bisect
import copy
from typing import Any

import torch
from chronos.chronos2.config import Chronos2CoreConfig

from potstill.errors import UserError
from potstill.families.base import Model, check_levels
from potstill.families.chronos2.experts import KEYS
from potstill.families.chronos2.model import SPREAD_KEY, Chronos2Forecaster
from potstill.families.chronos2.sparse import build_module

SIZE_KEYS = ("num_layers", "d_model", "d_ff", "num_heads", "d_kv")
#: keys of a teacher's config that say nothing about a student
OF_A_CHECKPOINT = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path")
MIN_HEAD_WIDTH = 16
DEFAULT_SIZES = {"num_layers": 2, "d_model": 128}  # 0.8 M parameters, used without a Chronos-2 teacher
DEFAULT_SHARE = 1 / 3  # of the teacher's parameters, if no size is given
MAX_LAYERS, MAX_PARAMETERS = 128, 10**10  # above these, counting the parameters alone takes minutes


def dense_config_of(teacher: Model | None, overrides: dict[str, Any], context: int, horizon: int) -> Chronos2CoreConfig:
    """The config of a student without experts; see ``Chronos2Family.design``.

    Raises
    ------
    UserError
        For a key that Chronos-2 does not have, or a value that it cannot be built with.
    """
    base = _config_of(teacher)
    sizes = {key: overrides[key] for key in SIZE_KEYS if key in overrides}
    rest = {key: value for key, value in overrides.items() if key not in SIZE_KEYS}
    settings = {**base, **base["chronos_config"]}
    unknown = [key for key in rest if key not in settings]
    if unknown:
        known = ", ".join([*SIZE_KEYS, *KEYS, *sorted(base["chronos_config"])])
        raise UserError(
            f"--student: {unknown[0]!r} is not a setting of Chronos-2; known: {known}.",
            key="student.unknown_setting",
        )
    for key, value in rest.items():
        _check_setting(key, value, settings[key])
        (base["chronos_config"] if key in base["chronos_config"] else base)[key] = value
    _fit_lengths(base, context, horizon, fresh=teacher is None)
    if not isinstance(teacher, Chronos2Forecaster):
        return _sized(base, {**DEFAULT_SIZES, **sizes})
    return _sized(base, {"d_kv": base["d_kv"], **sizes}) if sizes else _narrowed(base, teacher)


def _config_of(teacher: Model | None) -> dict[str, Any]:
    if isinstance(teacher, Chronos2Forecaster):
        config = teacher.module.config.to_dict()
        for key in (*OF_A_CHECKPOINT, SPREAD_KEY, *KEYS):
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
    fitting = bisect.bisect_right(shapes, budget, key=count_parameters)
    if not fitting:
        raise UserError(
            f"--student: no width fits a third of this teacher's parameters ({budget:,}); give sizes, for example"
            f" num_layers=1,d_model={base['d_model'] // 2}.",
            key="student.no_size_fits",
        )
    return shapes[fitting - 1]


def _check_setting(key: str, value: Any, default: Any) -> None:
    if key == "quantiles":
        check_levels(key, value, "--student")
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    same_type = number if isinstance(default, float) else isinstance(value, type(default))
    if not same_type or (isinstance(value, bool) and not isinstance(default, bool)):
        raise UserError(f"--student: {key}={value!r}; expected a value like {default!r}.", key="student.bad_value")
    if number and default > 0 >= value:
        raise UserError(f"--student: {key}={value!r}; expected a number above 0.", key="student.bad_value")


def count_parameters(config: Chronos2CoreConfig) -> int:
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
