"""A store's manifest: what goes into its key, and the sentences about labels of something else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from label_fakes import FakeTeacher, FakeWindows
from usage_errors import usage_error

from potstill.teaching.engines.forecasts import label_forecasts
from potstill.teaching.stores.forecasts import ForecastStore
from potstill.teaching.stores.logits import LogitStore
from potstill.teaching.stores.manifest import MANIFEST_FILE, Manifest

TEACHER, WINDOWS = FakeTeacher(), FakeWindows(100)
SETTINGS = {"temperature": 1.0, "kept": 64}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return label_forecasts(TEACHER, WINDOWS, tmp_path_factory.mktemp("store") / "labels", shard_windows=16)


@pytest.mark.parametrize(
    ("teacher", "windows", "key", "fact"),
    [
        (FakeTeacher(gain=2.0, name="other"), None, "labels.other_teacher", "other"),
        (FakeTeacher(levels=(0.1, 0.9)), None, "labels.other_teacher", "fake"),
        (None, FakeWindows(100, salt="2"), "labels.other_data", "yours"),
        (None, FakeWindows(100, context=20), "labels.other_settings", "context_length 16, this run has 20"),
        (None, FakeWindows(100, horizon=8), "labels.other_settings", "prediction_length 4, this run has 8"),
        (None, FakeWindows(100, stores_inputs=True), "labels.other_data", "inputs"),
    ],
)
def test_a_foreign_teacher_or_data_set_is_refused_by_name(store, teacher, windows, key, fact):
    with usage_error(key, str(store.folder), fact):
        ForecastStore.open(store.folder, dataset=windows, forecaster=teacher)
    with usage_error(key, fact):
        label_forecasts(teacher or TEACHER, windows or WINDOWS, store.folder, shard_windows=16)
    ForecastStore.open(store.folder, dataset=WINDOWS, forecaster=TEACHER)


def test_a_teacher_in_another_precision_is_refused(store):
    teacher = FakeTeacher()
    teacher.module.to(torch.bfloat16)
    with usage_error("labels.other_precision", "float32", "bfloat16"):
        ForecastStore.open(store.folder, forecaster=teacher)


def test_another_number_of_teachers_is_another_teacher(store, monkeypatch):
    monkeypatch.setattr(FakeTeacher, "precision", "float32 + float32")
    monkeypatch.setattr(FakeTeacher, "fingerprint", "2" * 64)
    with usage_error("labels.other_teacher", "yours is fake"):
        ForecastStore.open(store.folder, forecaster=FakeTeacher())


def test_an_edited_or_missing_manifest_is_refused(tmp_path):
    with usage_error("labels.no_store", "labels.json"):
        ForecastStore.open(tmp_path)
    store = label_forecasts(TEACHER, WINDOWS, tmp_path / "labels", shard_windows=64)
    manifest = store.folder / "labels.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"prediction_length": 4', '"prediction_length": 5'))
    with usage_error("labels.edited_manifest", str(manifest)):
        ForecastStore.open(store.folder)
    manifest.write_text(text[:50])
    with usage_error("labels.unreadable_manifest", str(manifest)):
        ForecastStore.open(store.folder)


@pytest.mark.parametrize("old", [{"teacher": "…", "levels": [0.5]}, {"kind": "logits", "kept": 64, "temperature": 1.0}])
def test_a_store_of_an_earlier_version_is_to_be_labelled_again(tmp_path, old):
    (tmp_path / MANIFEST_FILE).write_text(json.dumps({"format": 1, "key": "…", **old}))
    for kind in (ForecastStore, LogitStore):
        with usage_error("labels.other_format", "labels.json", "format 1"):
            kind.open(tmp_path)
    with usage_error("labels.other_format", "format 1"):
        label_forecasts(TEACHER, WINDOWS, tmp_path)


def test_a_store_of_the_other_kind_is_refused(store, tmp_path):
    with usage_error("labels.other_kind", "logits"):
        LogitStore.open(store.folder)
    manifest = Manifest.of("logits", TEACHER, WINDOWS, SETTINGS, 16)
    manifest.write(tmp_path)
    assert LogitStore.open(tmp_path, WINDOWS, TEACHER, 1.0).manifest == manifest
    with usage_error("labels.other_kind", "forecasts"):
        ForecastStore.open(tmp_path)
    with usage_error("labels.other_settings", "temperature 1.0", "2.0"):
        LogitStore.open(tmp_path, temperature=2.0)


def test_the_key_depends_on_what_a_label_is_and_on_nothing_else():
    manifest = Manifest.of("logits", TEACHER, WINDOWS, SETTINGS, 16, {"data": "here"})
    same = replace(manifest, teacher_name="renamed", rows=7, provenance={})
    assert same.key == manifest.key
    changes = {
        "kind": "forecasts",
        "teacher": "other",
        "data": "other",
        "precision": "bfloat16",
        "shard_rows": 32,
        "stores_inputs": True,
        "settings": {**SETTINGS, "kept": 32},
    }
    keys = {replace(manifest, **{name: value}).key for name, value in changes.items()}
    assert len(keys | {manifest.key}) == len(changes) + 1


def test_what_differs_in_the_data_is_named(tmp_path):
    made = {"data": {"split": "suite", "stride": 1, "paths": ["a.csv"]}, "training": {"seed": 0}, "teacher": {"x": 1}}
    store = label_forecasts(TEACHER, WINDOWS, tmp_path / "labels", provenance=made)
    other = FakeWindows(100, salt="2")
    asked = {"data": {**made["data"], "split": "8:1:1"}, "training": {"seed": 3}, "teacher": {"x": 2}}
    facts = "data.split suite, this run has 8:1:1", "training.seed 0, this run has 3"
    with usage_error("labels.other_data", *facts):
        ForecastStore.open(store.folder, other, settings=asked)
    with usage_error("labels.other_data", *facts):
        label_forecasts(TEACHER, other, store.folder, provenance=asked)
    with usage_error("labels.other_data", str(store.folder)):
        ForecastStore.open(store.folder, other, settings=made)


def test_the_manifest_tells_people_where_labels_come_from(tmp_path):
    label_forecasts(FakeTeacher(), FakeWindows(20), tmp_path / "labels", provenance={"data": ["ETTh1.csv"]})
    manifest = json.loads((tmp_path / "labels/labels.json").read_text())
    assert manifest["provenance"]["source"]["licence"] == "Apache-2.0"
    assert manifest["provenance"]["data"] == ["ETTh1.csv"]
    assert manifest["precision"] == "float32"
    assert len(manifest["key"]) == 64
