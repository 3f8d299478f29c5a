"""The base class of loss terms: its inputs, its requirements, and how its values are averaged.

Shapes: B windows (or examples), H steps, N answer tokens of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from potstill.errors import UserError
from potstill.objectives.names import TERM_CLASSES
from potstill.types import ENSEMBLE, LAYER_SIGNALS, ModelInfo, Output, Request, Tokens, Windows

if TYPE_CHECKING:
    from torch import Tensor

FEATURES = frozenset(LAYER_SIGNALS)  # signals that feature terms compare
Unit = Literal["windows", "steps", "tokens"]

#: terms in files of the user, by name; filled when the classes are defined
USER_TERMS: dict[str, type[Term]] = {}


@dataclass
class LossInputs:
    """The inputs of a term for one batch.

    Attributes
    ----------
    batch
        The data.
    student
        The student's output.
    teachers
        The teachers' outputs by name.
    step_weights
        ``[H]``: weights of the steps ahead, above 0; None: all steps count equally. :meth:`mean_over_steps` applies
        them.
    """

    batch: Windows | Tokens
    student: Output
    teachers: Mapping[str, Output] = field(default_factory=dict)
    step_weights: Tensor | None = None

    @property
    def windows(self) -> Windows:
        """The batch of a forecaster."""
        assert not isinstance(self.batch, Tokens)
        return self.batch

    @property
    def teacher(self) -> Output:
        """The output of the one teacher, or the average of several."""
        assert self.teachers, "this term needs a teacher or its labels"
        return self.teachers[ENSEMBLE] if len(self.teachers) > 1 else next(iter(self.teachers.values()))

    @cached_property
    def copy_error(self) -> Tensor:
        """Error ``[B]`` of copying each context at its best lag, in the student's scale; the unit of scaled terms.

        Computed once per batch, as it costs as much as a term.
        """
        from potstill.objectives.copying import copy_error

        context = self.student.forecast.scaled(self.windows.context)
        return copy_error(context, self.windows.future.shape[1])

    def mean_over_steps(self, loss: Tensor, known: Tensor | None = None) -> Tensor:
        """Mean of a loss over the steps ahead, weighted by ``step_weights``.

        The weights are normalised over the steps that count, so that unknown steps do not change the size of a loss.

        Parameters
        ----------
        loss
            ``[B, …, H]``, finite also where a step is not known.
        known
            ``[B, H]`` bool, for a loss ``[B, H]``: the steps that count; default: all.

        Returns
        -------
        Tensor
            ``[B, …]``; NaN if no step counts.
        """
        if known is None and self.step_weights is None:
            return loss.mean(dim=-1)
        counted = loss.new_ones(loss.shape[-1]) if known is None else known
        if self.step_weights is not None:
            counted = counted * self.step_weights.to(loss)
        count = counted.sum(dim=-1)
        mean = (loss * counted).sum(dim=-1) / count.where(count > 0, 1)
        return mean.where(count > 0, float("nan"))


@dataclass(frozen=True)
class Requests:
    """What a term needs from the student and from each teacher, by name: the layers whose outputs it reads."""

    student: Request = field(default_factory=Request)
    teachers: Mapping[str, Request] = field(default_factory=dict)


class Term:
    """One term of the objective.

    A subclass sets ``name`` and what it ``requires`` from the teacher, and computes a loss per window (or example) in
    ``__call__``. A term that compares hidden states or attention maps also overrides ``bind``, where it chooses the
    layers and may create its own weights (a projection). Such a term also derives from ``torch.nn.Module``; its weights
    are trained and checkpointed with the student, and not saved with it.

    Attributes
    ----------
    name
        The name of the term in recipes.
    requires
        Signals of the teacher that it uses, among "forecast", "logits", "hidden", "attention", "qkv" and
        "without_covariates"; empty for terms on the ground truth alone.
    averages
        How the objective averages its values: over windows equally, or over windows weighted by their known target
        steps. Token terms are averaged over answer tokens.
    task
        "forecast" or "language" for a term that suits one kind of model; None for both.
    tempered
        Whether it has an option ``temperature``, by default the objective's.

    Examples
    --------
    >>> class Width(Term):
    ...     name = "width"
    ...
    ...     def __call__(self, inputs):
    ...         student = inputs.student.forecast.values
    ...         return (student[:, -1] - student[:, 0]).abs().mean(dim=1)
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]] = frozenset()
    averages: ClassVar[Unit] = "windows"
    task: ClassVar[str | None] = None
    tempered: ClassVar[bool] = False

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        name = cls.__dict__.get("name")
        if name is None or cls.__module__.startswith("potstill."):
            return
        known = USER_TERMS.get(name)
        redefined = known is not None and (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__)
        if name in TERM_CLASSES or (known is not None and not redefined):
            raise UserError(
                f"{cls.__module__}: a term named {name!r} already exists; choose another name.",
                key="objective.name_taken",
            )
        USER_TERMS[name] = cls

    def bind(self, student: ModelInfo, teachers: Mapping[str, ModelInfo]) -> Requests:
        """Choose layers and create weights for these models; called once, before the optimizer is created.

        Returns
        -------
        Requests
            The layers whose outputs ``__call__`` will read.
        """
        return Requests()

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Loss per window ``[B]``; NaN if a window has no value for this term (it is then not counted)."""
        raise NotImplementedError
