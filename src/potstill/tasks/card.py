"""The model card of a student: what it is, what it learned from, how good it is, under which licence.

Nothing in it depends on the clock, so that the same seed gives the same folder byte for byte.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from potstill.tasks.forecasting import Setup
from potstill.tasks.provenance import versions

LIBRARIES = {"chronos2": "chronos-forecasting", "moirai": "uni2ts"}  # what else loads a student as it is
SHOWN = ("sql_rel_naive", "mase_rel_naive", "mse", "coverage_80")


def card(setup: Setup, name: str, metrics: dict[str, Any]) -> str:
    """README.md of a student or control, with the front matter that hubs read."""
    recipe, data = setup.recipe, setup.recipe.data
    learns = name == "student" and bool(setup.objective().needs)
    # a control that starts from the teacher's weights is a derivative of it as well
    teachers = setup.teachers if learns or recipe.student.start == "teacher" else {}
    licences = sorted({t.source.licence for t in teachers.values() if t.source.licence})
    unknown = learns and (not teachers or any(t.source.licence is None for t in teachers.values()))
    head = {
        # what was distilled from a teacher of unstated licence cannot be given one here
        "license": "other" if unknown or len(licences) > 1 else licences[0] if licences else "apache-2.0",
        "library_name": LIBRARIES.get(setup.architecture.family, "potstill"),
        "pipeline_tag": "time-series-forecasting",
        "tags": ["time-series", "forecasting", "distillation", "potstill"],
        "base_model": [t.source.location for t in teachers.values() if _on_hub(t.source.location)] or None,
    }
    head = {key: value for key, value in head.items() if value is not None}
    taught = ", ".join(f"{n} ({t.family}, {t.parameters:,} parameters)" for n, t in teachers.items())
    files = ", ".join(map(_name, data.paths))
    how = (
        f"distilled from {taught or f'the labels in {recipe.labels and _name(recipe.labels)}'}"
        if learns
        else f"started from {taught} and trained on the truth alone"
        if taught
        else "trained on the truth alone, without a teacher"
    )
    lines = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {setup.architecture.family} {name}, {setup.architecture.parameters:,} parameters",
        f"A forecasting model {how}, made by Potstill. It reads up to {data.context_length} steps and gives"
        f" quantiles of the next {data.prediction_length}.",
        _usage(setup),
        "## Accuracy",
        _table(metrics, name, recipe.evaluation.split),
        "## Provenance",
        f"- data: {files} (split {data.split}, fingerprint `{setup.store.fingerprint[:16]}`)",
        *(
            f"- teacher {n}: {_name(t.source.location)}{f' @ {t.source.revision}' if t.source.revision else ''},"
            f" licence {t.source.licence or 'not stated'}, fingerprint `{t.fingerprint[:16]}`"
            for n, t in teachers.items()
        ),
        f"- seed {recipe.training.seed}; " + ", ".join(f"{k} {v}" for k, v in versions().items()),
    ]
    if licences:
        lines.append(f"\nThe teacher's licence ({', '.join(licences)}) applies to what was distilled from it.")
    return "\n\n".join(lines[:6]) + "\n\n" + "\n".join(lines[6:]) + "\n"


def _name(location: str) -> str:
    """A path by its last part: where a file lay on this machine is nobody's business; a hub id as it is."""
    return Path(location).name if Path(location).is_absolute() else location


def _on_hub(location: str) -> bool:
    return "/" in location and not Path(location).exists()


def _usage(setup: Setup) -> str:
    return (
        '```python\nimport potstill\n\nforecast = potstill.load("FOLDER").predict(context, prediction_length='
        f"{setup.recipe.data.prediction_length})\nforecast.quantiles  # [series, levels, steps]\n```"
    )


def _table(metrics: dict[str, Any], name: str, part: str) -> str:
    rows = ["| data set | " + " | ".join(SHOWN) + " |", "|---|" + "---|" * len(SHOWN)]
    for dataset, values in metrics["models"][name].items():
        cells = (f"{values[m]:.4g}" if values.get(m) is not None else "–" for m in SHOWN)
        rows.append(f"| {dataset} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + f"\n\nOn the {part} part; `…_rel_naive` is relative to seasonal naive (below 1 is better)."
