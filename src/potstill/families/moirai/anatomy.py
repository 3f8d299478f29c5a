"""What the weights of a Moirai 1 mean, for cutting it to a smaller one.

Shapes: B windows, H horizon, Q levels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from potstill.families.moirai.design import MoiraiArchitecture
from potstill.families.moirai.encode import future_distribution
from potstill.families.moirai.mixture_distribution import mixture_of
from potstill.families.moirai.model import DEFAULT_LEVELS
from potstill.families.moirai.pack import pack
from potstill.families.moirai.quantiles import mixture_quantiles
from potstill.transfer.anatomy import Anatomy, Axis, Chosen, Fixed, Reads, Units, Writes
from potstill.types import Windows

COMPONENTS = "components"  # the mixture's list of distributions, in the names of weights


def anatomy(module: Any) -> Anatomy:
    """Describe a ``MoiraiModule`` with one patch size.

    Its norms are RMS norms. The norms of queries and keys act within a head, so they stay as they are, and so do the
    rotary positions; each head has its own bias for keys of the same and of other variates.
    """
    fixed = Fixed()
    axes: dict[str, tuple[Axis, ...]] = {
        "mask_encoding.weight": (fixed, Writes()),
        "in_proj.weight": (fixed, Writes(), fixed),
        "in_proj.bias": (fixed, Writes()),
    }
    for name, weight in module.param_proj.named_parameters():
        axes[f"param_proj.{name}"] = (fixed, fixed, Reads("encoder.norm"))[: weight.ndim]
    norms, units = ["encoder.norm"], {}
    for number, layer in enumerate(module.encoder.layers):
        at = f"encoder.layers.{number}"
        attention, feedforward, norm1, norm2 = f"{at}.self_attn", f"{at}.ffn", f"{at}.norm1", f"{at}.norm2"
        norms += [norm1, norm2]
        units[attention] = Units("heads", layer.self_attn.num_heads, f"{attention}.out_proj")
        units[feedforward] = Units("neurons", layer.ffn.hidden_dim, f"{feedforward}.fc2")
        heads, neurons = Chosen(attention, layer.self_attn.head_dim), Chosen(feedforward)
        for name in ("q_proj", "k_proj", "v_proj"):
            axes[f"{attention}.{name}.weight"] = (heads, Reads(norm1))
        for name in ("q_norm", "k_norm"):
            axes[f"{attention}.{name}.weight"] = (fixed,)
        axes[f"{attention}.out_proj.weight"] = (Writes(), heads)
        axes[f"{attention}.var_attn_bias.emb.weight"] = (fixed, Chosen(attention))
        for name in ("fc1", "fc_gate"):
            axes[f"{feedforward}.{name}.weight"] = (neurons, Reads(norm2))
        axes[f"{feedforward}.fc2.weight"] = (Writes(), neurons)

    def run(windows: Windows) -> Tensor:
        return outputs(module, windows)

    return Anatomy(module.d_model, "encoder.layers", tuple(norms), axes, units, run)


def outputs(module: Any, windows: Windows) -> Tensor:
    """``[B, Q, H]``: quantiles as arcsinh in the module's own scale; upstream's encoder calls every module."""
    (patch,) = module.patch_sizes
    horizon = windows.future.shape[1]
    tokens = pack(windows.context, horizon, patch)
    rows, levels = len(windows), torch.tensor(DEFAULT_LEVELS, dtype=torch.float64, device=windows.context.device)
    mixture = mixture_of(future_distribution(module, tokens), lambda x: x.reshape(rows, -1)[:, :horizon])
    return mixture_quantiles(mixture, levels).view(len(levels), rows, horizon).transpose(0, 1).asinh()


@torch.no_grad()
def with_one_patch(teacher: Any, architecture: MoiraiArchitecture) -> nn.Module:
    """A copy of a ``MoiraiModule`` with the one patch size and the distributions that a student has.

    Upstream masks some weights of a module with several patch sizes (see ``encode.py``); in the copy they are 0.
    """
    sizes = {"d_model": teacher.d_model, "num_layers": teacher.num_layers, "max_seq_len": teacher.max_seq_len}
    copy = replace(architecture, **sizes).module(0.0)
    index, largest = list(teacher.patch_sizes).index(architecture.patch), max(teacher.patch_sizes)
    kept = _same_components(teacher, copy)
    weights = dict(teacher.named_parameters())
    masks = dict(teacher.named_buffers())
    for name, own in copy.named_parameters():
        value = weights[_source(name, kept)].detach().float()
        if name.startswith("in_proj."):
            value = value[index : index + 1]
            value = value[..., : architecture.patch] if value.ndim == 3 else value
        elif name.startswith("param_proj."):
            if value.ndim == 3:
                value = value * masks[f"{_source(name, kept).rpartition('.')[0]}.mask"]
            value = value[index].unflatten(0, (-1, largest))[:, : architecture.patch]
            if "weights_logits" in name:
                value = value[kept]
            value = value.flatten(0, 1)[None]
        own.copy_(value)
    return copy.to(next(teacher.parameters()).device).eval()


def obstacle(student: MoiraiArchitecture, teacher: Any) -> str | None:
    """Why a student of these sizes cannot have the weights of a ``MoiraiModule``; None if it can."""
    if student.patch not in teacher.patch_sizes:
        sizes = ", ".join(map(str, teacher.patch_sizes))
        return f"patch_sizes={student.patch} is not one of the teacher's ({sizes})"
    if not teacher.scaling:
        return "the teacher does not standardise its contexts"
    for key, width in (("d_model", teacher.d_model), ("num_layers", teacher.num_layers)):
        if getattr(student, key) > width:
            return f"{key}={getattr(student, key)} is larger than the teacher's {width}"
    own, its = (d // (d // 64) for d in (student.d_model, teacher.d_model))
    if own != its:
        return f"its heads are {own} wide, the teacher's {its}"
    with torch.device("meta"):
        module = student.module(0.0)
    if None in _same_components(teacher, module):
        return "the teacher's mixture lacks one of the student's distributions"
    return None


def _same_components(teacher: Any, student: Any) -> list[Any]:
    """For each distribution in the student's mixture, its place in the teacher's; None if it is not there."""
    kinds = [type(component) for component in getattr(teacher.distr_output, COMPONENTS, [])]
    own = [type(component) for component in student.distr_output.components]
    return [kinds.index(kind) if kind in kinds else None for kind in own]


def _source(name: str, kept: list[Any]) -> str:
    """The teacher's name of a student's weight: distributions may have other places in the teacher's mixture."""
    parts = name.split(".")
    if COMPONENTS in parts:
        place = parts.index(COMPONENTS) + 1
        parts[place] = str(kept[int(parts[place])])
    return ".".join(parts)
