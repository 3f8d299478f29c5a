"""The model cards of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potstill.reporting.figures import SOURCE, Figures
from potstill.reporting.phrases import fitted_to
from potstill.runs import write_atomically
from potstill.runs.card import CardFacts, CardTeacher, file_name, render_card
from potstill.tasks.base import Task
from potstill.tasks.provenance import versions
from potstill.tasks.stages import controls_of

CARD_METRICS = {
    "forecast": ("sql_rel_naive", "mase_rel_naive", "mse", "coverage_80"),
    "language": ("perplexity", "kl", "agreement", "rouge_l"),
}
PIPELINE_TAGS = {"forecast": "time-series-forecasting", "language": "text-generation"}
CARD_TAGS = {"forecast": ("time-series", "forecasting"), "language": ()}
MODEL_KINDS = {"forecast": "forecasting model", "language": "causal language model"}


def write_cards(task: Task, run: Path, models: Mapping[str, Any], metrics: dict[str, Any], fingerprint: str) -> None:
    """Write README.md of the student and the control into their folders."""
    for name in models:
        if (run / name).is_dir():
            write_atomically(run / name / "README.md", card(task, name, metrics, fingerprint))


def card(task: Task, name: str, metrics: dict[str, Any], fingerprint: str) -> str:
    """README.md of a student or control, with the metadata that model hubs read."""
    recipe, kind = task.recipe, task.recipe.task
    learns = name == "student" and task.learns_from_teacher
    # a control that starts from the teacher's weights is a derivative of it as well
    derived = learns or (task.start != "random" and not controls_of(task).get(name, False))
    facts = CardFacts(
        title=f"{task.architecture.label} {name}, {task.architecture.parameters:,} parameters",
        library=task.architecture.library or task.family.library,
        pipeline=PIPELINE_TAGS[kind],
        tags=(*CARD_TAGS[kind], "distillation", "potstill"),
        description=(_description(task, learns, derived), _usage(task)),
        accuracy=accuracy(metrics, name, recipe.evaluation.split, CARD_METRICS[kind]),
        paths=recipe.data.paths,
        split=recipe.data.split,
        data_fingerprint=fingerprint,
        seed=recipe.training.seed,
        versions=versions(),
        teachers=[
            CardTeacher(n, t.source.location, t.source.licence, t.fingerprint, t.source.revision)
            for n, t in {**task.teachers, **_source(task)}.items()
            if derived
        ],
        derived=derived,
    )
    return render_card(facts)


def _description(task: Task, learns: bool, derived: bool) -> str:
    what = f"A {MODEL_KINDS[task.recipe.task]} {_origin(task, learns, derived)}, made by Potstill."
    data = task.recipe.data
    if not task.horizon:
        return f"{what} It reads up to {data.max_length} tokens of a prompt and its answer."
    return (
        f"{what} It reads up to {data.context_length} steps and forecasts quantiles of the next"
        f" {data.prediction_length}."
    )


def _origin(task: Task, learns: bool, derived: bool) -> str:
    grown = "".join(f"grown from {file_name(t.source.location)} and " for t in _source(task).values())
    return grown + _training(task, learns, derived)


def _training(task: Task, learns: bool, derived: bool) -> str:
    teachers = ", ".join(f"{n} ({t.family}, {t.parameters:,} parameters)" for n, t in task.teachers.items())
    if learns:
        labels = getattr(task.recipe, "labels", None)
        return f"distilled from {teachers or f'the labels in {labels and file_name(labels)}'}"
    if derived and teachers:
        return f"started from {teachers} and trained on the ground truth alone"
    return "trained on the ground truth alone, without a teacher"


def _source(task: Task) -> dict[str, Any]:
    """The finished student that grew, by name; empty for a new student."""
    source = getattr(task, "source", None)
    return {} if source is None else {SOURCE: source}


def _usage(task: Task) -> str:
    if not task.horizon:
        return "`AutoModelForCausalLM.from_pretrained` loads it."
    return (
        '```python\nimport potstill\n\nforecast = potstill.load("FOLDER").predict(context, prediction_length='
        f"{task.horizon})\nforecast.quantiles  # [series, levels, steps]\n```"
    )


def accuracy(metrics: Mapping[str, Any], name: str, part: str, shown: tuple[str, ...]) -> tuple[str, str]:
    """A table of a model's metrics by data set, and a line about them."""
    rows = ["| data set | " + " | ".join(shown) + " |", "|---|" + "---|" * len(shown)]
    for dataset, values in metrics["models"][name].items():
        cells = (f"{values[m]:.4g}" if values.get(m) is not None else "–" for m in shown)
        rows.append(f"| {dataset} | " + " | ".join(cells) + " |")
    relative = "; `…_rel_naive` is relative to seasonal naive (below 1 is better)" if "sql_rel_naive" in shown else ""
    figures, more = Figures(metrics), ""
    calibrated = figures.calibrated(name)
    if calibrated and calibrated[0] == figures.calibrate_horizons(name):
        how = f"intervals {fitted_to(calibrated[0])} on each series"
        more = f" `potstill forecast` gives {how}: `coverage_80` is then {calibrated[1]:.4g} on average."
    return "\n".join(rows), f"On the {part} part{relative}.{more}"
