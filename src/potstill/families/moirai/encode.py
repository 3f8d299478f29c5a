"""The forward pass of a ``MoiraiModule`` on separate windows: upstream's modules and weights, at a lower cost.

The differences from upstream's ``forward`` change the results only by rounding (tests check the distribution to 1e-5):
only the patch size in use is projected; the attention's bias between variates is left out, because it is the same for
every key of one series and cancels in the softmax; rotary angles are computed once; after the last layer's keys and
values only the tokens of the future are computed.

Shapes: B windows, P steps per patch, T tokens, N tokens of the future, A heads, D d_model, W width of the
rotated half of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from potstill.families.blocks import through
from potstill.families.norm import rms_norm
from potstill.families.recorder import Recorder
from potstill.types import Request


@dataclass
class Encoded:
    """What the encoder returns.

    Attributes
    ----------
    distribution
        Distribution of the future, in the module's own scale (parameters ``[B, N, P]``).
    loc, scale
        ``[B, 1]`` float64: the affine transform from that scale to input units.
    recorded
        The streams ``[B, T, D]`` after the requested layers, and what was requested of their attention.
    """

    distribution: Any
    loc: Tensor
    scale: Tensor
    recorded: Recorder


def encode_univariate(module: Any, tokens: Any, patch: int, request: Request | None = None) -> Encoded:
    """Run the module over packed windows, see ``pack.Tokens``, and record the layers of ``request``."""
    index = list(module.patch_sizes).index(patch)
    known = tokens.observed & ~tokens.future[..., None]
    loc, scale = module.scaler(tokens.target, known, tokens.sample_id, tokens.variate_id)
    entry = module.in_proj
    stream = nn.functional.linear((tokens.target - loc) / scale, entry.weight[index, :, :patch], entry.bias[index])
    stream = torch.where(tokens.future[..., None], module.mask_encoding.weight.to(stream.dtype), stream)
    stream = stream.to(next(module.encoder.parameters()).dtype)
    recorder = Recorder(request)
    mask = tokens.sample_id[:, None, :, None] == tokens.sample_id[:, None, None]
    mask = None if bool(tokens.sample_id.all()) else mask  # without padding every token attends to every other
    stream = encode_stream(module.encoder, stream, tokens.time_id, mask, int(tokens.future[0].sum()), recorder)
    # the 8-bit mantissa of bf16 is too short for a distribution
    with torch.autocast(stream.device.type, enabled=False):
        distribution = _head(module, stream.float(), index, patch)
    return Encoded(distribution, loc[:, -1].double(), scale[:, -1].double(), recorder)


def future_distribution(module: Any, tokens: Any) -> Any:
    """The distribution of the future of a module with one patch size, computed by upstream's own encoder.

    Slower than :func:`encode_univariate`; every norm and every matrix of the encoder is called as a module, so that
    hooks see what it reads.
    """
    (patch,) = module.patch_sizes
    known = tokens.observed & ~tokens.future[..., None]
    loc, scale = module.scaler(tokens.target, known, tokens.sample_id, tokens.variate_id)
    stream = module.in_proj((tokens.target - loc) / scale, torch.full_like(tokens.time_id, patch))
    stream = torch.where(tokens.future[..., None], module.mask_encoding.weight, stream)
    visible = tokens.sample_id[:, :, None] == tokens.sample_id[:, None]
    stream = module.encoder(stream, visible, time_id=tokens.time_id, var_id=tokens.variate_id)
    return _head(module, stream[:, -int(tokens.future[0].sum()) :], 0, patch)


def encode_stream(
    encoder: Any, stream: Tensor, time_id: Tensor, mask: Tensor | None, count: int, recorder: Recorder
) -> Tensor:
    """The stream of the future, the last ``count`` tokens ``[B, N, D]``, after the final norm.

    Parameters
    ----------
    stream, time_id
        ``[B, T, D]`` embedded tokens, and their positions ``[B, T]``.
    mask
        True, or an additive 0, where a token attends to another: ``[B, 1, T, T]``; None: everywhere.
    """
    last = len(encoder.layers) - 1
    theta = encoder.layers[0].self_attn.time_qk_proj.query_proj.theta
    angles = (time_id[:, None, :, None] * theta.float()).repeat_interleave(2, dim=-1)  # [B, 1, T, W]
    turn = (angles.cos().to(stream.dtype), angles.sin().to(stream.dtype))
    for index, layer in enumerate(encoder.layers):
        whole = index != last or recorder.needs_all_tokens(index)
        kept = stream.shape[1] if whole else count
        stream = through(layer, _layer, stream, mask, turn, kept, recorder, index)
        recorder.record_state(index, stream)
    return _norm(encoder.norm, stream[:, -count:])


def _layer(
    layer: Any,
    stream: Tensor,
    mask: Tensor | None,
    turn: tuple[Tensor, Tensor],
    kept: int,
    recorder: Recorder,
    index: int,
) -> Tensor:
    """One block: the stream of the last ``kept`` tokens."""
    attention = layer.self_attn
    normed = _norm(layer.norm1, stream)

    def heads(projection: Any, x: Tensor) -> Tensor:
        return projection(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)

    queries = stream.shape[1] if recorder.needs_qkv(index) else kept
    query = _norm(attention.q_norm, heads(attention.q_proj, normed[:, -queries:]))
    key = _norm(attention.k_norm, heads(attention.k_proj, normed))
    value = heads(attention.v_proj, normed)
    recorder.record_qkv(index, query, key, value)
    cosine, sine = turn
    query = _rotate(query[:, :, -kept:], cosine[:, :, -kept:], sine[:, :, -kept:])
    key = _rotate(key, cosine, sine)
    visible = None if mask is None else mask[:, :, -kept:]
    attended = recorder.attend(index, query, key, value, visible, scale=attention.softmax_scale)
    stream = stream[:, -kept:] + layer.dropout(attention.out_proj(attended.transpose(1, 2).flatten(2)))
    return stream + layer.ffn(_norm(layer.norm2, stream))


def _norm(norm: Any, x: Tensor) -> Tensor:
    return rms_norm(x, norm.weight, norm.eps)


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Upstream's rotary positions: adjacent pairs in the head's first half are rotated, the second half is not."""
    turned, unchanged = x[..., : cosine.shape[-1]], x[..., cosine.shape[-1] :]
    pairs = turned.unflatten(-1, (-1, 2))
    across = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)
    return torch.cat([turned * cosine + across * sine, unchanged], dim=-1)


def _head(module: Any, stream: Tensor, index: int, patch: int) -> Any:
    """Upstream's projection to a distribution, for one patch size."""
    return module.distr_output._distribution(parameters(module, stream, index, patch), validate_args=False)


def parameters(module: Any, stream: Tensor, index: int, patch: int) -> Any:
    """The distribution's parameters, in the dictionaries and lists of uni2ts.

    Upstream stores each parameter as (dimension, largest patch) but its mask assumes (dimension, patch). For a
    parameter with several dimensions, all weights but those of the first dimension are therefore masked, and only their
    bias is used. This function does the same.
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

    return bounded(module.param_proj.proj, module.param_proj.domain_map)
