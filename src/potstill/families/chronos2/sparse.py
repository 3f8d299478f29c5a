"""Chronos-2 with sparse feed-forward layers: upstream's model, in which chosen blocks have experts.

Attention, norms and dense blocks are upstream's, with upstream's names of weights.

Shapes: B windows, T tokens, D d_model.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from chronos.chronos2 import Chronos2Model
from chronos.chronos2.config import Chronos2CoreConfig
from chronos.chronos2.layers import FeedForward
from torch import Tensor, nn
from transformers import initialization as init
from transformers.activations import ACT2FN

from potstill.families.chronos2.experts import KEYS, ExpertSettings
from potstill.families.sparse import Router, SparseMLP

DENSE_NAMES = {f".mlp.{matrix}": f".mlp.{matrix}.weight" for matrix in ("wi", "wo")}  # of an expert's matrices


class ExtendedFeedForward(FeedForward):
    """Upstream's feed-forward layer, followed by a sparse one that starts as the identity: ``insert: after``."""

    def __init__(self, config: Chronos2CoreConfig, settings: ExpertSettings):
        super().__init__(config)
        self.inserted = FeedForward(config)
        self.inserted.mlp = _sparse_mlp(config, settings)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """The stream ``[B, T, D]`` after both layers."""
        return self.inserted(super().forward(hidden_states))


class SparseChronos2Model(Chronos2Model):
    """A ``Chronos2Model`` whose config has the keys of :class:`ExpertSettings`."""

    def __init__(self, config: Chronos2CoreConfig):
        super().__init__(config)
        settings = ExpertSettings.of(config)
        assert settings is not None, "the config names no experts"
        for layer in settings.layers:
            block: Any = self.encoder.block[layer]
            if settings.insert == "ffn":
                block.layer[2].mlp = _sparse_mlp(config, settings)
            else:
                block.layer[2] = ExtendedFeedForward(config, settings)

    def _init_weights(self, module: nn.Module) -> None:
        """Upstream's rule; an expert is initialised as a dense network is, an inserted layer as the identity."""
        super()._init_weights(module)
        factor, config = self.config.initializer_factor, self.config
        if isinstance(module, Router):
            init.normal_(module.weight, mean=0.0, std=Router.initial_std(config.d_model))
        elif isinstance(module, SparseMLP):
            init.normal_(module.wi, mean=0.0, std=factor * config.d_model**-0.5)
            init.normal_(module.wo, mean=0.0, std=factor * config.d_ff**-0.5)
        elif isinstance(module, ExtendedFeedForward):
            layer: Any = module.inserted
            # of the size of a trained model's whatever the factor: only the outputs are 0 at the start
            init.ones_(layer.layer_norm.weight)
            init.normal_(layer.mlp.wi, mean=0.0, std=config.d_model**-0.5)
            init.zeros_(layer.mlp.wo)


def build_module(config: Chronos2CoreConfig) -> Chronos2Model:
    """The model of a config, sparse or dense; its weights still have to be initialised or loaded."""
    return module_class(config)(copy.deepcopy(config))


def module_class(config: Any) -> type[Chronos2Model]:
    """The class of a model with this config."""
    return Chronos2Model if ExpertSettings.of(config) is None else SparseChronos2Model


def dense_config(config: Chronos2CoreConfig) -> Chronos2CoreConfig:
    """The same config without experts."""
    dense = copy.deepcopy(config)
    for key in KEYS:
        if hasattr(dense, key):
            delattr(dense, key)
    return dense


@torch.no_grad()
def fill_from_dense(sparse: nn.Module, dense: nn.Module) -> None:
    """Give a sparse model the weights of a dense one of the same sizes; the outputs of both are then equal.

    Every expert becomes a copy of the block's dense network (sparse upcycling, Komatsuzaki et al., arXiv:2212.05055),
    and the weights of a token's experts sum to 1. Routers keep their random weights, so that experts see different
    tokens, and become different, from the first step on. Inserted layers stay the identity.
    """
    weights = dict(dense.named_parameters())
    for name, own in sparse.named_parameters():
        ending = next((ending for ending in DENSE_NAMES if name.endswith(ending)), None)
        source = name if ending is None else name.removesuffix(ending) + DENSE_NAMES[ending]
        if source in weights:
            own.copy_(weights[source].expand_as(own))


def _sparse_mlp(config: Any, settings: ExpertSettings) -> SparseMLP:
    activation = ACT2FN[config.dense_act_fn]
    return SparseMLP(
        config.d_model, config.d_ff, settings.experts, settings.top_k, activation, dropout=config.dropout_rate
    )
