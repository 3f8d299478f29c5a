"""What labels cost, read back from the lines of shards."""

from __future__ import annotations

import json

from label_fakes import FakeTeacher, FakeWindows

from potstill.teaching.engines.forecasts import label_forecasts
from potstill.teaching.stores.timing import TIMING_FILE


def test_the_time_of_every_shard_is_kept_once_whoever_was_killed(tmp_path):
    folder = tmp_path / "labels"
    store = label_forecasts(FakeTeacher(), FakeWindows(40), folder, shard_windows=16)
    assert store.seconds_per_window() > 0
    lines = [json.dumps({"shard": k, "windows": n, "seconds": s}) for k, n, s in ((0, 16, 9), (1, 16, 4), (2, 8, 2))]
    again = json.dumps({"shard": 0, "windows": 16, "seconds": 4})
    (folder / TIMING_FILE).write_text("\n".join([*lines, '{"shard": 1, "win', again]) + "\n")
    assert store.seconds_per_window() == (4 + 4 + 2) / 40
    (folder / TIMING_FILE).unlink()
    assert store.seconds_per_window() == 0
