"""What the evaluated series are, in words: how many, rows, step, season, dates, missing values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from potstill.reporting.figures import Figures
from potstill.reporting.phrases import percent
from potstill.reporting.values import mapping, number

MOST_LINES = 10  # data sets that get a sentence of their own
STEP_WORDS = {
    "h": "hourly", "D": "daily", "B": "on business days", "W": "weekly", "MS": "monthly", "ME": "monthly, at the end",
    "BMS": "monthly, on the first business day", "BME": "monthly, on the last business day", "QS": "quarterly",
    "QE": "quarterly", "YS": "yearly", "YE": "yearly", "min": "every minute", "s": "every second",
}  # fmt: skip
UNITS = {
    "h": "hours", "D": "days", "B": "business days", "W": "weeks", "MS": "months", "ME": "months", "QS": "quarters",
    "QE": "quarters", "YS": "years", "YE": "years", "min": "minutes", "s": "seconds", "ms": "milliseconds",
}  # fmt: skip


def data_lines(figures: Figures) -> list[str]:
    """One sentence for each data set; of many, the first ten and how many more there are."""
    found = mapping(mapping(figures.metrics.get("account")).get("series"))
    lines = [f"{name}: {_words(mapping(one))}." for name, one in list(found.items())[:MOST_LINES]]
    more = len(found) - MOST_LINES
    return [*lines, f"{more} more data sets are in metrics.json."] if more > 0 else lines


def step_words(alias: str) -> str:
    """A pandas offset alias in words: 'hourly', 'every 15 minutes', 'weekly (W-SUN)'; empty for no time."""
    if not alias:
        return ""
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(-\w+)?", alias)
    if match is None:
        return f"step {alias}"
    count, unit, anchor = int(match[1] or 1), match[2], f" ({alias})" if match[3] else ""
    if count > 1 and unit in UNITS:
        return f"every {count} {UNITS[unit]}{anchor}"
    return f"{STEP_WORDS[unit]}{anchor}" if count == 1 and unit in STEP_WORDS else f"step {alias}"


def _words(one: Mapping[str, Any]) -> str:
    series, rows, missing = (int(number(one.get(key)) or 0) for key in ("series", "rows", "missing"))
    parts = [f"{series:,} series" if series != 1 else "one series", f"{rows:,} rows", _steps(mapping(one.get("steps")))]
    season = int(number(one.get("season")) or 1)
    parts.append(f"a season of {season} steps" if season > 1 else "no season")
    if one.get("first") and one.get("last"):
        parts.append(f"from {_moment(one['first'])} to {_moment(one['last'])}")
    share = missing / rows if rows else 0.0
    parts.append(f"{missing:,} values missing ({percent(share, fine=True)})" if missing else "no missing values")
    return ", ".join(parts)


def _steps(steps: Mapping[str, Any]) -> str:
    """The step, or the most frequent of several."""
    if not steps:
        return "step unknown"
    first, *rest = steps
    words = step_words(first) or "without dates"
    return f"{words} ({percent(number(steps[first]) or 0.0)} of the series; also {_others(rest)})" if rest else words


def _others(aliases: list[str]) -> str:
    return ", ".join(step_words(alias) or "without dates" for alias in aliases[:3])


def _moment(text: Any) -> str:
    return str(text).replace("T", " ").removesuffix(":00")
