"""``evaluate`` and ``inspect`` of language models: any of one tokenizer, beside one another, outside of a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_gpt2 import save_gpt2, tokenizer_of
from transformers import AutoModelForCausalLM
from usage_errors import usage_error

import potstill
from potstill.families.load import is_language
from potstill.recipe import DataConfig, Recipe, SeriesData, TextData
from potstill.training.heap import BoundedHeap


@pytest.fixture
def run(recipe: Recipe, tmp_path: Path) -> Path:
    recipe.data.split = "6:2:2"
    return potstill.distill(recipe, tmp_path / "run")


def test_models_are_judged_as_in_their_run(run: Path, gpt2_folder: Path, data: Path, tmp_path: Path, capsys):
    capsys.readouterr()
    models = [f"student={run}", f"teacher={gpt2_folder}"]
    config = TextData(paths=[str(data)], max_length=200)
    folder = potstill.evaluate(models, config, tmp_path / "evaluation", reference="teacher")
    found, own = (json.loads((where / "metrics.json").read_text()) for where in (folder, run))
    assert found["models"] == own["models"]
    assert found["retention"] == own["retention"]
    assert found["provenance"]["models"]["student"]["fingerprint"] == potstill.inspect(str(run))["fingerprint"]
    assert found["account"]["data"]
    written = [json.loads((where / "generations.json").read_text()) for where in (folder, run)]
    assert written[0] == written[1]
    assert "Answers side by side" in (folder / "report.html").read_text()
    recipe = Recipe.read(folder / "recipe.yaml")
    assert (recipe.task, recipe.data.split, recipe.evaluation.split) == ("language", "6:2:2", "test")
    assert "left out: 1 records" in capsys.readouterr().err


def test_all_examples_and_a_length_that_follows_the_models(gpt2_folder: Path, data: Path, tmp_path: Path, capsys):
    short = save_gpt2(tmp_path / "short", positions=160)
    models = [str(gpt2_folder), str(short)]
    folder = potstill.evaluate(models, str(data), tmp_path / "evaluation", split="0:0:1")
    assert "160 tokens: short reads no more" in capsys.readouterr().err
    assert Recipe.read(folder / "recipe.yaml").data.max_length == 160
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["account"]["answers"]["examples"] == metrics["account"]["answers"]["of"] == 60
    few = potstill.evaluate(models[:1], str(data), tmp_path / "few", split="0:0:1", max_windows=7)
    answers = json.loads((few / "metrics.json").read_text())["account"]["answers"]
    assert (answers["examples"], answers["of"]) == (7, 60)
    assert metrics["reference"] == gpt2_folder.name


@pytest.mark.parametrize(
    ("options", "key", "facts"),
    [
        ({"stride": 5}, "recipe.key_of_another_kind", ["evaluation.stride"]),
        ({"baselines": ["ridge"]}, "recipe.key_of_another_kind", ["evaluation.baselines"]),
        ({"split": "ett"}, "split.unreadable", ["data.split", "'ett'"]),
        ({"split": "1:0:0"}, "data.empty_part", ["alpaca.json", "test", "1:0:0"]),
        (
            {"data": TextData(paths=["{data}"], max_length=300)},
            "data.too_long_for_model",
            ["data.max_length", "300", "256"],
        ),
        (
            {"data": SeriesData(paths=["{data}"], target=["a"])},
            "recipe.key_of_another_kind",
            ["data.target"],
        ),
        ({"data": DataConfig()}, "data.no_paths", ["--data"]),
        ({"data": pd.DataFrame({"text": ["two and two"]})}, "data.frame_of_text", ["Parquet"]),
        ({"models": ["{model}", "embedded"]}, "models.two_kinds", ["MODEL", "embedded"]),
        ({"models": ["{model}", "{other}"]}, "evaluation.different_tokenizers", ["other: "]),
        ({"models": ["{model}", "{absent}"]}, "model.no_such_folder", ["absent: "]),
    ],
)
def test_what_does_not_fit_leaves_no_folder(
    gpt2_folder: Path, data: Path, tmp_path: Path, options: dict, key: str, facts: list[str]
):
    other = save_gpt2(tmp_path / "other")
    tokenizer_of(eos_token="<end>", pad_token="<pad>").save_pretrained(other)
    places = {"model": gpt2_folder, "other": other, "absent": tmp_path / "absent", "data": data}
    given = {"models": ["{model}"], "data": str(data), **options}
    models = [text.format(**places) for text in given.pop("models")]
    data_given = given.pop("data")
    if isinstance(data_given, DataConfig) and data_given.paths:
        data_given = data_given.model_copy(update={"paths": [str(data)]})
    with usage_error(key, *facts):
        potstill.evaluate(models, data_given, tmp_path / "evaluation", **given)
    assert not (tmp_path / "evaluation").exists()


def test_a_model_alone_and_a_reference_as_it_was_given(gpt2_folder: Path, data: Path, tmp_path: Path):
    """One model is evaluated alone; the same path given twice is still one model."""
    folder = potstill.evaluate([str(gpt2_folder)], str(data), tmp_path / "one", reference=str(gpt2_folder))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["models"]) == [gpt2_folder.name]
    assert metrics["models"][gpt2_folder.name]["test"]["perplexity"] > 1
    assert not metrics["retention"]


def test_a_pad_token_that_a_model_cannot_read_is_refused(gpt2_folder: Path, data: Path, tmp_path: Path):
    """Two of one tokenizer with a pad token of its own; one of them has no embedding for it."""
    tokenizer = tokenizer_of(eos_token="<end>", pad_token="<pad>")
    folders = [shutil.copytree(gpt2_folder, tmp_path / name) for name in ("longer", "shorter")]
    for folder in folders:
        tokenizer.save_pretrained(folder)
    module = AutoModelForCausalLM.from_pretrained(folders[0])
    module.resize_token_embeddings(len(tokenizer))
    module.save_pretrained(folders[0])
    with usage_error("model.vocabulary_too_small", "shorter", "token 300", "300 embeddings"):
        potstill.evaluate([str(folder) for folder in folders], str(data), tmp_path / "evaluation")


def test_a_vocabulary_that_was_padded_is_compared_with_the_tokens_that_both_have(
    gpt2_folder: Path, data: Path, tmp_path: Path
):
    """Some checkpoints have more rows of embeddings than tokens; the further rows are no tokens."""
    padded = shutil.copytree(gpt2_folder, tmp_path / "padded")
    module = AutoModelForCausalLM.from_pretrained(padded)
    module.resize_token_embeddings(module.config.vocab_size + 56)
    module.save_pretrained(padded)
    run = potstill.evaluate([str(padded), str(gpt2_folder)], str(data), tmp_path / "evaluation")
    models = json.loads((run / "metrics.json").read_text())["models"]
    known, further = (models[name]["test"]["perplexity"] for name in (gpt2_folder.name, "padded"))
    assert np.isfinite([known, further]).all()


def test_without_rouge_nothing_is_begun(gpt2_folder: Path, data: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with usage_error("evaluation.rouge_not_installed", "potstill[lm]"):
        potstill.evaluate([str(gpt2_folder)], str(data), tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()


def test_a_missing_file_is_said_before_a_model_is_loaded(gpt2_folder: Path, recipe: Recipe, tmp_path, monkeypatch):
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("too late")

    absent = str(tmp_path / "absent.json")
    recipe.data.paths = [absent]
    for module in ("evaluate", "task"):
        monkeypatch.setattr(f"potstill.tasks.language.{module}.load_language", loaded)
    with usage_error("data.no_such_file", absent):
        potstill.evaluate([str(gpt2_folder)], absent, tmp_path / "out")
    with usage_error("data.no_such_file", absent):
        potstill.distill(recipe, tmp_path / "out")


def test_a_run_gives_memory_back(recipe: Recipe, tmp_path: Path, monkeypatch):
    """Training begins without holes and leaves none after an evaluation; labelling leaves none after a shard."""
    given: list[str] = []
    monkeypatch.setattr("potstill.teaching.engines.logits.release", lambda: given.append("shard"))
    monkeypatch.setattr(BoundedHeap, "on_train_begin", lambda *_, **__: given.append("begin"))
    monkeypatch.setattr(BoundedHeap, "on_evaluate", lambda *_, **__: given.append("evaluated"))
    recipe.labels = "auto"
    potstill.distill(recipe, tmp_path / "out")
    assert given == ["shard", "begin", "evaluated", "evaluated", "evaluated"]


def test_the_command_line_measures_and_inspects_them(gpt2_folder: Path, data: Path, tmp_path: Path):
    command = [sys.executable, "-m", "potstill"]
    shown = subprocess.run([*command, "inspect", str(gpt2_folder)], capture_output=True, text=True)
    assert "gpt2" in shown.stdout
    options = ["--data", str(data), "--split", "0:0:1", "--output", str(tmp_path / "out")]
    evaluate = ["evaluate", str(gpt2_folder), *options]
    done = subprocess.run([*command, *evaluate], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "perplexity on held-out answers" in done.stderr
    refused = subprocess.run(
        [*command, *evaluate[:-1], str(tmp_path / "b"), "--stride", "3"], capture_output=True, text=True
    )
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_a_forecasters_evaluation_refuses_what_is_for_text(tiny_teacher: Path, small_csv: Path, tmp_path: Path):
    with usage_error("recipe.key_of_another_kind", "data.max_length", "language models"):
        potstill.evaluate([str(tiny_teacher)], TextData(paths=[str(small_csv)], max_length=64), tmp_path / "evaluation")


def test_what_is_a_language_model(gpt2_folder: Path, tiny_teacher: Path, tmp_path: Path):
    bare = tmp_path / "bare"  # no class is named: its type tells
    bare.mkdir()
    (bare / "config.json").write_text('{"model_type": "llama"}')
    assert is_language(str(bare))
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF")
    assert [is_language(source) for source in (str(gpt2_folder), str(gguf), str(tmp_path))] == [True] * 3
    assert [is_language(source) for source in ("embedded", f"{tiny_teacher}", f"{tiny_teacher}:x=1")] == [False] * 3


def test_inspect_tells_what_a_language_model_is(gpt2_folder: Path):
    found = potstill.inspect(str(gpt2_folder))
    assert found["parameters"] == sum(found["parts"].values()) == found["bytes"] // 4
    assert found["parts"]["transformer.wte"] == 300 * 32
    assert (found["family"], found["architecture"], found["layers"], found["width"]) == ("language", "gpt2", 2, 32)
    assert (found["vocabulary"], found["max_length"]) == (300, 256)
