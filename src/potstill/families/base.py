"""What every family gives: a Model, and how one is loaded, shaped and started.

A family lives in one file or folder: a ``Family`` that loads and builds, and the ``Forecaster`` it returns.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.types import Forecast, Output, Windows


@dataclass(frozen=True)
class Source:
    """Where a model came from, for provenance and label keys."""

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
        Name of the family in the table of families.
    settings
        Attributes that its user may set (``MODEL:key=value``), and that decide what it answers.
    """

    family: str
    module: nn.Module
    source: Source
    settings: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, batch: Any, horizon: Any = None) -> Output:
        """One differentiable pass over a batch of Windows or Tokens."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model in its upstream layout, so that upstream tools load it."""

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return next(self.module.parameters()).device

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.module.parameters())

    @property
    def fingerprint(self) -> str:
        """sha256 over the settings and all weights' names, shapes and bytes: teachers with the same labels share it."""
        digest = hashlib.sha256(self.family.encode())
        digest.update("".join(f"{name}={getattr(self, name)};" for name in self.settings).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def set(self, values: dict[str, Any]) -> None:
        """Set some of its settings; raises UserError for one that it does not have."""
        for name, value in values.items():
            if name not in self.settings:
                known = f"known: {', '.join(self.settings)}" if self.settings else "it has none"
                raise UserError(f"{self.source.location}: {name!r} is no setting of a {self.family} model; {known}.")
            setattr(self, name, value)

    def freeze(self) -> Self:
        """Evaluation mode, gradients off: what a teacher must be."""
        self.module.eval().requires_grad_(False)
        return self


class Forecaster(Model):
    """A loaded model that forecasts.

    Attributes
    ----------
    levels
        ``[Q]`` float32 quantile levels of its forecasts.
    max_context, max_horizon
        Longest context it reads and longest horizon it forecasts in one pass, in steps.
    horizon_multiple
        Horizons are computed in multiples of this many steps (an output patch).
    """

    levels: Tensor
    max_context: int
    max_horizon: int
    horizon_multiple: int = 1

    @abstractmethod
    def forward(
        self, windows: Windows, horizon: int, hidden: tuple[int, ...] = (), attention: tuple[int, ...] = ()
    ) -> Output:
        """One differentiable pass over a batch: a Forecast of ``horizon`` steps and what layers were asked for."""

    @abstractmethod
    def roll_out(self, context: Tensor, prediction_length: int) -> Forecast:
        """Forecast further than ``max_horizon`` by feeding forecasts back."""

    @torch.inference_mode()
    def predict(self, context: Any, prediction_length: int, batch_size: int = 256) -> Forecast:
        """Forecast many contexts.

        Parameters
        ----------
        context
            ``[B, C]`` (or ``[C]``) in input units, NaN where missing. A longer one is cut to ``max_context``.
        prediction_length
            Steps ahead. Beyond ``max_horizon`` the forecast is rolled out, with a warning.
        batch_size
            Windows per pass.

        Returns
        -------
        Forecast
            On the CPU, in fp32; ``.quantiles`` is ``[B, Q, prediction_length]`` in input units.
        """
        if prediction_length < 1:
            raise ValueError(f"prediction_length must be at least 1, got {prediction_length}")
        context = torch.as_tensor(context)
        context = context[None] if context.ndim == 1 else context
        if context.ndim != 2 or context.shape[1] == 0:
            raise ValueError(f"context must be [B, C] with C ≥ 1, got shape {tuple(context.shape)}")
        context = torch.where(context.isinf(), torch.nan, context.float())[:, -self.max_context :]
        if prediction_length > self.max_horizon:
            warnings.warn(
                f"{self.source.name} was trained for horizons up to {self.max_horizon}; {prediction_length} steps are"
                " reached by feeding its own forecasts back",
                stacklevel=1,  # torch's decorator stands between this and the caller
            )
        with evaluating(self.module):
            parts = [self._predict(part, prediction_length) for part in context.split(batch_size)]
        return Forecast(
            levels=self.levels.cpu(),
            values=torch.cat([p.values.float().cpu() for p in parts]),
            loc=torch.cat([p.loc.cpu() for p in parts]),
            scale=torch.cat([p.scale.cpu() for p in parts]),
            arcsinh=parts[0].arcsinh,
        )

    def _predict(self, context: Tensor, prediction_length: int) -> Forecast:
        context = context.to(self.device)
        if prediction_length > self.max_horizon:
            return self.roll_out(context, prediction_length)
        return self.forward(bare_windows(context, prediction_length), prediction_length).forecast


@dataclass(frozen=True)
class Architecture:
    """A student before it has weights: its family's config, ready to be built."""

    family: str
    config: Any
    parameters: int


class Family(ABC):
    """How one kind of model is recognised, loaded, shaped and built."""

    name: str
    #: named sizes: overrides by name
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    @abstractmethod
    def recognises(self, config: dict[str, Any]) -> bool:
        """Whether a checkpoint's ``config.json`` is of this family."""

    @abstractmethod
    def load(self, folder: str, source: Source, **hub_options: Any) -> Forecaster:
        """Load a checkpoint from a folder or hub id."""

    @abstractmethod
    def design(self, teacher: Forecaster | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """A student's config from the teacher's and the user's overrides; omitted keys follow."""

    @abstractmethod
    def build(self, architecture: Architecture, dropout: float) -> Forecaster:
        """A student with fresh weights by the family's own initialisation rule (seed torch before)."""

    def start_from(self, student: Forecaster, teacher: Forecaster) -> list[str]:
        """Copy what agrees in shape from the teacher; returns a line per group of weights copied."""
        raise UserError(f"student.start: {self.name} cannot start from a teacher's weights; write start: random.")

    def locate(self) -> str | None:
        """The folder or hub id that the family's bare name stands for: ``--teacher NAME`` loads it.

        A family whose weights come with an installed package says where they lie; None where a name alone means none.
        """
        return None


class TeacherFamily(Family):
    """A family whose models teach and are evaluated, but are not built anew: see ``Family`` for one that does both."""

    def design(self, teacher: Forecaster | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """Refused: there is no such student.

        Raises
        ------
        UserError
            Naming the families that can be students.
        """
        raise self._no_student()

    def build(self, architecture: Architecture, dropout: float) -> Forecaster:
        """Refused, as ``shape`` is."""
        raise self._no_student()

    def _no_student(self) -> UserError:
        from potstill.families.registry import students

        return UserError(
            f"--student: {self.name} models teach, but are no students; choose one of {', '.join(students())}."
        )


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode for the block and back to what stood before."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def bare_windows(context: Tensor, horizon: int) -> Windows:
    """Windows of contexts alone, as forecasting needs them: no future, no identity."""
    rows = torch.arange(len(context), device=context.device)
    return Windows(context, context.new_full((len(context), horizon), torch.nan), rows, rows, torch.zeros_like(rows))
