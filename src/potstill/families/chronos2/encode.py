"""One pass of Chronos-2 where every window stands alone: upstream's modules and weights, walked more cheaply.

What differs from upstream's own ``encode`` changes no number by more than rounding (tests hold it to 1e-5): group
attention over one series is a linear map; the rotary angles are computed once for all layers; and past the last layer's
keys and values only the forecast's tokens are needed.

Shapes: B windows, C context, T tokens, N output patches, P steps per patch, A heads, D d_model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from potstill.families.attention import attend
from potstill.families.norm import rms_norm


def encode_univariate(
    model: Any, context: Tensor, patches: int, hidden: tuple[int, ...] = (), attention: tuple[int, ...] = ()
) -> tuple[Tensor, dict[int, Tensor], dict[int, Tensor]]:
    """Run the encoder.

    Parameters
    ----------
    model
        A ``Chronos2Model``.
    context
        ``[B, C]`` in input units, NaN where missing.
    patches
        Output patches N to forecast.
    hidden, attention
        Layers whose stream after the block, or whose attention maps over time, are returned.

    Returns
    -------
    tuple
        The normalised stream of the forecast ``[B, N, D]``, the streams ``[B, T, D]`` and the maps ``[B, A, T, T]`` by
        layer.
    """
    stream, mask = _tokens(model, context, patches)
    encoder = model.encoder
    stream = encoder.dropout(stream)
    time_mask = encoder._expand_and_invert_time_attention_mask(mask, stream.dtype)
    positions = torch.arange(stream.shape[1], device=stream.device)[None]
    cosine, sine = encoder.block[0].layer[0].self_attention.rope_embed(stream, positions)
    states, maps, last = {}, {}, len(encoder.block) - 1
    for index, block in enumerate(encoder.block):
        time, group, feedforward = block.layer
        if index in attention:  # only upstream's eager attention gives its maps
            output = time(stream, attention_mask=time_mask, position_ids=positions, output_attentions=True)
            stream, maps[index] = output.hidden_states, output.attn_weights
        else:
            kept = patches if index == last and index not in hidden else stream.shape[1]
            stream = attend_in_time(time, stream, time_mask, cosine, sine, kept)
        stream = attend_alone(group, stream)
        stream = stream + feedforward.dropout(feedforward.mlp(_norm(feedforward, stream)))
        if index in hidden:
            states[index] = stream
    return encoder.dropout(encoder.final_layer_norm(stream[:, -patches:])), states, maps


def _tokens(model: Any, context: Tensor, patches: int) -> tuple[Tensor, Tensor]:
    """Embedded context, register and future tokens ``[B, T, D]`` and which of them are there ``[B, T]``."""
    patched, mask, loc_scale = model._prepare_patched_context(context=context)
    rows = len(context)
    # without future covariates the future tokens are the same for every window, unless dropout tells them apart
    noisy = model.training and model.config.dropout_rate > 0
    future, _ = model._prepare_patched_future(None, None, loc_scale, patches, rows if noisy else 1)
    tokens = [model.input_patch_embedding(patched)]
    if model.chronos_config.use_reg_token:
        tokens.append(model.shared.weight[model.config.reg_token_id].to(tokens[0].dtype).expand(rows, 1, -1))
    tokens.append(model.input_patch_embedding(future).expand(rows, -1, -1))
    stream = torch.cat(tokens, dim=1)
    return stream, torch.cat([mask, mask.new_ones(rows, stream.shape[1] - mask.shape[1])], dim=1)


def attend_in_time(layer: Any, stream: Tensor, mask: Tensor, cosine: Tensor, sine: Tensor, kept: int) -> Tensor:
    """Attention along time with rotary positions, without upstream's scaling of the scores (it has none).

    The result holds the last ``kept`` tokens.
    """
    mha = layer.self_attention
    normed = _norm(layer, stream)

    def heads(projection: Any, x: Tensor) -> Tensor:
        return projection(x).unflatten(-1, (mha.n_heads, -1)).transpose(1, 2)

    query = _rotate(mha, heads(mha.q, normed[:, -kept:]), cosine[:, -kept:], sine[:, -kept:])
    key = _rotate(mha, heads(mha.k, normed), cosine, sine)
    dropout = mha.dropout if mha.training else 0.0
    output = attend(query, key, heads(mha.v, normed), mask, dropout_p=dropout, scale=1.0)
    return stream[:, -kept:] + layer.dropout(mha.o(output.transpose(1, 2).flatten(2)))


def _rotate(mha: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Upstream's rotary positions, of queries or keys alone."""
    return x * cosine.to(x.dtype)[:, None] + mha.rope_embed.rotate_half(x) * sine.to(x.dtype)[:, None]


def _norm(layer: Any, stream: Tensor) -> Tensor:
    """A layer's norm as torch has it, in the stream's precision: fused, and not cast anew for each projection."""
    return rms_norm(stream, layer.layer_norm.weight, layer.layer_norm.variance_epsilon)


def attend_alone(layer: Any, stream: Tensor) -> Tensor:
    """Group attention where every window is its own group: softmax over one key is 1, so queries and keys drop out."""
    mha = layer.self_attention
    values = mha.v(_norm(layer, stream))
    if mha.training and mha.dropout > 0:
        # upstream drops whole attention weights: here one per window, token and head
        heads = values.unflatten(-1, (mha.n_heads, -1))
        values = (heads * nn.functional.dropout(torch.ones_like(heads[..., :1]), mha.dropout)).flatten(-2)
    return stream + layer.dropout(mha.o(values))
