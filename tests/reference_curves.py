"""Reference curves: what sixty steps of a tiny student of each kind give, kept so that a rewrite can be held to it.

A curve holds the loss and the terms of every step, and a hash of the weights after the last one. Runs go through the
public verb and are read from their run folder, so that the curves outlive whatever lies between the two.

    python tests/reference_curves.py --write [NAME…]    writes those curves again, or all of them

Write a curve again only where its numbers should change, and say why in the commit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

import potstill
from potstill import Recipe

HERE = Path(__file__).parent
FOLDER = HERE / "assets" / "curves"
STEPS = 60
LENGTH = 200  # tokens of a text

COMMON = {
    "training.max_steps": STEPS,
    "training.batch_size": 8,
    "training.seed": 0,
    "training.device": "cpu",
    "training.precision": "fp32",
    # one evaluation, after the last step: the student that a run keeps is then that of the last step
    "training.eval_steps": STEPS,
    "training.eval_windows": 4,
    "evaluation.max_windows": 4,
}
OF_TASK: dict[str, dict[str, Any]] = {
    # two of the embedded teacher's output patches, so that a horizon can vary by whole patches
    "forecast": {
        "teacher": {"source": "embedded", "precision": "fp32"},
        "data.context_length": 64,
        "data.prediction_length": 48,
        "evaluation.baselines": [],
    },
    "language": {"data.max_length": LENGTH},
}

# What is special about each curve; COMMON, OF_TASK and the paths of what `_recipe` makes are laid over it. A learning
# rate below 0.003 is as high as rounding allows: Chronos-2 and Moirai learn from quantiles, whose losses have kinks, in
# a chaotic way. At 0.003 an AVX2 and an AVX-512 run of chronos2_drawn were 2 % apart before step 20.
RECIPES = {
    "chronos2": """
        student:
          family: chronos2
          start: random
          overrides: {num_layers: 1, d_model: 32, num_heads: 2, d_kv: 16, d_ff: 64}
        training: {learning_rate: 1e-4}
        """,
    "chronos2_labels": """
        student:
          family: chronos2
          start: random
          overrides: {num_layers: 1, d_model: 32, num_heads: 2, d_kv: 16, d_ff: 64}
        training: {learning_rate: 1e-4}
        labels: auto
        """,
    "chronos2_drawn": """
        student:
          family: chronos2
          start: random
          overrides: {num_layers: 1, d_model: 32, num_heads: 2, d_kv: 16, d_ff: 64}
        data: {synthetic: 0.3, augmented: 0.3}
        training: {learning_rate: 1e-4, random_horizon: true, rollout: {share: 0.5, patches: 2}}
        """,
    "chronos2_gkd": """
        student:
          family: chronos2
          start: random
          overrides: {num_layers: 1, d_model: 32, num_heads: 2, d_kv: 16, d_ff: 64}
        training: {learning_rate: 3e-3, algorithm: gkd, gkd: {lmbda: 0.5, max_new_tokens: 48}}
        """,
    "moirai": """
        student: {family: moirai, overrides: {num_layers: 1, d_model: 64, patch_sizes: 16}}
        training: {learning_rate: 3e-4}
        """,
    "patch_transformer": """
        student:
          family: patch_transformer
          overrides: {num_layers: 1, d_model: 32, num_heads: 2, d_ff: 32, patch_size: 16}
        training: {learning_rate: 3e-3}
        """,
    "mixer": """
        student: {family: mixer, overrides: {num_layers: 1, d_model: 16, d_ff: 16, patch_size: 16}}
        training: {learning_rate: 3e-3}
        """,
    "linear": """
        student: {family: linear, overrides: {window: 25, rank: 8}}
        training: {learning_rate: 3e-3}
        """,
    "control": """
        student: {family: mixer, overrides: {num_layers: 2, d_model: 16, d_ff: 16, patch_size: 16}}
        training: {learning_rate: 3e-3}
        control: true
        control_steps: 60 # without them the control would get as many as the clock says
        """,
    "language": """
        task: language
        student: {family: gpt2, start: random, overrides: {n_layer: 1, n_embd: 16, n_head: 2}}
        training: {learning_rate: 3e-3}
        """,
    "language_labels": """
        task: language
        student: {overrides: {n_layer: 1}, start: copy}
        training: {learning_rate: 3e-3}
        labels: auto
        """,
    "language_gkd": """
        task: language
        student: {family: gpt2, start: random, overrides: {n_layer: 1, n_embd: 16, n_head: 2}}
        training: {learning_rate: 3e-3, algorithm: gkd, gkd: {lmbda: 0.5, max_new_tokens: 8}}
        """,
}

# Packages that not every installation has, by the word in a curve's recipe that asks for them
EXTRAS = {"family: moirai": ["uni2ts"], "algorithm: gkd": ["trl", "datasets"], "task: language": ["rouge_score"]}

EXACT = 1e-6
# On another processor, or with another release of torch, sums are rounded otherwise, and training amplifies that: two
# runs that differ in the last bit of a weight drift apart exponentially. A mistake shows in the first steps already.
# Measured with torch and MKL held to AVX2 and to SSE: at most 1.3e-5 in the early steps and 1e-4 later.
EARLY_STEPS, EARLY, LATE = 20, 1e-4, 1e-2

Curve = dict[str, Any]
"""``machine``; then by model ``{model} weights`` (a hash), ``{model} loss`` and ``{model} {term}`` (a value a step)."""


def extras(name: str) -> list[str]:
    """Modules that a curve needs beyond Potstill's own dependencies."""
    return [module for word, modules in EXTRAS.items() if word in RECIPES[name] for module in modules]


def run_curve(name: str, folder: Path) -> Curve:
    """Train by the curve's recipe in an empty folder."""
    recipe = _recipe(name, folder)
    with _on_one_thread(), _cache_in(folder / "cache"):
        run = potstill.distill(recipe, folder / "run")
    curve: Curve = {"machine": machine()}
    for model in ("student", "control") if recipe.control else ("student",):
        curve[f"{model} weights"] = hash_weights(run / model)
        curve |= {f"{model} {what}": values for what, values in _losses(run, model).items()}
    return curve


def read_curve(name: str) -> Curve:
    """The curve as it was written."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def write_curve(name: str, curve: Curve) -> None:
    """Keep a curve, a line for each of its parts."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in curve.items()]
    (FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def difference(name: str, old: Curve, new: Curve) -> str | None:
    """Where a curve leaves the one that was written, and what to do; None where it does not."""
    found = _first_difference(old, new)
    if found is None:
        return None
    return f"{name}: {found}\nIf that is wanted: python tests/reference_curves.py --write {name}"


def machine() -> dict[str, str]:
    """What decides how sums are rounded, and the packages that the numbers come from."""
    return {
        **_processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        **{package: _version(package) for package in ("torch", "numpy", "transformers", "chronos-forecasting", "trl")},
    }


def hash_weights(folder: Path) -> str:
    """Of names, shapes, types and bytes of the tensors; how they lie in their files does not count."""
    digest = hashlib.sha256()
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _first_difference(old: Curve, new: Curve) -> str | None:
    if missing := set(old) ^ set(new):
        return f"{', '.join(sorted(missing))}: only in the {'old' if missing & set(old) else 'new'} curve."
    same = old["machine"] == new["machine"]
    where = "" if same else ", on another machine than it was written on"
    series = [key for key, value in old.items() if isinstance(value, list)]
    for step in range(1, STEPS + 1):
        tolerance = EXACT if same else EARLY if step <= EARLY_STEPS else LATE
        for key in series:
            was, now = old[key][step - 1], new[key][step - 1]
            if not math.isclose(was, now, rel_tol=tolerance, abs_tol=EXACT):
                return f"differs first at step {step}: {key} was {was}, is {now} (tolerance {tolerance:g}{where})."
    for key in [key for key in old if key.endswith(" weights")]:
        if same and old[key] != new[key]:
            return f"the losses agree in all steps, but {key} do not: were {old[key][:12]}…, are {new[key][:12]}…."
    return None


def _recipe(name: str, folder: Path) -> Recipe:
    text = textwrap.dedent(RECIPES[name])
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    task = "language" if "task: language" in text else "forecast"
    made = _make_text(folder) if task == "language" else {"data.paths": [str(_make_series(folder))]}
    return Recipe.read(folder / "recipe.yaml", {**COMMON, **OF_TASK[task], **made})


def _make_series(folder: Path) -> Path:
    """640 hours of two noisy daily waves, one of them with a weekly one and gaps."""
    hours = np.arange(640)
    rng = np.random.default_rng(0)
    day, week = np.sin(2 * np.pi * hours / 24), np.sin(2 * np.pi * hours / 168)
    low = 3 * day + week + 0.5 * rng.normal(size=640)
    low[rng.random(640) < 0.03] = np.nan
    low[200:212] = np.nan
    high = 100 + 10 * day + 2 * rng.normal(size=640)
    path = folder / "series.csv"
    frame = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=640, freq="h"), "low": low, "high": high})
    # rounded, so that every machine writes the same file
    frame.round(3).to_csv(path, index=False)
    return path


def _make_text(folder: Path) -> dict[str, Any]:
    """A tiny GPT-2 and eighty Alpaca records."""
    from tiny_gpt2 import save_gpt2

    words = ["two", "and", "four", "course", "answer", "write", "below", "response"]
    records = [
        {
            "instruction": f"What is {words[i % 8]}?",
            "input": "",
            "output": f"{words[(3 * i + 1) % 8]}, of course, {i}.",
        }
        for i in range(80)
    ]
    path = folder / "alpaca.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return {"data.paths": [str(path)], "teacher": str(save_gpt2(folder / "teacher", positions=LENGTH))}


def _losses(run: Path, model: str) -> dict[str, list[float]]:
    """Of every step the loss and each term, to the nine digits that tell one float32 from another."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line["event"] == "train" and line["model"] == model]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1)), "not every step is in the log"
    logged = [{"loss": line["loss"], **line["terms"]} for line in lines]
    return {what: [float(f"{step[what]:.9g}") for step in logged] for what in logged[0]}


@contextmanager
def _on_one_thread() -> Iterator[None]:
    """The number of threads decides the order in which a sum is taken."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    before = os.environ.get("POTSTILL_CACHE")
    os.environ["POTSTILL_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["POTSTILL_CACHE"]
        else:
            os.environ["POTSTILL_CACHE"] = before


def _processor() -> dict[str, str]:
    """Its name, its model and what it can: virtual machines often tell a name that many processors share."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {"processor": platform.processor()}
    cpuinfo = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    kind = "/".join(cpuinfo.get(key, "?") for key in ("cpu family", "model", "stepping"))
    flags = " ".join(sorted(cpuinfo.get("flags", "").split()))
    name = cpuinfo.get("model name", platform.machine())
    return {"processor": f"{name}, {kind}", "flags": hashlib.sha256(flags.encode()).hexdigest()[:12]}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def main(arguments: list[str] | None = None) -> int:
    """Run the curves that are named; write them, or say how each stands to what was written."""
    parser = argparse.ArgumentParser(description="Run reference curves and compare them, or write them again.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(RECIPES)}")
    parser.add_argument("--write", action="store_true", help="keep what comes out")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(RECIPES):
        parser.error(f"no curve is called {', '.join(sorted(unknown))}; known: {', '.join(RECIPES)}")
    sys.path.append(str(HERE / "families" / "language"))  # of tiny_gpt2; pytest has it in its own list
    failed = 0
    for name in options.names or RECIPES:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            curve = run_curve(name, Path(folder))
        found = None
        if options.write:
            write_curve(name, curve)
        else:
            found = difference(name, read_curve(name), curve)
        failed += found is not None
        print(f"{name}: {time.perf_counter() - start:.1f} s", found or ("written" if options.write else "as written"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
