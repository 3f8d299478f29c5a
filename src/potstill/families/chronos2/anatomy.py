"""What the weights of a Chronos-2 mean, for cutting it to a smaller one.

Shapes: B windows, C context, H horizon, R rows, N output patches, P steps per patch, Q levels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from potstill.families.chronos2.rows import rows_of
from potstill.transfer.anatomy import Anatomy, Axis, Chosen, Fixed, Reads, Units, Writes
from potstill.types import Windows

#: what must be equal for weights to mean the same in teacher and student, in ``config`` and in ``chronos_config``
CONFIG_KEYS = ("d_kv", "dense_act_fn", "rope_theta", "layer_norm_epsilon")
CHRONOS_KEYS = (
    "input_patch_size",
    "output_patch_size",
    "input_patch_stride",
    "quantiles",
    "use_reg_token",
    "use_arcsinh",
    "time_encoding_scale",
)
DRIVER_SHARE = 1.5  # size of a covariate's effect, relative to the window's own series
SIZES = ("num_layers", "d_model", "d_ff", "num_heads")


def anatomy(module: Any) -> Anatomy:
    """Describe a ``Chronos2Model``.

    The stream begins as the patches' embeddings and the register token. Each block reads it through three norms: in
    attention along time, in attention within the group, and in the feed-forward network.
    """
    final, hidden = "encoder.final_layer_norm", module.config.d_ff
    axes: dict[str, tuple[Axis, ...]] = {
        "shared.weight": (Fixed(), Writes()),
        **_embedding("input_patch_embedding", reads=Fixed(), writes=Writes()),
        **_embedding("output_patch_embedding", reads=Reads(final), writes=Fixed()),
    }
    units = {
        name: Units("neurons", hidden, f"{name}.output_layer")
        for name in ("input_patch_embedding", "output_patch_embedding")
    }
    norms = [final]
    for block in range(len(module.encoder.block)):
        time, group, feedforward = (f"encoder.block.{block}.layer.{layer}" for layer in range(3))
        norms += [f"{layer}.layer_norm" for layer in (time, group, feedforward)]
        for layer in (time, group):
            heads = Chosen(layer, width=module.config.d_kv)
            for name in "qkv":
                axes[f"{layer}.self_attention.{name}.weight"] = (heads, Reads(f"{layer}.layer_norm"))
            axes[f"{layer}.self_attention.o.weight"] = (Writes(), heads)
            units[layer] = Units("heads", module.config.num_heads, f"{layer}.self_attention.o")
        neurons = Chosen(feedforward)
        axes[f"{feedforward}.mlp.wi.weight"] = (neurons, Reads(f"{feedforward}.layer_norm"))
        axes[f"{feedforward}.mlp.wo.weight"] = (Writes(), neurons)
        units[feedforward] = Units("neurons", hidden, f"{feedforward}.mlp.wo")

    def run(windows: Windows) -> Tensor:
        alone = outputs(module, windows)
        return torch.cat([alone, outputs(module, driven(windows))]) if windows.stands_alone else alone

    return Anatomy(module.config.d_model, "encoder.block", tuple(norms), axes, units, run)


def outputs(module: Any, windows: Windows) -> Tensor:
    """``[R, N, Q · P]``: quantiles in normalised space by upstream's own pass, in which every module is called."""
    chronos = module.chronos_config
    horizon = min(windows.future.shape[1], chronos.max_output_patches * chronos.output_patch_size)
    patches = -(-horizon // chronos.output_patch_size)
    rows = rows_of(windows.newest(chronos.context_length), horizon)
    encoded, *_ = module.encode(
        context=rows.context, group_ids=rows.group, future_covariates=rows.future, num_output_patches=patches
    )
    return module.output_patch_embedding(encoded.last_hidden_state[:, -patches:])


def driven(windows: Windows) -> Windows:
    """The windows made to depend on a covariate that is known ahead: the series of the window before.

    Alone, windows do not exercise attention within groups: its queries and keys cancel out, and the parts of the stream
    that they read look unused. A cut that is calibrated on these windows as well keeps the use of covariates.
    """
    whole = torch.cat([windows.context, windows.future], dim=1)
    centred = whole - whole.nanmean(dim=1, keepdim=True)
    scale = centred.square().nanmean(dim=1, keepdim=True).sqrt()
    series = torch.where(scale > 0, centred / scale, centred)
    driver = series.roll(1, dims=0)
    length = windows.context.shape[1]
    mixed = series + DRIVER_SHARE * torch.nan_to_num(driver)
    return Windows.of_context(mixed[:, :length], windows.future.shape[1], future_covariates=driver[:, None])


def obstacle(student: Any, teacher: Any) -> str | None:
    """Why a student with this config cannot have the teacher's weights; None if it can.

    Both are ``Chronos2CoreConfig``.
    """
    for key in CONFIG_KEYS:
        if getattr(student, key) != getattr(teacher, key):
            return f"{key}={getattr(student, key)!r} differs from the teacher's {getattr(teacher, key)!r}"
    for key in CHRONOS_KEYS:
        own, its = (_chronos(config).get(key) for config in (student, teacher))
        if own != its:
            return f"{key}={own!r} differs from the teacher's {its!r}"
    for key in SIZES:
        if getattr(student, key) > getattr(teacher, key):
            return f"{key}={getattr(student, key)} is larger than the teacher's {getattr(teacher, key)}"
    return None


def _chronos(config: Any) -> dict[str, Any]:
    chronos = config.chronos_config
    return {"time_encoding_scale": chronos["context_length"], "use_reg_token": False, "use_arcsinh": False, **chronos}


def _embedding(name: str, reads: Axis, writes: Axis) -> dict[str, tuple[Axis, ...]]:
    """The weights of upstream's ``ResidualBlock``: one hidden layer, and a linear map around it."""
    neurons = Chosen(name)
    return {
        f"{name}.hidden_layer.weight": (neurons, reads),
        f"{name}.hidden_layer.bias": (neurons,),
        f"{name}.output_layer.weight": (writes, neurons),
        f"{name}.output_layer.bias": (writes,),
        f"{name}.residual_layer.weight": (writes, reads),
        f"{name}.residual_layer.bias": (writes,),
    }
