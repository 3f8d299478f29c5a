"""Does a forecaster's attention stay soft? Entropy by layer, of models and after short trainings at several rates.

    python benchmarks/attention_entropy.py [MODEL…]      default: the embedded teacher
    python benchmarks/attention_entropy.py --train       width 256 and 512, several rates of queries and keys

Chronos-2 does not scale its attention scores. At a high learning rate they grow until every head attends to one token
(entropy 0). Then the gradients no longer reach queries and keys, and the model stops learning from distant tokens.
A weight changes by about its rate in each step, so that a score's change grows with the width.

The entropy is that of the six last tokens' attention along time, in nats: the mean over heads and over 200 validation
windows of the embedded data sets (context 512). Uniform attention has about 3.6. Trainings: 3 layers, 300 steps of 32
windows by `recipes/teacher-embedded.yaml`, from the embedded data sets; all weights but queries and keys at 1e-3. Also
the SQL of the averaged weights on validation windows, relative to seasonal naive.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import torch

from potstill.families.base import Forecaster
from potstill.families.load import load_forecaster
from potstill.recipe import Recipe
from potstill.tasks.forecasting import ForecastTask
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.teaching.base import TrainingData
from potstill.types import Request, Windows

RECIPE = Path(__file__).parents[1] / "recipes" / "teacher-embedded.yaml"
CONTEXT, HORIZON, WINDOWS, LAST_TOKENS = 512, 96, 200, 6
RATE, STEPS, BATCH = 1e-3, 300, 32
WIDTHS, RATES = (256, 512), (1e-3, 5e-4, 2.5e-4, 1.25e-4)


def main() -> None:
    """Print the entropies of models, or of trainings."""
    parser = harness.parser(__doc__)
    parser.add_argument("models", nargs="*", default=["embedded"])
    parser.add_argument("--train", action="store_true", help="train with several rates")
    given = parser.parse_args()
    figures: dict[str, Any] = {"quick": given.quick}
    if given.train:
        for width in WIDTHS[:1] if given.quick else WIDTHS:
            for rate in RATES[:1] if given.quick else RATES:
                found = trained(width, rate, 3 if given.quick else STEPS)
                figures[f"width {width}, rate {rate}"] = found
                print(width, rate, found, file=sys.stderr, flush=True)
    else:
        windows = sample(task(64, RATE, 10))
        figures |= {Path(name).name: entropies(load_forecaster(name).freeze(), windows) for name in given.models}
    harness.finish(figures, given.output)


def task(width: int, rate: float, steps: int) -> ForecastTask:
    """The recipe on the embedded data sets, with a student of this width and this rate of queries and keys."""
    sizes = {"num_layers": 3, "d_model": width, "d_ff": 3 * width, "num_heads": max(1, width // 64)}
    settings = {
        "data.paths": ["embedded"],
        "data.train_only": [],
        "data.exclude": [],
        "data.context_length": CONTEXT,
        "data.prediction_length": HORIZON,
        "data.device.pool": 2048,
        "data.device.refresh": False,
        "data.device.workers": 0,
        "data.device.contexts": {CONTEXT: 1.0},
        "data.device.horizons": {HORIZON: 1.0},
        "data.device.groups.share": 0.0,
        "training.learning_rate": RATE,
        "training.learning_rates": {"student.*.q.weight": rate, "student.*.k.weight": rate},
        "training.batch_size": BATCH,
        "training.max_steps": steps,
        "training.warmup": 0.2,
        "training.ema": 0.98,
        "training.eval_steps": steps,
        "training.eval_windows": 500,
    }
    return prepare_forecasting(
        Recipe.read(RECIPE, settings | {f"student.overrides.{key}": value for key, value in sizes.items()})
    )


def trained(width: int, rate: float, steps: int) -> dict[str, Any]:
    """Entropies and relative SQL of a student after its training."""
    given = task(width, rate, steps)
    data = TrainingData(given.dataset(steps * BATCH))
    run = given.training("student", data, steps, given.validation(), random_start=True)
    with tempfile.TemporaryDirectory() as folder:
        run.run(Path(folder), resume=False)
        student = load_forecaster(str(Path(folder) / "student")).freeze()
    return {
        "entropy": entropies(student, sample(given)),
        "relative_sql": given.validation()(student)["rel_naive"],
    }


def sample(given: ForecastTask) -> Windows:
    """Validation windows, evenly spaced."""
    found = given.validation_windows
    return found.batch(np.linspace(0, len(found) - 1, WINDOWS).astype(int))


@torch.no_grad()
def entropies(model: Forecaster, windows: Windows) -> list[float]:
    """Mean entropy of the attention along time, by layer."""
    layers = tuple(range(model.layers))
    maps = model.forward(windows, Request(HORIZON, attention=layers)).attention
    return [float(torch.special.entr(maps[layer][:, :, -LAST_TOKENS:]).sum(dim=-1).mean()) for layer in layers]


if __name__ == "__main__":
    main()
