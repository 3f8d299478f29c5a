"""Data, tables and labels behind URLs, on a local server that speaks the protocol of S3."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pandas as pd
import pytest
import requests
from training_fakes import small_recipe
from usage_errors import usage_error

import potstill
from potstill.data.remote_files import local_copy
from potstill.teaching.stores.forecasts import ForecastStore


def put(url: str, content: bytes) -> None:
    with fsspec.open(url, "wb") as file:
        file.write(content)  # type: ignore[union-attr]


def test_a_forecast_reads_a_folder_and_writes_a_table_as_from_files(bucket, small_csv, tiny_teacher, tmp_path, capsys):
    table = pd.read_csv(small_csv)
    folder = tmp_path / "data"
    (folder / "north").mkdir(parents=True)
    table.to_parquet(folder / "a.parquet")
    table.tail(200).to_parquet(folder / "north/b.parquet")
    for path in folder.rglob("*.parquet"):
        put(f"{bucket}/data/{path.relative_to(folder)}", path.read_bytes())
    put(f"{bucket}/data/readme.txt", b"not data")
    local = potstill.forecast(str(tiny_teacher), folder, 5, tmp_path / "local.parquet")
    capsys.readouterr()
    url = f"{bucket}/new/folder/out.parquet"
    assert potstill.forecast(str(tiny_teacher), f"{bucket}/data", 5, url) == url
    assert fsspec.filesystem("s3").cat_file(url) == local.read_bytes()
    said = capsys.readouterr().err
    assert f"written to {url} in" in said
    assert str(tmp_path) not in said


def test_a_copy_is_used_until_the_file_changes(bucket, small_csv, monkeypatch):
    url = f"{bucket}/small.csv"
    put(url, small_csv.read_bytes())
    first = Path(local_copy(url, [".csv"]))
    assert first.read_bytes() == small_csv.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("potstill.data.remote_files.download", None)
        assert local_copy(url, [".csv"]) == str(first)
    put(url, small_csv.read_bytes() + b"2030-01-01,1,1\n")
    second = Path(local_copy(url, [".csv"]))
    assert second != first
    assert len(second.read_bytes()) > len(first.read_bytes())


def test_two_runs_read_one_store_behind_a_url_at_the_same_time(
    bucket, small_csv, tiny_teacher, tmp_path, quick_trainer
):
    recipe = small_recipe(tiny_teacher, small_csv, max_steps=4)
    recipe.evaluation.max_windows = 4
    for path in potstill.label(recipe, tmp_path / "labels").iterdir():
        put(f"{bucket}/labels/{path.name}", path.read_bytes())
    recipe.write(tmp_path / "recipe.yaml")
    command = ["potstill", "distill", str(tmp_path / "recipe.yaml"), "--labels", f"{bucket}/labels", "--output"]
    other = subprocess.Popen(
        [sys.executable, "-m", *command, str(tmp_path / "other")], stderr=subprocess.PIPE, text=True
    )
    potstill.distill(recipe, tmp_path / "run", labels=f"{bucket}/labels")
    _, said = other.communicate(timeout=100)
    assert other.returncode == 0, said
    students = [(tmp_path / name / "student/model.safetensors").read_bytes() for name in ("run", "other")]
    assert students[0] == students[1]
    assert f"labels: {bucket}/labels" in (tmp_path / "run/recipe.yaml").read_text()


def test_a_shard_behind_a_url_is_verified_and_copied_again(bucket, small_csv, tiny_teacher, tmp_path):
    recipe = small_recipe(tiny_teacher, small_csv)
    labels = potstill.label(recipe, tmp_path / "labels")
    for path in labels.iterdir():
        put(f"{bucket}/again/{path.name}", path.read_bytes())
    url = f"{bucket}/again"
    store = ForecastStore.open(url)
    assert store.labelled() == ForecastStore.open(labels).labelled() > 0
    assert store.seconds_per_window() == ForecastStore.open(labels).seconds_per_window() > 0
    shard = store.path(0)
    shard.write_bytes(shard.read_bytes()[:-50])
    assert ForecastStore.open(url).forecast([3]).values.equal(ForecastStore.open(labels).forecast([3]).values)
    put(f"{url}/{shard.name}", shard.read_bytes()[:-50])
    shard.unlink()
    with usage_error("labels.torn_shard", shard.name):
        ForecastStore.open(url).forecast([3])
    with usage_error("labels.missing", url):
        ForecastStore.open(url).forecast([1_000_000])
    with usage_error("labels.no_store", f"{bucket}/none"):
        ForecastStore.open(f"{bucket}/none")


@pytest.mark.parametrize("what", ["data", "output", "labels"])
def test_wrong_credentials_are_one_sentence_without_them(bucket, s3_server, small_csv, tiny_teacher, what):
    requests.post(f"{s3_server}/moto-api/reset-auth", data=b"0", timeout=10)  # from now on keys are checked
    url = f"{bucket}/x.csv"
    try:
        with usage_error("url.denied", bucket) as caught:
            if what == "data":
                potstill.forecast(str(tiny_teacher), url, 3)
            elif what == "output":
                potstill.forecast(str(tiny_teacher), small_csv, 3, url)
            else:
                ForecastStore.open(f"{bucket}/labels")
    finally:
        requests.post(f"{s3_server}/moto-api/reset-auth", data=b"10000000", timeout=10)
    assert os.environ["AWS_ACCESS_KEY_ID"] not in str(caught.value)


def test_places_that_do_not_exist(bucket, small_csv, tiny_teacher):
    with usage_error("data.no_such_file", f"{bucket}/none.csv"):
        potstill.forecast(str(tiny_teacher), f"{bucket}/none.csv", 3)
    put(f"{bucket}/texts/a.txt", b"text")
    with usage_error("data.no_data_files", f"{bucket}/texts"):
        potstill.forecast(str(tiny_teacher), f"{bucket}/texts", 3)
    with usage_error("url.no_bucket", "s3://absent/out.csv"):
        potstill.forecast(str(tiny_teacher), small_csv, 3, "s3://absent/out.csv")
    with usage_error("output.unknown_ending", "'.json'"):
        potstill.forecast(str(tiny_teacher), small_csv, 3, f"{bucket}/out.json")


def test_a_server_that_does_not_answer(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    with usage_error("url.unreachable", f"{bucket}/a.csv", "AWS_ENDPOINT_URL"):
        local_copy(f"{bucket}/a.csv", [".csv"])


def test_a_table_that_cannot_be_copied_is_kept(bucket, small_csv, tiny_teacher, monkeypatch):
    monkeypatch.setattr("potstill.verbs.forecasting.output.check_access", lambda url: None)
    with usage_error("url.not_uploaded", "s3://absent/out.csv") as caught:
        potstill.forecast(str(tiny_teacher), small_csv, 3, "s3://absent/out.csv")
    kept = Path(str(caught.value).rpartition(" kept as ")[2].rstrip("."))
    assert len(pd.read_csv(kept)) == 6
