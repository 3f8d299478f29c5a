"""Labelling windows: what a shard holds, kills, torn files, several writers, values that do not fit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from label_fakes import FakeTeacher, FakeWindows
from safetensors.numpy import load_file
from usage_errors import usage_error

import potstill
from potstill.teaching.engines.forecasts import label_forecasts
from potstill.teaching.stores.forecasts import ForecastStore

HERE = Path(__file__).parents[1]
WRITER = """
import sys, time
from label_fakes import FakeTeacher, FakeWindows
from potstill.teaching.engines.forecasts import label_forecasts

folder, first, count, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])

def progress(p):
    print(p.done, flush=True)
    time.sleep(pause)

label_forecasts(FakeTeacher(), FakeWindows(100), folder, shard_windows=16, batch_size=8, first=first, count=count,
            progress=progress)
"""


def writer(folder, first=0, count=100, pause=0.0):
    path = os.pathsep.join([str(HERE), str(Path(potstill.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    arguments = [sys.executable, "-c", WRITER, str(folder), str(first), str(count), str(pause)]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("shard-*")}


def test_a_shard_is_plain_safetensors_in_half_precision(tmp_path):
    label_forecasts(FakeTeacher(), FakeWindows(20), tmp_path / "labels", shard_windows=16)
    arrays = load_file(tmp_path / "labels/shard-00000001.safetensors")
    assert {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} == {
        "values": ((4, 3, 4), "float16"),
        "loc": ((4, 1), "float64"),
        "scale": ((4, 1), "float64"),
    }
    np.testing.assert_allclose(arrays["loc"][2, 0], 18_000, atol=2)


def test_inputs_are_stored_where_the_data_set_asks(tmp_path):
    label_forecasts(FakeTeacher(), FakeWindows(20, stores_inputs=True), tmp_path / "labels")
    arrays = load_file(tmp_path / "labels/shard-00000000.safetensors")
    assert arrays["context"].shape == (20, 16)
    assert arrays["context"].dtype == np.float32
    assert arrays["future"].shape == (20, 4)
    assert np.isnan(arrays["context"][:, 0]).all()


def test_a_second_call_asks_the_teacher_nothing(tmp_path):
    teacher = FakeTeacher()
    label_forecasts(teacher, FakeWindows(100), tmp_path / "labels", shard_windows=16)
    seen, before = teacher.windows_seen, contents(tmp_path / "labels")
    assert seen == 101  # and the probe
    label_forecasts(teacher, FakeWindows(100), tmp_path / "labels", shard_windows=16, batch_size=7)
    assert teacher.windows_seen == seen
    assert contents(tmp_path / "labels") == before


def test_kill_9_loses_only_the_shard_at_work(tmp_path):
    whole = label_forecasts(FakeTeacher(), FakeWindows(100), tmp_path / "whole", shard_windows=16, batch_size=8)
    process = writer(tmp_path / "labels", pause=0.05)
    assert process.stdout is not None
    while int(process.stdout.readline()) < 40:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = contents(tmp_path / "labels")
    assert 2 <= len(finished) < 7
    teacher, reports = FakeTeacher(), []
    store = label_forecasts(
        teacher, FakeWindows(100), tmp_path / "labels", shard_windows=16, batch_size=8, progress=reports.append
    )
    assert teacher.windows_seen == 100 - 16 * len(finished)
    assert reports[-1].kept == 16 * len(finished)
    assert contents(store.folder) == contents(whole.folder)


def test_writers_of_disjoint_ranges_share_a_folder(tmp_path):
    whole = label_forecasts(FakeTeacher(), FakeWindows(100), tmp_path / "whole", shard_windows=16)
    writers = [writer(tmp_path / "labels", first, count) for first, count in ((0, 32), (32, 32), (64, 36))]
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    assert contents(tmp_path / "labels") == contents(whole.folder)
    assert ForecastStore.open(tmp_path / "labels").labelled() == 100


def test_a_longer_data_set_redoes_only_the_last_part_shard(tmp_path):
    teacher = FakeTeacher()
    label_forecasts(teacher, FakeWindows(40), tmp_path / "labels", shard_windows=16)
    before = teacher.windows_seen
    store = label_forecasts(teacher, FakeWindows(50), tmp_path / "labels", shard_windows=16)
    assert teacher.windows_seen - before == 50 - 32
    assert store.labelled() == 50


def test_leftovers_of_a_kill_are_swept_when_old(tmp_path):
    label_forecasts(FakeTeacher(), FakeWindows(20), tmp_path / "labels", shard_windows=16, count=16)
    old, young = (tmp_path / f"labels/.shard-00000001.safetensors.{name}" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    ago = time.time() - 7200
    os.utime(old, (ago, ago))
    label_forecasts(FakeTeacher(), FakeWindows(20), tmp_path / "labels", shard_windows=16)
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize(
    ("options", "key", "fact"),
    [
        ({"first": 100}, "labels.nothing_to_label", "windows 0 to 99"),
        ({"count": 0}, "labels.nothing_to_label", "windows 0 to 99"),
        ({"first": -1}, "labels.nothing_to_label", "windows 0 to 99"),
        ({"batch_size": 0}, "labels.nothing_to_label", "batch size 0"),
        ({"shard_windows": 32}, "labels.other_shard_size", "16 windows"),
    ],
)
def test_senseless_options_are_refused(tmp_path, options, key, fact):
    label_forecasts(FakeTeacher(), FakeWindows(100), tmp_path / "labels", shard_windows=16, count=16)
    with usage_error(key, fact):
        label_forecasts(FakeTeacher(), FakeWindows(100), tmp_path / "labels", **{"shard_windows": 16, **options})


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with usage_error("output.not_a_label_store", str(tmp_path)):
        label_forecasts(FakeTeacher(), FakeWindows(), tmp_path)
    with usage_error("output.not_writable", "thesis.tex"):
        label_forecasts(FakeTeacher(), FakeWindows(), tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_teacher_that_answers_nan_stops_before_it_is_stored(tmp_path):
    with usage_error("labels.forecast_not_finite", "window 0 (series 0, origin 0)"):
        label_forecasts(FakeTeacher(gain=float("nan")), FakeWindows(), tmp_path / "labels")
    assert not contents(tmp_path / "labels")


def test_a_shard_with_values_beyond_half_precision_is_kept_in_single(tmp_path):
    class Rising(FakeTeacher):
        """Window i is forecast about 5000 · i scales away."""

        def forward(self, batch, request):
            output = super().forward(batch, request)
            output.forecast.values = output.forecast.values + 5 * output.forecast.loc[:, :, None].float()
            return output

    teacher, windows = Rising(arcsinh=False), FakeWindows(20)
    store = label_forecasts(teacher, windows, tmp_path / "labels", shard_windows=8)
    kinds = [str(load_file(path)["values"].dtype) for path in sorted((tmp_path / "labels").glob("shard-*"))]
    assert kinds == ["float16", "float32", "float32"]
    ids = [19, 0, 8]
    live = teacher.predict(windows.batch(ids), 4).values
    torch.testing.assert_close(store.forecast(ids).values, live, rtol=2**-10, atol=0)
