"""Windows per second of a Moirai teacher of the size of Salesforce's small model: 6 layers of width 384, 720 → 96.

Random weights, patches of 32, quantiles at nine levels; with all four components of the mixture distribution, and
without the negative binomial; fp32 and bf16 weights. The arms are interleaved.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import torch

from potstill.families.load import load_forecaster
from potstill.families.registry import family

SIZES, CONTEXT, HORIZON, WINDOWS = {"num_layers": 6, "d_model": 384}, 720, 96, 256


def main() -> None:
    """Build the models, time them interleaved, print."""
    given = harness.options(__doc__)
    moirai, context, arms = family("moirai"), torch.randn(WINDOWS, CONTEXT).cumsum(1), {}
    figures: dict[str, Any] = {"quick": given.quick, "windows": WINDOWS}
    with TemporaryDirectory() as folder:
        for counts in (True, False):
            name = "with_negative_binomial" if counts else "without"
            torch.manual_seed(0)
            architecture = moirai.design(None, {**SIZES, "negative_binomial": counts}, CONTEXT, HORIZON)
            moirai.build(architecture, 0.0).save(Path(folder) / name)
            figures[name] = {"parameters": architecture.parameters}
            for precision in ("fp32", "bf16"):
                model = load_forecaster(Path(folder) / name, precision=precision).freeze()
                arms[f"{name}/{precision}"] = lambda model=model: model.predict(context, HORIZON)
        times = harness.interleave(arms, rounds=1 if given.quick else 7)
    for arm, taken in times.items():
        name, precision = arm.split("/")
        rates = [WINDOWS / seconds for seconds in taken]
        figures[name][precision] = {"median": harness.median(rates), "least": min(rates), "most": max(rates)}
    harness.finish(figures, given.output)


if __name__ == "__main__":
    main()
