"""A language model as one ONNX graph, traced by ``torch.export``.

Shapes: B texts, T new tokens, P earlier tokens, K positions whose logits are computed, L layers, H heads of keys and
values, W head width, V vocabulary.

==========================  =====================  ==================================================================
input                       shape                  meaning
==========================  =====================  ==================================================================
``input_ids``               ``[B, T]`` int64       new tokens
``attention_mask``          ``[B, P + T]`` int64   1: a token, 0: padding, on either side
``position_ids``            ``[B, T]`` int64       place of each new token in its text, without padding
``logits_at``               ``[K]`` int64          indices of the new tokens whose logits are returned
``past.{layer}.key/value``  ``[B, H, P, W]``       what the former call returned as ``present``; P = 0 at the start
==========================  =====================  ==================================================================

Outputs: ``logits`` ``[B, K, V]`` and ``present.{layer}.key/value`` ``[B, H, P + T, W]``.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.exporting.language.names import cache_names
from potstill.exporting.packages import quiet
from potstill.families.language.model import LanguageModel

OPSET = 18  # onnxruntime reads it from version 1.14 on
_TEXTS, _PAST, _NEW = 2, 5, 3  # sizes of the traced call; all of them differ and none is 1, so that none becomes fixed


class _WithCache(nn.Module):
    """A model whose cache is a list of tensors, with logits at chosen positions."""

    def __init__(self, module: Any):
        super().__init__()
        self.base, self.head = module.base_model, module.get_output_embeddings()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        logits_at: Tensor,
        past: list[tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer, (key, value) in enumerate(past):
            cache.update(key, value, layer)
        out = self.base(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        )
        logits = self.head(out.last_hidden_state[:, logits_at])
        return logits, [(layer.keys, layer.values) for layer in out.past_key_values.layers]


def onnx_graph(model: LanguageModel) -> Any:
    """The model in fp32 as an ``onnx.ModelProto``; batch, earlier and new tokens are of any number.

    The model is not changed.

    Raises
    ------
    UserError
        If torch cannot trace the model, or its cache is not one pair of keys and values per layer.
    """
    module = copy.deepcopy(model.module).cpu().float().eval()
    module.set_attn_implementation("eager")  # matrix products that every runtime and quantiser knows
    module.set_experts_implementation("batched_mm")  # ONNX has no grouped products
    for weight in module.parameters():
        weight.requires_grad_(False)
    shapes = _cache_shapes(module, model)
    past = [(torch.zeros(_TEXTS, h, _PAST, w), torch.zeros(_TEXTS, h, _PAST, v)) for h, w, v in shapes]
    example = (
        torch.ones(_TEXTS, _NEW, dtype=torch.long),
        torch.ones(_TEXTS, _PAST + _NEW, dtype=torch.long),
        torch.arange(_PAST, _PAST + _NEW).expand(_TEXTS, -1),
        torch.arange(_NEW - 1),
        past,
    )
    sizes: Any = (
        {0: "texts", 1: "tokens"},
        {0: "texts", 1: "all_tokens"},
        {0: "texts", 1: "tokens"},
        {0: "positions"},
        [({0: "texts", 2: "past"}, {0: "texts", 2: "past"}) for _ in shapes],
    )
    try:
        with torch.no_grad(), quiet():
            program: Any = torch.onnx.export(
                _WithCache(module),
                example,
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=sizes,
                input_names=[
                    "input_ids",
                    "attention_mask",
                    "position_ids",
                    "logits_at",
                    *cache_names("past", len(shapes)),
                ],
                output_names=["logits", *cache_names("present", len(shapes))],
                verbose=False,
            )
    except Exception as error:
        raise UserError(
            f"{model.source.location}: torch cannot trace {type(model.module).__name__} for ONNX"
            f" ({_reason(error)}); export another model.",
            key="export.not_traceable",
        ) from error
    return program.model_proto


def _cache_shapes(module: Any, model: LanguageModel) -> list[tuple[int, int, int]]:
    """Per layer, the number of heads of keys and values, and the widths of both."""
    with torch.no_grad():
        out: Any = module(input_ids=torch.zeros(1, 2, dtype=torch.long), use_cache=True)
    cache = getattr(out, "past_key_values", None)
    pairs: list[Any] = [
        (getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in getattr(cache, "layers", ())
    ]
    if not pairs or any(getattr(tensor, "ndim", 0) != 4 for pair in pairs for tensor in pair):
        raise UserError(
            f"{model.source.location}: {type(model.module).__name__} does not keep keys and values of each layer for"
            " earlier tokens, which the export needs; export another model.",
            key="export.no_cache",
        )
    return [(key.shape[1], key.shape[3], value.shape[3]) for key, value in pairs]


def _reason(error: BaseException) -> str:
    """The first line of the innermost error: those around it say only in which step of the exporter it happened."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
