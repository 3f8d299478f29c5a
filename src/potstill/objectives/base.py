"""What a term of the objective is. Names resolve through a static table, so that a misspelt one imports no torch.

Shapes: B windows, Q levels, H steps.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from potstill.errors import UnknownName, UserError
from potstill.types import Output, Tokens, Windows

if TYPE_CHECKING:
    from torch import Tensor

TABLE = {
    "soft_median": "potstill.objectives.output",
    "hard_median": "potstill.objectives.output",
    "quantile_match": "potstill.objectives.output",
    "pinball": "potstill.objectives.output",
    "scaled_pinball": "potstill.objectives.scaled_pinball",
    "cross_entropy": "potstill.objectives.tokens",
    "kl": "potstill.objectives.tokens",
    "reverse_kl": "potstill.objectives.tokens",
    "jsd": "potstill.objectives.tokens",
    "skew_kl": "potstill.objectives.tokens",
}
ENTRY_POINTS = "potstill.terms"
OWN: dict[str, type] = {}


@dataclass
class LossInputs:
    """One batch as the terms see it: what was asked, the student's output, and the teacher's where there is one."""

    batch: Windows | Tokens
    student: Output
    teacher: Output | None

    @property
    def windows(self) -> Windows:
        """The batch of a forecaster."""
        assert not isinstance(self.batch, Tokens)
        return self.batch


class Term:
    """One addend of the objective.

    A subclass sets ``name`` and ``needs``, and computes a loss per window in ``__call__``. One with weights of its own
    (a projection) also derives from ``torch.nn.Module``: the trainer finds and trains them.

    Examples
    --------
    >>> class Width(Term):
    ...     name = "width"
    ...     needs = frozenset({"forecast"})
    ...     def __call__(self, batch):
    ...         student = batch.student.forecast.values
    ...         return (student[:, -1] - student[:, 0]).abs().mean(dim=1)
    """

    name: ClassVar[str]
    #: what the teacher must give: any of "forecast", "logits", "hidden", "attention"; empty for the truth alone
    needs: ClassVar[frozenset[str]] = frozenset()
    #: whether it takes an option ``temperature``, which is then the objective's unless it is given its own
    tempered: ClassVar[bool] = False

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        name = cls.__dict__.get("name")
        if name is None:
            return
        known = OWN.get(name)
        inside = cls.__module__.startswith("potstill.")
        again = known is not None and (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__)
        if (name in TABLE and not inside) or (known is not None and not again):
            raise UserError(f"{cls.__module__}: a term named {name!r} exists already; choose another name.")
        if not inside:
            OWN[name] = cls

    def __call__(self, batch: LossInputs) -> Tensor:
        """Loss per window ``[B]``; NaN where a window says nothing to this term (it then does not count)."""
        raise NotImplementedError


def find_term(name: str) -> type[Term]:
    """The term's class by its name: Potstill's own, the recipe's imports, or an entry point of ``potstill.terms``.

    Raises
    ------
    UnknownName
        Listing the known names and the nearest.
    """
    if name in TABLE:
        module = importlib.import_module(TABLE[name])
        return next(t for t in vars(module).values() if getattr(t, "name", None) == name)
    if name in OWN:
        return OWN[name]
    from importlib.metadata import entry_points

    outside = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in outside:
        return outside[name].load()
    raise UnknownName("term", name, [*TABLE, *OWN, *outside])


def import_terms(paths: list[str]) -> None:
    """Run the Python files that a recipe names in ``imports``; their Term subclasses become known by name.

    Raises
    ------
    UserError
        When a file is missing or fails, with its own message.
    """
    import importlib.util
    import sys
    from pathlib import Path

    for path in map(Path, paths):
        if not path.is_file():
            raise UserError(f"imports: {path}: no such file; paths are relative to where the command runs.")
        # the whole path names the module: two files of one stem are two modules, one file read twice is one
        spec = importlib.util.spec_from_file_location(f"potstill_user:{path.resolve()}", path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"imports: {path}: {type(error).__name__}: {error}") from error
