"""One kind of model: how its checkpoints are recognised and loaded, and how a student of it is designed and built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from torch import nn

from potstill.errors import UserError
from potstill.families.base.graph import Graph
from potstill.families.base.model import Model, ModelSource
from potstill.transfer.anatomy import Anatomy


@dataclass(frozen=True)
class Architecture:
    """A student's config and size, before it has weights.

    Attributes
    ----------
    family, config, parameters
        The family's name, its config, and the number of weights.
    kind
        The common name of the architecture if it differs from the family's (``gpt2``).
    active_parameters
        Number of weights that one input passes through, if it differs from ``parameters``.
    library
        The library that loads the student without Potstill, if it differs from the family's.
    """

    family: str
    config: Any
    parameters: int
    kind: str = ""
    active_parameters: int | None = None
    library: str | None = None

    @property
    def label(self) -> str:
        """The name in the plan, on the model card and in messages."""
        return self.kind or self.family


M = TypeVar("M", bound=Model)


class Family(ABC, Generic[M]):
    """How one kind of model is recognised, loaded, designed and built.

    Attributes
    ----------
    name
        The family's name in the registry.
    task
        ``forecast`` or ``language``.
    library
        The library that loads a student without Potstill; named on the model card.
    presets
        Named sizes: overrides by name.
    bf16
        Whether ``precision: auto`` loads a teacher's weights in bf16 where the hardware multiplies bf16.
    gkd
        Whether TRL's GKD trainer (on-policy distillation) can train a student of this family.
    safetensors
        Whether a folder's weights are safetensors files, which are checked before they are loaded.
    """

    name: str
    task: ClassVar[Literal["forecast", "language"]] = "forecast"
    library: ClassVar[str] = "potstill"
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    bf16: ClassVar[bool] = False
    gkd: ClassVar[bool] = False
    safetensors: ClassVar[bool] = True

    @abstractmethod
    def recognises(self, config: dict[str, Any]) -> bool:
        """Whether a checkpoint's ``config.json`` belongs to this family."""

    @abstractmethod
    def load(self, folder: str, source: ModelSource, **hub_options: Any) -> M:
        """Load a checkpoint from a folder or hub id."""

    @abstractmethod
    def design(self, teacher: Model | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """Derive a student's config from the teacher's config and the user's overrides.

        ``context`` and ``horizon`` are in steps; for text, ``context`` is the longest example in tokens and ``horizon``
        is 0.
        """

    @abstractmethod
    def build(self, architecture: Architecture, dropout: float, teacher: Model | None = None) -> M:
        """Build a student with fresh weights by the family's own initialisation rule (seed torch first).

        ``teacher`` provides what a student shares with it in addition to weights, such as a tokenizer.
        """

    def copy_from(self, student: M, teacher: Model) -> list[str]:
        """Copy the teacher's weights whose shapes match; returns one line of text per group of weights.

        Raises
        ------
        UserError
            If the family does not support it, or no shapes match.
        """
        raise UserError(
            f"student.start: {self.name} cannot start from a teacher's weights; write start: random.",
            key="student.start_unsupported",
        )

    def obstacle(self, architecture: Architecture, teacher: Model) -> str | None:
        """Why a student of this architecture cannot be cut from the teacher's weights; None if it can.

        A family whose students can be cut also implements ``anatomy``.
        """
        return f"{self.name} models do not describe their weights"

    def matched(self, teacher: Model, architecture: Architecture) -> nn.Module:
        """The teacher's module, or a copy of it without parts that a student of this architecture does not have."""
        return teacher.module

    @contextmanager
    def dense(self, student: M) -> Iterator[nn.Module]:
        """A module for a dense teacher's weights; at the end of the block the student has them.

        By default the student's own module. A family with sparse layers gives a dense module of the same sizes, and
        copies its feed-forward networks into the experts.
        """
        yield student.module

    def balance_experts(self, student: M, batches: Sequence[Any]) -> None:
        """Make the fresh routers of a sparse student use all experts on these batches; nothing for other students."""

    def grown(self, student: M, experts: Mapping[str, Any]) -> Architecture:
        """The architecture of a finished student with sparse layers: ``experts``, ``top_k``, ``layers``, ``insert``.

        Raises
        ------
        UserError
            If models of this family cannot grow, or not with these settings.
        """
        raise UserError(
            f"student.grow: {self.name} models cannot grow experts; name a student of the family chronos2.",
            key="grow.unsupported",
        )

    def graph(self, model: M) -> Graph:
        """The model as a graph for export.

        Raises
        ------
        UserError
            If models of this family cannot be exported, or not this one.
        """
        raise UserError(
            f"{model.source.name}: {self.name} models cannot be exported; export a student of the family chronos2,"
            " patch_transformer, mixer or linear.",
            key="export.unsupported_family",
        )

    def group_graph(self, model: M) -> Graph:
        """The model as a graph that reads group ids and covariates.

        Raises
        ------
        UserError
            As :meth:`graph`.
        """
        raise UserError(
            f"--groups: a {self.name} model forecasts each series on its own; export {model.source.name} without it.",
            key="export.no_groups",
        )

    def anatomy(self, module: Any) -> Anatomy:
        """What the weights of a model's module mean, for cutting it; see :mod:`potstill.transfer.anatomy`."""
        raise NotImplementedError(f"{self.name} models do not describe their weights")

    def locate(self) -> str | None:
        """The folder or hub id that ``--teacher NAME`` loads, where NAME is the family's name.

        Set by a family whose weights come with an installed package; None if the name alone does not refer to a model.
        """
        return None


class TeacherFamily(Family[M]):
    """A family whose models can only teach and be evaluated; subclass ``Family`` for one that also builds students."""

    def design(self, teacher: Model | None, overrides: dict[str, Any], context: int, horizon: int) -> Architecture:
        """Not supported: models of this family cannot be students.

        Raises
        ------
        UserError
            Always.
        """
        raise self._no_student()

    def build(self, architecture: Architecture, dropout: float, teacher: Model | None = None) -> M:
        """Not supported, see ``design``."""
        raise self._no_student()

    def _no_student(self) -> UserError:
        return UserError(
            f"--student: {self.name} models can teach, but cannot be students; choose another family.",
            key="student.teacher_only",
        )
