"""Hidden states, attention maps, queries, keys and values of a language model's layers, recorded by forward hooks.

transformers can return states and maps too, but for most models its last state is after the final norm, and it keeps
the map of every layer. A hook records the residual stream before that norm, and only of the requested layers.

Shapes: B examples, T tokens, D width, A heads, W width of a head.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from potstill.errors import UserError
from potstill.families.language.projections import projections_of
from potstill.types import Qkv, Request

#: names of the number of layers in transformers' configs
DEPTH_KEYS = ("num_hidden_layers", "n_layer")


def blocks_of(module: Any) -> tuple[str, list[nn.Module]]:
    """The dotted name of a causal language model's list of layers, and the layers; ("", []) if there is no such list.

    It is the first module list whose length is the number of layers in the config.
    """
    config = module.config.get_text_config()
    depth = next((getattr(config, key) for key in DEPTH_KEYS if hasattr(config, key)), 0)
    for name, part in module.named_modules():
        if isinstance(part, nn.ModuleList) and len(part) == depth > 0:
            return name, list(part)
    return "", []


def attention_of(block: nn.Module) -> nn.Module | None:
    """The self-attention of a layer; None if it has none (a recurrent layer)."""
    return next((part for part in block.modules() if type(part).__name__.endswith("Attention")), None)


@dataclass
class Recorded:
    """The requested outputs of layers: states ``[B, T, D]``, maps ``[B, A, T, T]``, and queries, keys and values."""

    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)
    qkv: dict[int, Qkv] = field(default_factory=dict)


@contextlib.contextmanager
def recording(module: Any, request: Request, name: str) -> Iterator[Recorded]:
    """Record what ``request`` asks of the layers in the forward pass within the block; complete after the block.

    If maps are requested, the pass uses eager attention, because other implementations do not compute them. Gradient
    checkpointing is off, because the tensors that a hook sees in a checkpointed layer may have no gradient.

    Raises
    ------
    UserError
        After the pass, if the model has not returned a requested map; ``name`` is the model's name in the message.
    """
    recorded = Recorded()
    if not request.layers:
        yield recorded
        return
    _, blocks = blocks_of(module)
    hooks = [blocks[layer].register_forward_hook(_recorder(recorded.hidden, layer)) for layer in request.hidden]
    for layer in request.attention:
        attention = attention_of(blocks[layer])
        if attention is not None:
            hooks.append(attention.register_forward_hook(_recorder(recorded.attention, layer, place=1)))
    projected: dict[int, dict[str, Tensor]] = {layer: {} for layer in request.qkv}
    projections = {layer: projections_of(attention_of(blocks[layer]), module.config) for layer in request.qkv}
    for layer, found in projections.items():
        assert found is not None, "checked when the model was loaded"
        hooks += [part.register_forward_hook(_recorder(projected[layer], key)) for key, part in found.modules.items()]
    try:
        with _without_checkpointing(module), _eager(module) if request.attention else contextlib.nullcontext():
            yield recorded
    finally:
        for hook in hooks:
            hook.remove()
    recorded.qkv = {layer: found.heads(projected[layer]) for layer, found in projections.items() if found is not None}
    missing = sorted({*request.attention} - {*recorded.attention}) + sorted({*request.hidden} - {*recorded.hidden})
    if missing:
        raise UserError(
            f"{name}: layer {missing[0]} returns no attention map; choose other layers.", key="model.no_attention_map"
        )


def _recorder(records: dict[Any, Tensor], key: Any, place: int = 0) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        output = output if isinstance(output, (tuple, list)) else (output,)
        if len(output) > place and isinstance(output[place], Tensor):
            records[key] = output[place]

    return hook


@contextlib.contextmanager
def _eager(module: Any) -> Iterator[None]:
    """Use eager attention within the block; masks match it, because transformers reads the config at each pass."""
    configs = {id(part.config): part.config for part in module.modules() if hasattr(part, "config")}
    configs = [config for config in configs.values() if hasattr(config, "_attn_implementation")]
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = "eager"
        yield
    finally:
        for config, kind in zip(configs, before, strict=True):
            config._attn_implementation = kind


@contextlib.contextmanager
def _without_checkpointing(module: Any) -> Iterator[None]:
    """Turn gradient checkpointing off within the block; recomputation after it would use another attention."""
    parts = [part for part in module.modules() if getattr(part, "gradient_checkpointing", False)]
    try:
        for part in parts:
            part.gradient_checkpointing = False
        yield
    finally:
        for part in parts:
            part.gradient_checkpointing = True
