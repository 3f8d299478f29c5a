"""Copy the student of a run into the package as the embedded teacher: bf16 weights, config and a model card.

    python tools/embed_teacher.py runs/teacher [--mean FOLDER…] [--suite suite.json --kept kept.json]

``--mean`` names students saved earlier in the decay of the same run: the shipped weights are the mean of all of them.

The two JSON files hold the last line that the evaluation script outside the repository printed for each group of data
sets; their figures are written into the card.
"""

import argparse
import json
from pathlib import Path

import torch

from potstill.data.series.opening import open_store
from potstill.families.load import embedded_folder, load_forecaster
from potstill.recipe import ForecastRecipe
from potstill.runs import write_atomically, write_folder
from potstill.tasks.provenance import versions

LARGEST = 12e6

CARD = """---
license: apache-2.0
library_name: chronos-forecasting
pipeline_tag: time-series-forecasting
tags: [time-series, forecasting, potstill]
---

# The embedded teacher

A Chronos-2 of {parameters:,} parameters (bf16, {megabytes:.1f} MB) that ships with Potstill so that distillation can be
tried offline. It reads up to {context} steps and forecasts {horizon}. It does not replace `amazon/chronos-2`.

## What it was trained on

By `potstill distill recipes/teacher-embedded.yaml` (α = 0: no teacher of its own), {steps:,} steps of
{batch} windows{averaged}:

- {synthetic:.0%} series from Potstill's generators (`potstill.data.synthetic`), {augmented:.0%} mixed or warped real
  series (`potstill.data.series.augment`), the rest real windows;
- real series: the first 70 % of each of {datasets} data sets ({series:,} series), listed below; never their last 30 %.
  Only ETTh1 is in the package, unchanged and with its licence.
- Left out completely, to measure how the teacher generalises: {exclude}.

## Accuracy

Scaled quantile loss relative to seasonal naive (lower is better; geometric mean over data sets, 95 % interval), on the
last fifth of each series, which it never saw:

| group | relative SQL | interval | relative MASE |
|---|---|---|---|
{rows}

Data sets it was trained on: {names}.

Data fingerprint `{fingerprint}`, seed {seed}; {versions}.
"""


def main() -> None:
    """Copy, convert and describe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--mean", type=Path, nargs="+", default=[])
    parser.add_argument("--suite", type=Path)
    parser.add_argument("--kept", type=Path)
    options = parser.parse_args()
    recipe = ForecastRecipe.read(options.run / "recipe.yaml")
    teacher = load_forecaster(options.run / "student")
    average(teacher.module, [load_forecaster(folder).module for folder in options.mean])
    teacher.module.to(torch.bfloat16)
    folder = embedded_folder()
    write_folder(folder, teacher.save)
    size = (folder / "model.safetensors").stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{size:,} bytes: the package allows at most {LARGEST:,.0f}")
    write_atomically(
        folder / "README.md",
        _card(recipe, teacher, size, len(options.mean) + 1, {"suite": options.suite, "kept out": options.kept}),
    )
    print(f"{folder}: {teacher.parameters:,} parameters, {size:,} bytes")


def average(module: torch.nn.Module, others: list[torch.nn.Module]) -> None:
    """Replace the weights of a model by the mean of its own and those of other models."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.copy_(torch.stack([weight, *(other.get_parameter(name) for other in others)]).mean(dim=0))


def _card(recipe: ForecastRecipe, teacher, size: int, averaged: int, judged: dict[str, Path | None]) -> str:
    store = open_store(recipe.data)
    rows = []
    for group, path in judged.items():
        if path is not None:
            found = json.loads(path.read_text(encoding="utf-8").strip().splitlines()[-1])
            low, high = found["interval"]
            rows.append(f"| {group} | {found['geo_rel_sql']} | {low} – {high} | {found['geo_rel_mase']} |")
    return CARD.format(
        parameters=teacher.parameters,
        megabytes=size / 1e6,
        context=teacher.max_context,
        horizon=teacher.max_horizon,
        steps=recipe.training.max_steps,
        averaged=f" (the mean of the weights at {averaged} late steps)" if averaged > 1 else "",
        batch=recipe.training.batch_size,
        synthetic=recipe.data.synthetic,
        augmented=recipe.data.augmented,
        datasets=len(store.datasets),
        series=int(store.usable.sum()),
        exclude=", ".join(recipe.data.exclude),
        rows="\n".join(rows) or "| not measured | | | |",
        names=", ".join(store.datasets),
        fingerprint=store.fingerprint[:16],
        seed=recipe.training.seed,
        versions=", ".join(f"{k} {v}" for k, v in versions().items()),
    )


if __name__ == "__main__":
    main()
