"""Writes students.md: the figures of students.json as tables."""

from __future__ import annotations

from typing import Any

from potstill.reporting.figures import compact

HEAD = """# Small students on the suite

Written by `python benchmarks/students.py`; the figures are those of `students.json`. Every model saw the same windows:
per column the latest 48, a horizon apart, in the last 20 % of each file. The suite is a set of public data sets. SQL is
the scaled quantile loss relative to seasonal naive's, as a geometric mean over the data sets (below 1 is better).
Brackets are 95 % intervals from a bootstrap that draws series first. SQL retention is the teacher's SQL over the
model's. Skill is 1 − SQL; skill retention is the model's skill over its teacher's. A control is the same student,
trained on the truth alone for the same time, labelling included. Ridge is a linear map fitted to each data set
separately; its size is that of one such map. Times are interleaved, in one process, and include the whole call from raw
series to quantiles (512 → 96).
"""


COSTS = {
    "parameters": "parameters",
    "bytes": "bytes on disk",
    "flops": "FLOPs per series",
    "latency_ms_b1": "ms, batch 1",
    "series_per_second_b32": "series/s, batch 32",
    "series_per_second_b256": "series/s, batch 256",
    "peak_mb": "working memory (MiB)",
}


def tables(figures: dict[str, Any]) -> str:
    """The page."""
    quick = "**A quick run: it shows that the script works. Its figures mean nothing.**\n\n" if figures["quick"] else ""
    left = [f"- {name}: {why}" for name, why in figures["left_out"].items()]
    parts = [HEAD, quick + accuracy(figures), "## By data set\n\n" + by_set(figures), "## Cost\n\n" + cost(figures)]
    parts += ["## Left out\n\n" + "\n".join(left)] if left else []
    return "\n".join(part.rstrip() + "\n" for part in parts)


def accuracy(figures: dict[str, Any]) -> str:
    """A row per arm, control, teacher and rival."""
    rows = []
    for name, arm in figures["arms"].items():
        student, control = arm["student"], arm["control"]
        ridge = arm["against_ridge"]
        rows += [
            [
                f"**{name}**",
                compact(arm["cost"]["parameters"]),
                f"{arm['steps']:,}",
                span(student["sql_rel_naive"]),
                span(student["retention"]["sql"]),
                span(student["retention"]["skill"]),
                span(arm["against_control"]),
                f"{span(ridge)}, {ridge['lower_on']} of {ridge['of']}",
                f"{student['coverage_80']:.2f}",
            ],
            [
                "its control",
                compact(arm["cost"]["parameters"]),
                f"{arm['control_steps']:,}",
                span(control["sql_rel_naive"]),
                span(control["retention"]["sql"]),
                span(control["retention"]["skill"]),
                "",
                "",
                f"{control['coverage_80']:.2f}",
            ],
        ]
    for name, other in figures["others"].items():
        size = compact(other["cost"]["parameters"])
        rows.append([name, size, "", span(other["sql_rel_naive"]), "", "", "", "", f"{other['coverage_80']:.2f}"])
    names = ["model", "parameters", "steps", "SQL", "SQL retention", "skill retention"]
    return grid([*names, "SQL / control's", "SQL / ridge's, lower on", "coverage of the 80 % band"], rows)


def by_set(figures: dict[str, Any]) -> str:
    """SQL relative to seasonal naive of each model on each data set."""
    sets = figures["sets"]
    columns = {}
    for name, arm in figures["arms"].items():
        columns |= {name: arm["student"], f"{name}, control": arm["control"]}
    columns |= figures["others"]
    rows = [[name, *(f"{found['datasets'][one]['value']:.3f}" for one in sets)] for name, found in columns.items()]
    rows.append(["windows", *(str(one["windows"]) for one in sets.values())])
    return grid(["model", *sets], rows)


def cost(figures: dict[str, Any]) -> str:
    """Size and speed of each model."""
    timed = {name: arm["cost"] for name, arm in figures["arms"].items()}
    timed |= {name: other["cost"] for name, other in figures["others"].items()}
    faster = {name: arm["times_teacher_b256"] for name, arm in figures["arms"].items()}
    rows = [
        [name, *(compact(found[key]) for key in COSTS), f"{faster[name]:.1f}" if name in faster else ""]
        for name, found in timed.items()
    ]
    return grid(["model", *COSTS.values(), "speed relative to its teacher, batch 256"], rows)


def span(found: dict[str, float] | None) -> str:
    """A figure with its interval; a dash where there is none."""
    if found is None:
        return "–"
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def grid(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, figures flush right."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
