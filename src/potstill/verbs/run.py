"""What ``distill`` and ``mix`` return: the run's folder, which also gives its results."""

from __future__ import annotations

from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.families.base import Model
from potstill.recipe import Recipe
from potstill.reporting import summary_lines
from potstill.reporting.inputs import read_json
from potstill.runs import METRICS_FILE, RECIPE_FILE

_SHOWN = 8  # sentences of the summary in a notebook


class Run(type(Path())):
    """A run's folder, and what it holds. It is a path, so that functions that take folders take it.

    Attributes are read on first use; they raise UserError while the run is not finished.
    """

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json: accuracy by model and data set, comparisons, costs."""
        self._check()
        return read_json(self / METRICS_FILE)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, with all defaults resolved."""
        self._check()
        return Recipe.read(self / RECIPE_FILE)

    @cached_property
    def student(self) -> Model:
        """The trained student, loaded on the CPU."""
        from potstill.families.load import load

        self._check()
        return load(self)

    @property
    def report(self) -> Path:
        """The HTML report."""
        self._check()
        return self / "report.html"

    @property
    def summary(self) -> list[str]:
        """The results in sentences, most important first, as the command line prints them."""
        return summary_lines(self.metrics)

    def __truediv__(self, name: Any) -> Path:
        return Path(self).joinpath(name)

    def _check(self) -> None:
        if not (self / METRICS_FILE).exists():
            raise UserError(
                f"{self}: the run is not finished, so it has no results; continue it with resume=True.",
                key="run.not_finished",
            )

    def _repr_html_(self) -> str:
        """The summary, for notebooks."""
        if not (self / METRICS_FILE).exists():
            return f"<p>{escape(str(self))}: not finished</p>"
        first, *more = self.summary
        lines = "".join(f"<li>{escape(line)}</li>" for line in more[:_SHOWN])
        return f"<p><b>{escape(first)}</b></p><ul>{lines}</ul><p>Report: {escape(str(self.report))}</p>"
