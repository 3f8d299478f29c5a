"""Making labels: what a shard holds, kills, torn files, several writers, and what a training sees of it."""

from __future__ import annotations

import json
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

from potstill.errors import UserError
from potstill.teaching.stores.forecasts import LabelStore
from potstill.teaching.stores.make import Progress, make_labels

HERE = Path(__file__).parents[1]
WRITER = """
import sys, time
from label_fakes import FakeTeacher, FakeWindows
from potstill.teaching.stores.make import make_labels

folder, first, count, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])

def progress(p):
    print(p.done, flush=True)
    time.sleep(pause)

make_labels(FakeTeacher(), FakeWindows(100), folder, shard_windows=16, batch_size=8, first=first, count=count,
            progress=progress)
"""


def writer(folder, first=0, count=100, pause=0.0):
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    arguments = [sys.executable, "-c", WRITER, str(folder), str(first), str(count), str(pause)]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("shard-*")}


def test_a_shard_is_plain_safetensors_in_half_precision(tmp_path):
    make_labels(FakeTeacher(), FakeWindows(20), tmp_path / "labels", shard_windows=16)
    arrays = load_file(tmp_path / "labels/shard-00000001.safetensors")
    assert {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} == {
        "values": ((4, 3, 4), "float16"),
        "loc": ((4, 1), "float64"),
        "scale": ((4, 1), "float64"),
    }
    np.testing.assert_allclose(arrays["loc"][2, 0], 18_000, atol=2)


def test_inputs_are_stored_where_the_data_set_asks(tmp_path):
    make_labels(FakeTeacher(), FakeWindows(20, stores_inputs=True), tmp_path / "labels")
    arrays = load_file(tmp_path / "labels/shard-00000000.safetensors")
    assert arrays["context"].shape == (20, 16)
    assert arrays["context"].dtype == np.float32
    assert arrays["future"].shape == (20, 4)
    assert np.isnan(arrays["context"][:, 0]).all()


def test_the_manifest_tells_people_where_labels_come_from(tmp_path):
    make_labels(FakeTeacher(), FakeWindows(20), tmp_path / "labels", provenance={"data": ["ETTh1.csv"]})
    manifest = json.loads((tmp_path / "labels/labels.json").read_text())
    assert manifest["provenance"]["source"]["licence"] == "Apache-2.0"
    assert manifest["provenance"]["data"] == ["ETTh1.csv"]
    assert manifest["precision"] == "float32"
    assert len(manifest["key"]) == 64


def test_a_second_call_asks_the_teacher_nothing(tmp_path):
    teacher = FakeTeacher()
    make_labels(teacher, FakeWindows(100), tmp_path / "labels", shard_windows=16)
    seen, before = teacher.windows_seen, contents(tmp_path / "labels")
    assert seen == 101  # and the probe
    make_labels(teacher, FakeWindows(100), tmp_path / "labels", shard_windows=16, batch_size=7)
    assert teacher.windows_seen == seen
    assert contents(tmp_path / "labels") == before


def test_kill_9_loses_only_the_shard_at_work(tmp_path):
    whole = make_labels(FakeTeacher(), FakeWindows(100), tmp_path / "whole", shard_windows=16, batch_size=8)
    process = writer(tmp_path / "labels", pause=0.05)
    assert process.stdout is not None
    while int(process.stdout.readline()) < 40:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = contents(tmp_path / "labels")
    assert 2 <= len(finished) < 7
    teacher, reports = FakeTeacher(), []
    store = make_labels(
        teacher, FakeWindows(100), tmp_path / "labels", shard_windows=16, batch_size=8, progress=reports.append
    )
    assert teacher.windows_seen == 100 - 16 * len(finished)
    assert reports[-1].kept == 16 * len(finished)
    assert contents(store.folder) == contents(whole.folder)


def test_writers_of_disjoint_ranges_share_a_folder(tmp_path):
    whole = make_labels(FakeTeacher(), FakeWindows(100), tmp_path / "whole", shard_windows=16)
    writers = [writer(tmp_path / "labels", first, count) for first, count in ((0, 32), (32, 32), (64, 36))]
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    assert contents(tmp_path / "labels") == contents(whole.folder)
    assert LabelStore.open(tmp_path / "labels").labelled() == 100


def test_a_longer_data_set_redoes_only_the_last_part_shard(tmp_path):
    teacher = FakeTeacher()
    make_labels(teacher, FakeWindows(40), tmp_path / "labels", shard_windows=16)
    before = teacher.windows_seen
    store = make_labels(teacher, FakeWindows(50), tmp_path / "labels", shard_windows=16)
    assert teacher.windows_seen - before == 50 - 32
    assert store.labelled() == 50


def test_leftovers_of_a_kill_are_swept_when_old(tmp_path):
    make_labels(FakeTeacher(), FakeWindows(20), tmp_path / "labels", shard_windows=16, count=16)
    old, young = (tmp_path / f"labels/.shard-00000001.safetensors.{name}" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    make_labels(FakeTeacher(), FakeWindows(20), tmp_path / "labels", shard_windows=16)
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": 100}, "nothing to label: the data hold windows 0 to 99, asked for 100"),
        ({"count": 0}, "nothing to label"),
        ({"first": -1}, "nothing to label"),
        ({"batch_size": 0}, "batch size 0"),
        ({"shard_windows": 32}, "has 16 windows a shard, this call asks for 32"),
    ],
)
def test_senseless_options_are_refused(tmp_path, options, message):
    make_labels(FakeTeacher(), FakeWindows(100), tmp_path / "labels", shard_windows=16, count=16)
    with pytest.raises(UserError, match=message):
        make_labels(FakeTeacher(), FakeWindows(100), tmp_path / "labels", **{"shard_windows": 16, **options})


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="exists and holds no labels"):
        make_labels(FakeTeacher(), FakeWindows(), tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        make_labels(FakeTeacher(), FakeWindows(), tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_teacher_that_answers_nan_stops_before_it_is_stored(tmp_path):
    with pytest.raises(UserError, match=r"window 0 \(series 0, origin 0\): the teacher's forecast is not finite"):
        make_labels(FakeTeacher(gain=float("nan")), FakeWindows(), tmp_path / "labels")
    assert not contents(tmp_path / "labels")


def test_a_shard_with_values_beyond_half_precision_is_kept_in_single(tmp_path):
    class Rising(FakeTeacher):
        """Window i is forecast about 5000 · i scales away."""

        def forward(self, windows, horizon, *layers):
            output = super().forward(windows, horizon, *layers)
            output.forecast.values = output.forecast.values + 5 * output.forecast.loc[:, :, None].float()
            return output

    teacher, windows = Rising(arcsinh=False), FakeWindows(20)
    store = make_labels(teacher, windows, tmp_path / "labels", shard_windows=8)
    kinds = [str(load_file(path)["values"].dtype) for path in sorted((tmp_path / "labels").glob("shard-*"))]
    assert kinds == ["float16", "float32", "float32"]
    ids = [19, 0, 8]
    live = teacher.predict(windows.__getitems__(ids).context, 4).values
    torch.testing.assert_close(store.forecast(ids).values, live, rtol=2**-10, atol=0)


def test_groups_are_refused_not_forgotten(tmp_path):
    class Grouped(FakeWindows):
        def __getitems__(self, ids):
            windows = super().__getitems__(ids)
            windows.group = torch.zeros_like(windows.ids)
            return windows

    with pytest.raises(UserError, match="hold no groups"):
        make_labels(FakeTeacher(), Grouped(), tmp_path / "labels")
    assert not list((tmp_path / "labels").iterdir())


def test_the_time_of_every_shard_is_kept_once_whoever_was_killed(tmp_path):
    folder = tmp_path / "labels"
    store = make_labels(FakeTeacher(), FakeWindows(40), folder, shard_windows=16)
    assert store.seconds_per_window() > 0
    lines = [json.dumps({"shard": k, "windows": n, "seconds": s}) for k, n, s in ((0, 16, 9), (1, 16, 4), (2, 8, 2))]
    again = json.dumps({"shard": 0, "windows": 16, "seconds": 4})
    (folder / "times.jsonl").write_text("\n".join([*lines, '{"shard": 1, "win', again]) + "\n")
    assert store.seconds_per_window() == (4 + 4 + 2) / 40
    (folder / "times.jsonl").unlink()
    assert store.seconds_per_window() == 0


@pytest.mark.parametrize("stores_inputs", [False, True])
def test_live_teacher_and_labels_give_the_same_loss(tmp_path, stores_inputs):
    from potstill.objectives.base import LossInputs
    from potstill.objectives.objective import Objective
    from potstill.recipe import ObjectiveConfig
    from potstill.types import Output

    teacher = FakeTeacher(levels=tuple(np.linspace(0.05, 0.95, 19).tolist()))
    source = FakeWindows(64, stores_inputs=stores_inputs)
    store = make_labels(teacher, source, tmp_path / "labels")
    objective = Objective(ObjectiveConfig(alpha=0.8, terms={"soft_median": {"weight": 0.1}}))
    windows = source.__getitems__(np.arange(64))
    read = store.windows(windows.ids) if stores_inputs else store.attach(windows)
    live = objective(LossInputs(windows, FakeTeacher(gain=0.7).forward(windows, 4), teacher.forward(windows, 4)))[0]
    stored = objective(LossInputs(read, FakeTeacher(gain=0.7).forward(read, 4), Output(read.labels)))[0]
    torch.testing.assert_close(stored, live, rtol=1e-3, atol=0)


def test_progress_tells_rate_and_time_left():
    report = Progress(done=3_000, kept=1_000, total=10_000, seconds=100)
    assert str(report) == "4,000 of 10,000 windows (1,000 kept) · 30.0/s · 3:20 left"
    assert str(Progress(0, 0, 10, 0.0)) == "0 of 10 windows · 0.0/s"
    assert str(Progress(1, 0, 7201, 1.0)) == "1 of 7,201 windows · 1.0/s · 2:00:00 left"
