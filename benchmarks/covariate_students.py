"""Does a student that was distilled with covariates use them? Daily sales that promotions and prices decide.

    python benchmarks/covariate_students.py --runs runs/covariates

Twenty items of 500 days: a weekly wave, a promotion on one day in ten (which doubles or triples the sales), a price,
and noise. The same student is distilled from the embedded teacher with the two columns and without; both, and the
teacher, then forecast the last days with `potstill.forecast`. The mean absolute error (MAE) of the median, over
origins; `perfect` is the noise alone, which no forecast can avoid. Finished runs are not trained again.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import pandas as pd

import potstill
from potstill.recipe import Recipe

ITEMS, DAYS, HELD_OUT, HORIZON, CONTEXT = 20, 500, 84, 14, 128
KNOWN = ["promo", "price"]
ORIGINS = (14, 28, 42, 56, 70, 84)  # days before the end
MODELS = ("teacher", "with", "without")


def sales(seed: int) -> pd.DataFrame:
    """The table; column ``mean`` is what the sales would be without noise."""
    rng = np.random.default_rng(seed)
    parts = []
    for item in range(ITEMS):
        day = np.arange(DAYS)
        promo = (rng.random(DAYS) < 0.1).astype(float)
        price = 10 + rng.normal(0, 0.5, DAYS) - 2 * promo
        wave = 5 * np.sin(2 * np.pi * (day + rng.integers(7)) / 7)
        mean = rng.uniform(20, 40) + wave + rng.uniform(30, 50) * promo - 3 * (price - 10)
        parts.append(
            pd.DataFrame(
                {
                    "item": f"P{item:02}",
                    "day": pd.date_range("2023-06-01", periods=DAYS),
                    "sold": (mean + rng.normal(0, 3, DAYS)).round(1),
                    "promo": promo.astype(int),
                    "price": price.round(2),
                    "mean": mean,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def distilled(train: Any, run: Path, steps: int, known: list[str]) -> potstill.Run:
    """The student's run; the truth teaches it the effects, because the teacher hardly uses them."""
    if (run / "metrics.json").exists():
        return potstill.Run(run)
    keys: dict[str, Any] = {"data.known": known, "data.context_length": CONTEXT, "data.prediction_length": HORIZON}
    keys |= {"objective.grouped": "truth", "evaluation.baselines": ["seasonal_naive"]}
    return potstill.distill(
        Recipe.lay_over({}, keys), run, teacher="embedded", data=train, target="sold", id_column="item", max_steps=steps
    )


def errors(model: Any, table: pd.DataFrame, known: list[str]) -> np.ndarray:
    """MAE ``[items · origins]`` of the median."""
    found = []
    columns = ["item", "day", "sold", *known]
    for back in ORIGINS:
        end = table["day"].max() - pd.Timedelta(days=back)
        past = table[table["day"] <= end]
        ahead = table[(table["day"] > end) & (table["day"] <= end + pd.Timedelta(days=HORIZON))]
        more = {"known": known, "future": ahead[["item", "day", *known]]} if known else {}
        with redirect_stderr(io.StringIO()):
            forecast = potstill.forecast(
                model, past[columns], HORIZON, target="sold", id_column="item", quantiles=[0.5], **more
            )
        both = forecast.merge(ahead[["item", "day", "sold"]], on=["item", "day"], validate="one_to_one")
        found.append((both["q0.5"] - both["sold"]).abs().groupby(both["item"]).mean().to_numpy())
    return np.concatenate(found)


def ratio(above: np.ndarray, below: np.ndarray) -> dict[str, float]:
    """Ratio of mean errors, with a 95 % interval: paired bootstrap over items, with all origins of an item."""
    rng = np.random.default_rng(0)
    above, below = (x.reshape(len(ORIGINS), ITEMS).mean(axis=0) for x in (above, below))
    rows = rng.integers(0, ITEMS, (1000, ITEMS))
    low, high = np.quantile(above[rows].mean(axis=1) / below[rows].mean(axis=1), [0.025, 0.975])
    return {"value": above.mean() / below.mean(), "low": low, "high": high}


def main() -> None:
    """Train what is missing, forecast, and print the figures."""
    parser = harness.parser(__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/covariates"), help="folder of the two runs")
    parser.add_argument("--steps", type=int, default=2000, help="steps of each student")
    given = parser.parse_args()
    table = sales(seed=0)
    begin = table["day"].max() - pd.Timedelta(days=HELD_OUT)
    train, held_out = table[table["day"] <= begin], table[table["day"] > begin]
    steps, runs = (20, given.runs / "quick") if given.quick else (given.steps, given.runs)
    arms = {"with": KNOWN, "without": []}
    models: dict[str, Any] = {
        name: distilled(train.drop(columns="mean"), runs / name, steps, known) for name, known in arms.items()
    }
    models["teacher"] = "embedded"
    found = {name: errors(models[name], table, arms.get(name, KNOWN)) for name in MODELS}
    figures = {
        "quick": given.quick,
        "steps": steps,
        "windows": len(found["with"]),
        "mae": {name: one.mean() for name, one in found.items()}
        | {"perfect": np.abs(held_out["sold"] - held_out["mean"]).mean()},
        "with/without": ratio(found["with"], found["without"]),
        "with/teacher": ratio(found["with"], found["teacher"]),
    }
    harness.finish(figures, given.output)


if __name__ == "__main__":
    main()
