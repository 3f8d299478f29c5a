"""``potstill export`` from a table to a folder that forecasts, is evaluated and teaches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from usage_errors import usage_error

import potstill
from potstill.families.exported import ExportedForecaster


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
