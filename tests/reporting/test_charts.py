"""The chart data is short and has the resolution of a screen."""

from __future__ import annotations

import pytest
from fake_run import fake_log, small

from potstill.reporting.charts import styles
from potstill.reporting.curves import loss_curves, validation_curves
from potstill.reporting.figures import Figures
from potstill.reporting.forecasts import examples
from potstill.reporting.scatter import scatter


def test_curves_are_short_and_use_the_last_line_of_a_repeated_step() -> None:
    log = [{"event": "train", "step": s, "loss": float(s), "terms": {"pinball": 2.0 * s}} for s in range(1, 3001)]
    log.append({"event": "train", "step": 3000, "loss": 0.0, "terms": {}})
    log.append({"event": "eval", "step": 3000, "sql": 0.5, "model": "control"})
    curves = loss_curves(log)
    steps, values = curves["student"]["total"]
    assert (len(steps), steps[-1]) == (300, 3000)
    assert values[0] == 5.5  # mean of the first ten steps
    assert values[-1] == pytest.approx((sum(range(2991, 3000)) + 0.0) / 10)
    assert curves["student"]["terms"]["pinball"][1][0] == 11
    assert validation_curves(log, "sql") == {"control": [[3000], [0.5]]}
    assert set(loss_curves(fake_log())) == {"student", "control"}


def test_examples_have_the_resolution_of_a_screen() -> None:
    truth = [48_000 + 0.0123456789 * i for i in range(96)]
    one = {"dataset": "A", "kind": "worst", "context": [None, *truth, *truth], "truth": truth}
    one["forecasts"] = {"student": [truth] * 5, "torn": [truth]}
    found = list(
        examples({"levels": [0.9, 0.1, 0.4, 0.5, 0.6], "examples": [one, one | {"kind": "best"}, {"truth": []}]})
    )
    assert [example["kind"] for example in found] == ["best", "worst"]
    assert found[0]["band"] == [0.1, 0.5, 0.9]
    assert list(found[0]["forecasts"]) == ["student"]
    assert len(found[0]["context"]) == 144
    assert found[0]["truth"][1] == 48_000.0123


def test_scatter_offers_the_costs_that_two_models_share() -> None:
    axes = [axis["key"] for axis in scatter(Figures(small()))["axes"]]
    assert axes == ["series_per_second_b32", "parameters"]
    assert scatter(Figures({})) == {}


def test_a_calibrated_model_has_the_colour_of_the_model() -> None:
    names = ["student", "student+calibrated", "a+calibrated", "a", "b"]
    assert list(styles(names).values()) == [
        "m-student", "m-student calibrated", "m-other0 calibrated", "m-other0", "m-other1"
    ]  # fmt: skip
