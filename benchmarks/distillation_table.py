"""Tables of ``distillation.py``: arms of one situation, number of windows and size, compared on the same windows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from students_judge import Judged, Scores

from potstill.evaluation.metrics import geometric_mean
from potstill.evaluation.outcome import SEASONAL_NAIVE

TEACHER = "teacher"
RANDOM_START, CUT_START = "smooth-0.8", "start-slow"  # the same loss and windows
UNTRAINED = "cut"
SAME_START = ("start-slow", "start-features", "start-relations", "start-two-teachers")  # cut on the real windows, too


@dataclass
class Group:
    """The cells that are compared: their situation, number of windows, size and budget, by arm and data set."""

    situation: str
    windows: int
    size: str
    equal: str
    results: Mapping[str, Mapping[str, list[dict[str, Any]]]]  # arm → data set → one result per seed


def read_groups(cells: Iterable[Any], folder: Path) -> list[Group]:
    """The finished cells by group; an arm without a result for every data set is left out."""
    found: dict[tuple[str, int, str, str], dict[str, dict[str, list[dict[str, Any]]]]] = {}
    for cell in cells:
        file = folder / "cells" / f"{cell.key}.json"
        if file.exists():
            group = found.setdefault((cell.situation, cell.source.windows, cell.size, cell.equal), {})
            result = json.loads(file.read_text(encoding="utf-8"))
            for name, scores in result.pop("sets").items():
                group.setdefault(cell.arm, {}).setdefault(name, []).append({**result, **scores})
    return [
        Group(situation, windows, size, equal, _complete(arms))
        for (situation, windows, size, equal), arms in found.items()
    ]


def figures_of(group: Group, teachers: Mapping[str, dict[str, Any]], controls: list[str]) -> dict[str, Any]:
    """Figures of every arm of a group.

    Parameters
    ----------
    group
        The results.
    teachers
        Scores of the first teacher by data set.
    controls
        Arms without a teacher; the one with the lowest SQL is the control that the others are compared with.
    """
    judged = [_judged(name, group, teachers[name]) for name in next(iter(group.results.values()))]
    scores = Scores(judged)
    relative = {arm: scores.of(arm)["sql_rel_naive"] for arm in (*group.results, TEACHER)}
    present = [arm for arm in controls if arm in group.results]
    control = min(present, key=lambda arm: relative[arm]["value"]) if present else None
    figures: dict[str, Any] = {}
    for arm, by_set in group.results.items():
        cells = [cell for seeds in by_set.values() for cell in seeds]
        coverage = {name: float(np.mean([cell["coverage"] for cell in seeds])) for name, seeds in by_set.items()}
        figures[arm] = {
            "sql_rel_naive": relative[arm],
            "by_dataset": {name: value["value"] for name, value in scores.of(arm)["datasets"].items()},
            "against_control": scores.ratio(arm, control) if control and arm != control else None,
            "retention": scores.retention(arm, TEACHER),
            "coverage_80": coverage,
            "spread": _seeds(by_set),
            "steps": float(np.mean([cell["steps"] for cell in cells])),
            "parameters": cells[0]["parameters"],
            "seeds": len(next(iter(by_set.values()))),
        }
    found = {"control": control, "teacher": relative[TEACHER], "arms": figures}
    if {RANDOM_START, CUT_START} <= set(group.results):
        found["steps_to_match_random_start"] = steps_to_match(group)
    if UNTRAINED in group.results:
        found["start_better_on_validation"] = keeping_the_start(group)
    return found


def keeping_the_start(group: Group) -> dict[str, dict[str, float]]:
    """What keeping a start that is better than all evaluations changes, for arms that start as the untrained cut.

    ``cases`` of ``cells`` in which the validation part prefers the start, and the SQL on the test part relative to that
    of the trained students, geometric mean over these cases (``sql_of_cases``) and over all cells (``sql``).
    """
    found = {}
    for arm in (arm for arm in SAME_START if arm in group.results):
        ratios = []
        for name, seeds in group.results[arm].items():
            for cut, trained in zip(group.results[UNTRAINED][name], seeds, strict=True):
                preferred = trained["validation_at_start"] < min(trained["validation"].values())
                ratios.append(float(np.nanmean(cut["sql"]) / np.nanmean(trained["sql"])) if preferred else 1.0)
        cases = [ratio for ratio in ratios if ratio != 1.0]
        found[arm] = {
            "cells": len(ratios),
            "cases": len(cases),
            "sql_of_cases": geometric_mean(np.array(cases)) if cases else 1.0,
            "sql": geometric_mean(np.array(ratios)),
        }
    return found


def steps_to_match(group: Group) -> dict[str, float | None]:
    """Steps until a cut start is as good as the random start ever was, as a share of all steps of the latter.

    By data set, on the validation part, mean over seeds; None if a seed never was.
    """
    found: dict[str, float | None] = {}
    for name, seeds in group.results[CUT_START].items():
        shares = []
        for cut, random in zip(seeds, group.results[RANDOM_START][name], strict=False):
            curve = {0: cut["validation_at_start"], **{int(k): v for k, v in cut["validation"].items()}}
            reached = [step for step, score in curve.items() if score <= min(random["validation"].values())]
            shares.append(min(reached) / random["steps"] if reached else None)
        found[name] = None if None in shares else float(np.mean(shares))
    return found


def markdown(group: Group, figures: Mapping[str, Any]) -> str:
    """The group's table."""
    arms = sorted(figures["arms"], key=lambda arm: figures["arms"][arm]["sql_rel_naive"]["value"])
    size = f"a {group.size} of the teacher's parameters"
    windows = f", {group.windows} windows" if group.windows else ""
    lines = [
        f"### {group.situation}{windows}, {size}, equal {group.equal}",
        "",
        "| arm | SQL relative to seasonal naive | against the control | SQL and skill kept | coverage of the 80 % band"
        " (lowest – highest) | steps | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in arms:
        one = figures["arms"][arm]
        kept = one["retention"]
        skill = "–" if kept["skill"] is None else f"{kept['skill']['value']:.3f}"
        bands = list(one["coverage_80"].values())
        coverage = f"{np.mean(bands):.2f} ({min(bands):.2f} – {max(bands):.2f})"
        name = f"{arm} (the control)" if arm == figures["control"] else arm
        lines.append(
            f"| {name} | {_span(one['sql_rel_naive'])} | {_change(one['against_control'])}"
            f" | {kept['sql']['value']:.3f}, {skill}"
            f" | {coverage} | {one['steps']:.0f} | {one['seeds']} |"
        )
    lines.append(f"| *teacher* | {_span(figures['teacher'])} | | | | | |")
    return "\n".join(lines)


def _judged(name: str, group: Group, teacher: Mapping[str, Any]) -> Judged:
    """The SQL of each arm on a data set's windows, averaged over seeds."""
    sql = {arm: np.mean([cell["sql"] for cell in sets[name]], axis=0) for arm, sets in group.results.items()}
    sql |= {TEACHER: np.array(teacher["sql"]), SEASONAL_NAIVE: np.array(teacher["naive"])}
    coverage = {arm: float(np.mean([cell["coverage"] for cell in sets[name]])) for arm, sets in group.results.items()}
    coverage |= {TEACHER: teacher["coverage"], SEASONAL_NAIVE: float("nan")}
    return Judged(name, np.array(teacher["series"]), np.array(teacher["origin"]), teacher["horizon"], sql, coverage)


def _seeds(by_set: Mapping[str, list[dict[str, Any]]]) -> list[float]:
    """The geometric mean over data sets of SQL relative to seasonal naive, one value per seed."""
    each = [[np.log(np.mean(cell["sql"]) / np.mean(cell["naive"])) for cell in seeds] for seeds in by_set.values()]
    return np.exp(np.mean(np.array(each), axis=0)).tolist()


def _complete(arms: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The arms that have as many results as the largest one; seeds are cut to those that all of its sets have."""
    most = max(len(sets) for sets in arms.values())
    whole = {arm: sets for arm, sets in arms.items() if len(sets) == most}
    return {
        arm: {name: seeds[: min(map(len, sets.values()))] for name, seeds in sets.items()}
        for arm, sets in whole.items()
    }


def _span(interval: Mapping[str, float]) -> str:
    return f"{interval['value']:.3f} ({interval['low']:.3f} – {interval['high']:.3f})"


def _change(ratio: Mapping[str, float] | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio['value'] - 1:+.1%} ({ratio['low'] - 1:+.1%} to {ratio['high'] - 1:+.1%})"
