"""The summary of a run: the decision, then comparisons with other models, then claims, data and cautions.

The command line prints ``summary_lines`` and the report shows the same sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from potstill.reporting.claims import claims, usual_claims
from potstill.reporting.comparisons import comparisons
from potstill.reporting.data_words import data_lines
from potstill.reporting.decision import headline, lead
from potstill.reporting.figures import Figures
from potstill.reporting.phrases import fitted_to, percent

TERMS = (
    "Skill is how far the scaled quantile loss (SQL) is below that of seasonal naive, which repeats the last season;"
    " CI is the confidence interval."
)


def summary_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The results of a run in sentences, most important first.

    Parameters
    ----------
    metrics
        The content of metrics.json; any part may be absent.

    Returns
    -------
    list of str
        One sentence each. Never empty.
    """
    figures = Figures(metrics)
    terms = [] if figures.subject is None else [TERMS]
    opened = [line for line in (headline(figures), lead(figures)) if line]
    lines = [*opened, *terms, *(comparison.sentence for comparison in comparisons(figures))]
    measured = claims(figures)
    notes = [f"{claim.measured} {claim.what}: {claim.note}." for claim in measured if claim.note]
    return lines + usual_claims(measured) + notes + data_lines(figures) + cautions(figures)


def cautions(figures: Figures) -> list[str]:
    """Limits of the results above."""
    found = []
    coverage = figures.mean(figures.subject, "coverage_80")
    if coverage is not None and not figures.too_few:
        width = "too narrow" if coverage < 0.75 else "too wide" if coverage > 0.85 else "close to 80 %"
        calibrated, default = figures.calibrated(figures.subject), figures.calibrate_horizons(figures.subject)
        more = ""
        if calibrated:
            how = ", the default of `potstill forecast`," if calibrated[0] == default else ""
            more = f" With a width {fitted_to(calibrated[0])} on each series{how} it covers {percent(calibrated[1])}."
        elif not default and not 0.75 <= coverage <= 0.85:
            more = " --calibrate 4 of forecast and evaluate fits its width to the last errors on each series."
        found.append(f"Its 80 % interval covers {percent(coverage)} of the true values: {width}.{more}")
    without_control = "student" in figures.models and "control" not in figures.models
    if figures.teacher is not None and without_control and not figures.experts:  # a mixture has its experts instead
        found.append("No control was trained (--control), so the effect of the teacher is not known.")
    teacher = figures.overall_relative(figures.teacher)
    if teacher is not None and teacher >= 1:
        found.append(f"The teacher itself is no better than seasonal naive here ({teacher:.2f} of its SQL).")
    if figures.datasets and all(name.startswith("ETT") for name in figures.datasets):
        found.append("ETT data alone prove little: a linear model is as accurate as foundation models on them.")
    elif len(figures.datasets) == 1:
        found.append("Only one data set: with plenty of data from one domain, most of the skill is easy to keep.")
    return found
