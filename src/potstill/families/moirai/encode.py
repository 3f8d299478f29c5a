"""One pass of a ``MoiraiModule`` where every window stands alone: upstream's modules and weights, walked more cheaply.

What differs from upstream's ``forward`` changes no number by more than rounding (tests hold the distribution to 1e-5):
only the patch size in use is projected; the attention's bias between variates is the same for every key of one series
and so drops out; rotary angles are computed once; and past the last layer's keys and values only the future's tokens
are needed.

Shapes: B windows, P steps per patch, T tokens, N tokens of the future, A heads, D d_model, W rotated half of a head.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from potstill.families.attention import attend
from potstill.families.norm import rms_norm


def encode_univariate(
    module: Any, tokens: Any, patch: int, hidden: Iterable[int] = ()
) -> tuple[Any, Tensor, Tensor, dict[int, Tensor]]:
    """Run the module over packed windows, see ``moirai_pack.Tokens``.

    Returns
    -------
    tuple
        The distribution of the future in the module's own scale (parameters ``[B, N, P]``), ``loc`` and ``scale``
        ``[B, 1]`` of the affine transform, and the stream ``[B, T, D]`` after each layer asked for.
    """
    index = list(module.patch_sizes).index(patch)
    known = tokens.observed & ~tokens.future[..., None]
    loc, scale = module.scaler(tokens.target, known, tokens.sample_id, tokens.variate_id)
    entry = module.in_proj
    stream = nn.functional.linear((tokens.target - loc) / scale, entry.weight[index, :, :patch], entry.bias[index])
    stream = torch.where(tokens.future[..., None], module.mask_encoding.weight.to(stream.dtype), stream)
    stream = stream.to(next(module.encoder.parameters()).dtype)
    stream, states = _encode(module.encoder, stream, tokens, set(hidden))
    with torch.autocast(stream.device.type, enabled=False):  # 8 bits of mantissa are too few for a distribution
        distribution = _head(module, stream.float(), index, patch)
    return distribution, loc[:, -1].double(), scale[:, -1].double(), states


def _encode(encoder: Any, stream: Tensor, tokens: Any, hidden: set[int]) -> tuple[Tensor, dict[int, Tensor]]:
    """The normalised stream of the future ``[B, N, D]`` and the streams asked for."""
    count, last = int(tokens.future[0].sum()), len(encoder.layers) - 1
    mask = tokens.sample_id[:, None, :, None] == tokens.sample_id[:, None, None]
    mask = None if bool(tokens.sample_id.all()) else mask  # without padding every token sees every other
    theta = encoder.layers[0].self_attn.time_qk_proj.query_proj.theta
    angles = (tokens.time_id[:, None, :, None] * theta.float()).repeat_interleave(2, dim=-1)  # [B, 1, T, W]
    turn = (angles.cos().to(stream.dtype), angles.sin().to(stream.dtype))
    states = {}
    for number, layer in enumerate(encoder.layers):
        kept = count if number == last and last not in hidden else stream.shape[1]
        stream = _layer(layer, stream, mask, turn, kept)
        if number in hidden:
            states[number] = stream
    return _norm(encoder.norm, stream[:, -count:]), states


def _layer(layer: Any, stream: Tensor, mask: Tensor | None, turn: tuple[Tensor, Tensor], kept: int) -> Tensor:
    """One block; its output holds the last ``kept`` tokens."""
    attention = layer.self_attn
    normed = _norm(layer.norm1, stream)

    def heads(projection: Any, x: Tensor) -> Tensor:
        return projection(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)

    query = _norm(attention.q_norm, heads(attention.q_proj, normed[:, -kept:]))
    key = _norm(attention.k_norm, heads(attention.k_proj, normed))
    cosine, sine = turn
    query = _rotate(query, cosine[:, :, -kept:], sine[:, :, -kept:])
    attended = attend(
        query,
        _rotate(key, cosine, sine),
        heads(attention.v_proj, normed),
        None if mask is None else mask[:, :, -kept:],
        scale=attention.softmax_scale,
    )
    stream = stream[:, -kept:] + layer.dropout(attention.out_proj(attended.transpose(1, 2).flatten(2)))
    return stream + layer.ffn(_norm(layer.norm2, stream))


def _norm(norm: Any, x: Tensor) -> Tensor:
    return rms_norm(x, norm.weight, norm.eps)


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Upstream's rotary positions: neighbouring pairs of the head's first half are turned, the second half is not."""
    turned, still = x[..., : cosine.shape[-1]], x[..., cosine.shape[-1] :]
    pairs = turned.unflatten(-1, (-1, 2))
    across = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)
    return torch.cat([turned * cosine + across * sine, still], dim=-1)


def _head(module: Any, stream: Tensor, index: int, patch: int) -> Any:
    """Upstream's projection to a distribution, for one patch size.

    Upstream lays each parameter out as (dimension, largest patch) but masks as if it were (dimension, patch): the
    weights of all but the first of several dimensions are then masked away, and their bias alone counts.
    """
    largest = max(module.patch_sizes)

    def project(layer: Any) -> Tensor:
        rows = torch.arange(layer.dim * largest, device=stream.device).view(layer.dim, largest)[:, :patch].flatten()
        weight = (layer.weight[index] * layer.mask[index])[rows]
        return nn.functional.linear(stream, weight, layer.bias[index, rows]).unflatten(-1, (layer.dim, patch)).mT

    def bounded(projections: Any, domain: Any) -> Any:
        if isinstance(projections, nn.ModuleDict):
            return {name: bounded(inner, domain[name]) for name, inner in projections.items()}
        if isinstance(projections, nn.ModuleList):
            return [bounded(*pair) for pair in zip(projections, domain, strict=True)]
        return domain(project(projections))

    head = module.param_proj
    return module.distr_output._distribution(bounded(head.proj, head.domain_map), validate_args=False)
