"""``potstill export`` from a table to a folder that forecasts, is evaluated and teaches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from usage_errors import usage_error

import potstill
from potstill.families.base import Forecaster
from potstill.families.exported import ExportedForecaster
from potstill.recipe import SeriesData
from potstill.types import Windows


@pytest.fixture(scope="module")
def folder(tiny_teacher: Path, small_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export") / "exported"
    found = potstill.export(tiny_teacher, place, data=small_csv)
    assert found.folder == place
    assert abs(found.loss) < 1e-4
    return place


def test_the_folder_describes_itself(folder: Path, tiny_teacher: Path):
    manifest = json.loads((folder / "export.json").read_text())
    parity = manifest["parity"]
    assert parity["sql"]["exported"] == pytest.approx(parity["sql"]["pytorch"], rel=1e-4)
    assert 0 < parity["mean_difference"] <= parity["max_difference"] < 1e-3
    assert parity["cost"]["cold_start_seconds"] > 0
    assert parity["cost"]["exported"]["latency_ms_b1"] > 0
    assert manifest["provenance"]["fingerprint"] == potstill.load(tiny_teacher).fingerprint
    card = (folder / "README.md").read_text()
    assert "Compared with PyTorch" in card
    assert str(folder.parent) not in card


def test_it_is_a_model(folder: Path, tiny_teacher: Path):
    model, original = potstill.load(folder), potstill.load(tiny_teacher)
    assert isinstance(model, ExportedForecaster)
    assert model.parameters == original.parameters
    contexts = [np.sin(np.arange(n) / 3) for n in (50, 9)]
    np.testing.assert_allclose(
        model.predict(contexts, 12).quantiles, original.predict(contexts, 12).quantiles, atol=1e-4
    )


def test_it_forecasts_a_table(folder: Path, small_csv: Path, tmp_path: Path):
    potstill.forecast(folder, small_csv, 8, output=tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert len(table) > 0
    assert table["q0.5"].notna().to_numpy().all()


def test_it_is_evaluated_next_to_the_model(folder: Path, tiny_teacher: Path, small_csv: Path, tmp_path: Path):
    run = potstill.evaluate(
        [f"original={tiny_teacher}", f"onnx={folder}"], small_csv, tmp_path / "run", baselines=["seasonal_naive"]
    )
    metrics = json.loads((run / "metrics.json").read_text())
    (name,) = metrics["models"]["onnx"]
    assert metrics["models"]["onnx"][name]["sql"] == pytest.approx(metrics["models"]["original"][name]["sql"], rel=1e-4)
    assert metrics["cost"]["onnx"]["bytes"] > 0
    assert "onnx" in (run / "report.html").read_text()


def test_a_loss_is_refused_unless_allowed(
    tiny_teacher: Path, small_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from potstill.exporting import parity

    monkeypatch.setattr(parity, "added_loss", lambda exported, pytorch: 0.02)
    with usage_error("export.loss", "loses 2.0 % SQL"):
        potstill.export(tiny_teacher, tmp_path / "out", data=small_csv)
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.iterdir()) == []
    assert potstill.export(tiny_teacher, tmp_path / "out", data=small_csv, allow_loss=True).loss == 0.02


def test_an_existing_folder_or_an_exported_model_is_refused(folder: Path, tiny_teacher: Path, tmp_path: Path):
    with usage_error("export.exists", "already exists"):
        potstill.export(tiny_teacher, folder)
    with usage_error("export.already_exported", "is exported already"):
        potstill.export(folder, tmp_path / "again")


@pytest.mark.parametrize(("name", "key"), [("model.onnx", "export.cannot_load"), ("export.json", "model.bad_config")])
def test_a_damaged_folder_is_one_sentence(name: str, key: str, folder: Path, tmp_path: Path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / name).write_bytes((copy / name).read_bytes()[:-100])
    with usage_error(key, "again"):
        potstill.load(copy)


def test_a_language_model_is_exported_with_its_perplexity(tmp_path: Path):
    from tiny_gpt2 import save_gpt2

    from potstill.exporting.language import OnnxLanguageModel

    records = [{"instruction": f"say {n}", "input": "", "output": f"{n} " * 5} for n in range(60)]
    (tmp_path / "texts.json").write_text(json.dumps(records))
    model = save_gpt2(tmp_path / "gpt2", positions=256)
    found = potstill.export(model, tmp_path / "out", data=tmp_path / "texts.json")
    assert [row.form for row in found.rows] == ["PyTorch fp32", "ONNX fp32"]
    assert abs(found.loss) < 1e-4
    assert OnnxLanguageModel.load(tmp_path / "out").generate(["say 3"], max_new_tokens=3)
    with usage_error("export.no_data", "--data"):
        potstill.export(model, tmp_path / "other")


def test_series_without_a_scale_cannot_be_compared(tiny_teacher: Path, tmp_path: Path):
    """A week that repeats exactly: seasonal naive has no error to scale by."""
    table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=420), "y": [1.0, 2, 3, 4, 5, 9, 8] * 60})
    with usage_error("export.no_windows", "--data"):
        potstill.export(tiny_teacher, tmp_path / "out", data=table)
    assert list(tmp_path.iterdir()) == []


def test_int4_is_not_for_forecasters(tiny_teacher: Path, tmp_path: Path):
    with usage_error("export.language_only", "int8"):
        potstill.export(tiny_teacher, tmp_path / "out", quantize="int4")


COLUMNS: dict[str, Any] = {"target": "y", "known": ["promo"], "past": ["visits"]}
LISTS: dict[str, Any] = {**COLUMNS, "target": ["y"]}


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shops with a covariate that is known ahead and one of the past; the last eight days have no sales yet."""
    rng = np.random.default_rng(0)
    promo = (rng.random(240) < 0.3).astype(float)
    y = np.tile(np.sin(np.arange(120)), 2) + promo + 0.1 * rng.standard_normal(240)
    days = pd.date_range("2024-01-01", periods=120)
    table = pd.DataFrame({"unique_id": np.repeat(["a", "b"], 120), "ds": np.tile(days, 2), "y": y, "promo": promo})
    ahead = table.groupby("unique_id").cumcount() >= 112
    path = tmp_path_factory.mktemp("shops") / "shops.csv"
    table["visits"] = 3 * table.y
    table.loc[ahead, ["y", "visits"]] = np.nan
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def related(tiny_teacher: Path, shops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with groups, compared on windows that have both covariates and the other shop."""
    data = SeriesData(paths=[str(shops)], groups="table", prediction_length=8, split="5:3:2", **LISTS)
    found = potstill.export(tiny_teacher, tmp_path_factory.mktemp("export") / "related", data=data, groups=True)
    assert found.manifest.groups
    assert abs(found.loss) < 1e-4
    assert "without groups" not in found.manifest.parity["windows"]
    return found.folder


def test_groups_and_covariates_are_forecast_as_in_pytorch(related: Path, tiny_teacher: Path, shops: Path):
    found, wanted = (potstill.forecast(one, shops, 8, groups="table", **COLUMNS) for one in (related, tiny_teacher))
    alone = potstill.forecast(related, shops, 8, target="y")
    quantiles, other, single = (one.filter(like="q0.").to_numpy() for one in (found, wanted, alone))
    np.testing.assert_allclose(quantiles, other, atol=1e-4)
    assert np.abs(quantiles - single[: len(quantiles)]).max() > 1e-2


def test_a_frame_with_covariates_is_forecast_as_in_pytorch(related: Path, tiny_teacher: Path, shops: Path):
    frame = pd.read_csv(shops, parse_dates=["ds"])
    history = frame[frame.y.notna()].assign(weather="sun")  # categories, too
    ahead = frame[frame.y.isna()][["unique_id", "ds", "promo"]]
    found, wanted = (
        potstill.load(model).predict_df(history, ahead, "unique_id", "ds", "y", 8, cross_learning=True)
        for model in (related, tiny_teacher)
    )
    pd.testing.assert_frame_equal(found, wanted, atol=1e-4)


def test_covariates_are_evaluated(related: Path, tiny_teacher: Path, shops: Path, tmp_path: Path):
    data = SeriesData(paths=[str(shops)], groups="table", prediction_length=8, split="5:3:2", **LISTS)
    run = potstill.evaluate([f"original={tiny_teacher}", f"onnx={related}"], data, tmp_path / "run", baselines=[])
    models = json.loads((run / "metrics.json").read_text())["models"]
    (name,) = models["onnx"]
    assert models["onnx"][name]["sql"] == pytest.approx(models["original"][name]["sql"], rel=1e-4)


def test_generated_series_have_groups(tiny_teacher: Path):
    from potstill.exporting.validation import validation_of
    from potstill.tasks.lengths import fit_lengths

    model = potstill.load(tiny_teacher)
    assert isinstance(model, Forecaster)
    windows = validation_of(model, None, lambda data, store: fit_lengths(data, store, [model]), groups=True).sample(64)
    assert windows.past_covariates is not None
    assert windows.past_covariates.shape[1] == 1 + 3  # the covariate, and three series of the group
    assert windows.future_covariates is not None
    assert np.isfinite(windows.future_covariates).all()


def test_covariates_that_no_form_would_read_are_refused(folder: Path, tiny_teacher: Path, shops: Path, tmp_path: Path):
    with usage_error("export.covariates_without_groups", "add --groups"):
        potstill.export(tiny_teacher, tmp_path / "out", data=SeriesData(paths=[str(shops)], **LISTS))
    with usage_error("model.no_groups", "potstill export --groups"):
        potstill.forecast(folder, shops, 8, **COLUMNS)
    model = potstill.load(folder)
    with usage_error("model.no_groups", "potstill export --groups"):
        model.predict(Windows.of_context(torch.zeros(2, 9), 3, group=torch.zeros(2, dtype=torch.int64)), 3)


@pytest.mark.parametrize("options", [{"format": "onx"}, {"quantize": "int9"}])
def test_unknown_forms(tiny_teacher: Path, tmp_path: Path, options: Any):
    name = next(iter(options)).replace("quantize", "quantisation")
    with usage_error(f"names.unknown_{name}", "Did you mean"):
        potstill.export(tiny_teacher, tmp_path / "exported", **options)
