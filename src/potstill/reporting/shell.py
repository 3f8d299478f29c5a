"""The common parts of all pages: layout, style, headline with comparisons, account and provenance.

The page is a Jinja template with its style and scripts inlined. Jinja escapes the text, the data of the scripts is JSON
in an element that is not executed, and a content security policy allows only the script and style with given hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from potstill.reporting.charts import styles
from potstill.reporting.claims import Claim
from potstill.reporting.comparisons import Comparison
from potstill.reporting.figures import Figures, compact
from potstill.reporting.tree import present

PROVENANCE_ORDER = ("teachers", "experts", "models", "data", "seed", "versions", "hardware", "finished", "command")
STILL_TRAINING = "Still in training: nothing has been evaluated yet."


def fill(
    template: str,
    scripts: Sequence[str],
    *,
    name: str,
    figures: Figures,
    recipe: str,
    data: Mapping[str, Any],
    headline: str,
    lead: str,
    subtitle: str,
    claims: Sequence[Claim],
    comparisons: Sequence[Comparison],
    cautions: Sequence[str],
    **parts: Any,
) -> str:
    """A page as text.

    Parameters
    ----------
    template, scripts
        Files in ``templates/``; chart.js comes before the scripts and page.js after them.
    name
        The run's name.
    data
        The data that the scripts draw.
    headline, lead, subtitle
        The decision, a sentence on what it leaves open, and the models' sizes.
    parts
        Further variables of the template.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    style, script = _part("report.css"), "\n".join(_part(part) for part in ("chart.js", "csv.js", *scripts, "page.js"))
    environment = Environment(
        loader=PackageLoader("potstill.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"compact": compact, "label": figures.label, "tight": _tight, "plain": _plain}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    account, provenance = figures.metrics.get("account"), figures.metrics.get("provenance")
    return environment.get_template(template).render(
        name=name,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}",
        figures=figures,
        headline=headline if figures.metrics else STILL_TRAINING,
        lead=lead if figures.metrics else "",
        subtitle=subtitle,
        claims=claims,
        comparisons=[(comparison, _bar(comparison, comparisons)) for comparison in comparisons],
        cautions=cautions,
        data=data,
        styles=styles(figures.costed),
        account=present(_without_summary(account), grouped=True, first=("data", "datasets")) if account else None,
        provenance=present(provenance, first=PROVENANCE_ORDER) if provenance else None,
        recipe=recipe,
        **parts,
    )


def _without_summary(account: Any) -> Any:
    """The account without the part that the page says in sentences."""
    return (
        {key: value for key, value in account.items() if key != "series"} if isinstance(account, Mapping) else account
    )


def sizes(figures: Figures) -> str:
    """Teacher and subject with their parameters, for the subtitle."""
    found = [
        f"{figures.label(name)} {compact(size)}"
        for name in (figures.teacher, figures.subject)
        if name and (size := figures.cost(name, "parameters")) is not None
    ]
    return f"{' → '.join(found)} parameters" if found else ""


def _bar(comparison: Comparison, all_of_them: Sequence[Comparison]) -> dict[str, float]:
    """Positions in percent along a bar: zero, the difference, and its interval if there is one."""
    intervals = [c.interval for c in all_of_them if c.interval]
    ends = [c.change for c in all_of_them] + [end - 1 for span in intervals for end in (span.low, span.high)]
    low, high = min(*ends, -0.02), max(*ends, 0.02)
    places = {"zero": 0.0, "end": comparison.change}
    if comparison.interval:
        places |= {"low": comparison.interval.low - 1, "high": comparison.interval.high - 1}
    return {key: round(1 + 98 * (change - low) / (high - low), 2) for key, change in places.items()}


def _plain(value: float | None) -> str:
    """A number with all its digits, for a downloaded table; empty for None."""
    return "" if value is None else f"{value:.10g}"


def _tight(text: str) -> str:
    """Keep a percent sign on the same line as its number."""
    return text.replace(" %", "\u00a0%")


@cache
def _part(name: str) -> str:
    return files("potstill.reporting").joinpath("templates", name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
