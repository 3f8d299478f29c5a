"""The engine ``ray``: results with the same bits as those of one process, also where a worker is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("ray", reason="ray is not installed: pip install 'potstill[ray]'")

import ray
import ray_work
from training_fakes import small_recipe
from usage_errors import usage_error

import potstill
from potstill.compute import stream as stream_module
from potstill.compute.cluster import Cluster, connected
from potstill.compute.options import RayOptions
from potstill.compute.stream import stream

HERE = Path(__file__).parent
LABELLER = "potstill.tasks.distributed_labels.shard_labeller"
LABELLER_NAME = "potstill.tasks.distributed_labels:shard_labeller"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A local cluster, which the verbs use as this session's; it is stopped afterwards."""
    path = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *sys.path, path])
    try:
        with connected(RayOptions(concurrency=2)) as cluster:
            yield cluster
    finally:
        os.environ["PYTHONPATH"] = path
    assert not ray.is_initialized()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long table of 60 short series; one is constant and one has no values."""
    values = np.random.default_rng(0).normal(size=(60, 80)).cumsum(axis=1)
    values[7], values[8] = 3.0, np.nan
    ids = np.repeat([f"s{i:02d}" for i in range(60)], 80)
    days = np.tile(pd.date_range("2024-01-01", periods=80), 60)
    path = tmp_path_factory.mktemp("many") / "many.parquet"
    pd.DataFrame({"unique_id": ids, "ds": days, "y": values.ravel()}).to_parquet(path)
    return path


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("shard-*")}


def test_a_stream_is_ordered_and_gives_the_error_of_the_first_item(cluster: Cluster):
    with usage_error("test.negative", "-2"):
        found = []
        for square in stream(cluster, ray_work.squares, [*range(20), -2, 4, -3], ordered=True):
            found.append(square)
    assert found == [n * n for n in range(20)]
    assert list(stream(cluster, ray_work.squares, [], ordered=True)) == []


def test_a_forecast_has_the_bits_of_the_local_engine_although_a_worker_is_killed(
    cluster, many, tiny_teacher, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("potstill.verbs.forecasting.batches.BATCH_SIZE", 4)
    options = {"non_negative": True, "calibrate": 1}
    local = potstill.forecast(str(tiny_teacher), many, 8, tmp_path / "local.parquet", **options)
    said = capsys.readouterr().err
    dying = partial(ray_work.dying, tmp_path / "killed", 2, "potstill.verbs.forecasting.batches:worker_forecaster")
    monkeypatch.setattr("potstill.verbs.forecasting.run.worker_forecaster", dying)
    path = potstill.forecast(
        str(tiny_teacher), many, 8, tmp_path / "ray.parquet", **options, engine="ray", concurrency=2
    )
    assert (tmp_path / "killed").exists()
    assert path.read_bytes() == local.read_bytes()
    *lines, last = capsys.readouterr().err.splitlines()
    assert last == "Ray: 2 workers on 1 machine, 1 restart after a crash (this session's cluster)"
    assert lines[-3:-1] == said.splitlines()[-3:-1]  # the last line has the seconds


def test_labels_have_the_bits_of_the_local_engine_and_each_engine_continues_the_other(
    cluster, tiny_teacher, tmp_path, monkeypatch
):
    recipe = small_recipe(tiny_teacher, Path("embedded"), max_steps=1000, batch_size=8)
    recipe.data.stride = 12
    whole = shards(potstill.label(recipe, tmp_path / "local"))
    assert len(whole) == 4
    # a cluster that dies: the worker ends at its second shard, as often as it is started
    monkeypatch.setattr(LABELLER, partial(ray_work.dying, None, 2, LABELLER_NAME))
    folder = tmp_path / "ray"
    with monkeypatch.context() as patch, usage_error("ray.worker_died", "died 1 time", "--concurrency"):
        patch.setattr(stream_module, "MAX_RETRIES", 0)
        potstill.label(recipe, folder, engine="ray", concurrency=1)
    half = shards(folder)
    assert 0 < len(half) < 4
    potstill.label(recipe, folder)
    assert shards(folder) == whole
    # the local engine was killed after one shard, and wrote half of another
    for path in sorted(folder.glob("shard-*"))[1:]:
        path.unlink()
    (folder / "shard-00000001.safetensors").write_bytes(whole["shard-00000001.safetensors"][:-100])
    monkeypatch.setattr(LABELLER, partial(ray_work.dying, tmp_path / "killed", 2, LABELLER_NAME))
    potstill.label(recipe, folder, engine="ray", concurrency=1)
    assert (tmp_path / "killed").exists()
    assert shards(folder) == whole


def test_the_command_joins_a_running_cluster_and_leaves_it_running(cluster, many, tiny_teacher, tmp_path):
    local = potstill.forecast(str(tiny_teacher), many, 8, tmp_path / "local.csv")
    options = ["--prediction-length", "8", "--output", str(tmp_path / "ray.csv"), "--engine", "ray"]
    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-m", "potstill", "forecast", str(tiny_teacher), str(many), *options]
    done = subprocess.run(
        [*command, "--ray-address", address, "--concurrency", "1"], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    said = done.stderr.splitlines()
    assert said[0] == f"Joining the Ray cluster {address}"
    assert said[-1] == f"Ray: 1 worker on 1 machine (the cluster {address})"
    assert not any("ray" in line.lower() for line in said[1:-1] if str(tmp_path) not in line)
    assert (tmp_path / "ray.csv").read_bytes() == local.read_bytes()
    assert ray.cluster_resources()["CPU"] == 2
