"""The folder that ``distill`` returns gives the run's results."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from usage_errors import usage_error

import potstill
from potstill.families.base import Forecaster
from potstill.recipe import Recipe
from potstill.recipe.options import OPTIONS, DistillOptions


@pytest.fixture(scope="module")
def run(distilled: Path) -> potstill.Run:
    return potstill.Run(distilled)


def test_a_run_is_its_folder(run: potstill.Run, distilled: Path):
    assert run == Path(distilled)
    assert os.fspath(run) == str(distilled)
    assert type(run / "recipe.yaml") is type(Path())
    assert potstill.load(run).source.name


def test_results(run: potstill.Run):
    assert run.metrics == json.loads((run / "metrics.json").read_text())
    assert run.recipe.data.paths == Recipe.read(run / "recipe.yaml").data.paths
    assert isinstance(run.student, Forecaster)
    assert run.student is run.student
    assert run.report.read_text().startswith("<!")


def test_a_notebook_shows_the_summary(run: potstill.Run):
    shown = run._repr_html_()
    assert shown.startswith(f"<p><b>{run.summary[0].split('&')[0][:20]}")
    assert str(run.report) in shown


def test_an_unfinished_run_says_so(tmp_path: Path):
    run = potstill.Run(tmp_path / "new")
    assert "not finished" in run._repr_html_()
    for name in ("metrics", "recipe", "student", "report", "summary"):
        with usage_error("run.not_finished", str(run)):
            getattr(run, name)


def test_distill_and_mix_return_one(small_csv: Path, tiny_teacher: Path, tmp_path: Path):
    place, teacher, data = tmp_path / "run", str(tiny_teacher), str(small_csv)
    plan = potstill.distill(output=place, teacher=teacher, data=data, student="linear", dry_run=True)
    grown = potstill.mix(output=place, teacher=teacher, grow=teacher, layers=[0], data=data, dry_run=True)
    assert plan == grown == place
    assert isinstance(plan, potstill.Run)
    assert isinstance(grown, potstill.Run)


def test_the_typed_options_are_those_of_the_command_line():
    assert set(DistillOptions.__annotations__) == set(OPTIONS)
