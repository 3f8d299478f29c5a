"""A loaded model of any kind, and where it came from."""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn

from potstill.errors import UserError
from potstill.families.base.bars import silence_bars
from potstill.families.checkpoint import config_fingerprint
from potstill.types import ModelInfo, Output, Request

silence_bars()


@dataclass(frozen=True)
class ModelSource:
    """Where a model came from; used for provenance and as part of a label store's key."""

    name: str
    location: str
    revision: str | None = None
    licence: str | None = None


class Model(ABC):
    """A loaded model of any kind: what is trained, named, counted and saved.

    Attributes
    ----------
    module
        The upstream ``nn.Module``; what is trained and saved.
    family
        Name of the family in the registry.
    settings
        Attributes that a user may set (``MODEL:key=value``); they change the model's outputs.
    layers, width, heads, head_width, signals, group_signals, auxiliary
        See :class:`potstill.types.ModelInfo`; a family sets those that differ from these defaults.
    """

    family: str
    module: nn.Module
    source: ModelSource
    settings: ClassVar[tuple[str, ...]] = ()
    layers: int = 0
    width: int = 0
    heads: int = 0
    head_width: int = 0
    signals: frozenset[str] = frozenset()
    group_signals: frozenset[str] = frozenset()
    auxiliary: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, batch: Any, request: Request) -> Output:
        """Run one differentiable forward pass over a batch of Windows or Tokens."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model in its upstream layout, so that upstream tools load it."""

    @property
    def passes_vary(self) -> bool:
        """Whether it depends on the windows of a batch which blocks run, and how often; FSDP cannot shard them then."""
        return False

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return next(self.module.parameters()).device

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.module.parameters())

    @property
    def active_parameters(self) -> int:
        """Number of weights that one input passes through; a mixture of experts overrides this."""
        return self.parameters

    @property
    def bytes(self) -> int:
        """Size of the weights in memory, in bytes."""
        return sum(p.numel() * p.element_size() for p in self.module.parameters())

    @property
    def precision(self) -> str:
        """Data type of the weights: float32 or bfloat16."""
        return str(next(self.module.parameters()).dtype).removeprefix("torch.")

    @property
    def info(self) -> ModelInfo:
        """The model's name, sizes, levels and signals."""
        return ModelInfo(
            name=self.source.name,
            family=self.family,
            parameters=self.parameters,
            active_parameters=self.active_parameters,
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            head_width=self.head_width,
            signals=self.signals,
            group_signals=self.group_signals,
            auxiliary=self.auxiliary,
            **self._sizes(),
        )

    @property
    def fingerprint(self) -> str:
        """sha256 of the settings, the config and every weight's name, shape and bytes.

        Two copies of a teacher have the same fingerprint in any folder and from any library version, so that labels
        computed with one are valid for the other.
        """
        digest = hashlib.sha256(self.family.encode())
        config = getattr(self, "config", None) or getattr(self.module, "config", None)
        digest.update(config_fingerprint(config, getattr(self, "levels", None)).encode())
        digest.update("".join(f"{name}={getattr(self, name)};" for name in self.settings).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def set(self, values: dict[str, Any]) -> None:
        """Set some of the model's settings; raises UserError for a name that is not in ``settings``."""
        for name, value in values.items():
            if name not in self.settings:
                known = f"known: {', '.join(self.settings)}" if self.settings else "it has no settings"
                raise UserError(
                    f"{self.source.location}: {name!r} is not a setting of a {self.family} model; {known}.",
                    key="model.unknown_setting",
                )
            setattr(self, name, value)

    def freeze(self) -> Self:
        """Switch to evaluation mode and turn gradients off, as a teacher needs it."""
        self.module.eval().requires_grad_(False)
        return self

    def check(self) -> Self:
        """Raise UserError if the forward pass does not behave as Potstill needs; called once after loading."""
        return self

    def check_request(self, request: Request, signals: frozenset[str] | None = None) -> None:
        """Raise UserError if the forward pass cannot return what ``request`` asks for.

        Parameters
        ----------
        request
            The requested horizon and layers.
        signals
            The outputs that the pass supports; default: ``self.signals``.
        """
        signals = self.signals if signals is None else signals
        for name, layers in request.layers.items():
            if name not in signals:
                known = ", ".join(sorted(signals)) or "nothing"
                raise UserError(
                    f"{self.source.name}: this model cannot return {name!r}; it returns {known}.",
                    key="model.cannot_return",
                )
            if not 0 <= min(layers) <= max(layers) < self.layers:
                raise UserError(
                    f"{self.source.name}: the model has {self.layers} layers, counted from 0; {name} of layers"
                    f" {', '.join(map(str, layers))} was requested.",
                    key="model.no_such_layer",
                )

    def _sizes(self) -> dict[str, Any]:
        """The fields of ``ModelInfo`` that only this kind of model has."""
        return {}


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode within the block, then restore the previous mode."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
