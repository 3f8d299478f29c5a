"""The verbs: one function per command. The command line and Python callers use the same functions."""

from potstill.verbs.distill import distill
from potstill.verbs.evaluate import evaluate
from potstill.verbs.export import export
from potstill.verbs.forecast import forecast
from potstill.verbs.generate import generate
from potstill.verbs.inspect import inspect
from potstill.verbs.label import label
from potstill.verbs.mix import mix
from potstill.verbs.report import report
from potstill.verbs.run import Run

__all__ = ["Run", "distill", "evaluate", "export", "forecast", "generate", "inspect", "label", "mix", "report"]
