"""Progress of labelling, in words."""

from potstill.teaching.engines.progress import LabelProgress, ProgressCounter


def test_progress_tells_rate_and_time_left():
    report = LabelProgress(done=3_000, kept=1_000, total=10_000, seconds=100)
    assert str(report) == "4,000 of 10,000 windows (1,000 kept) · 30.0/s · 3:20 left"
    assert str(LabelProgress(0, 0, 10, 0.0)) == "0 of 10 windows · 0.0/s"
    assert str(LabelProgress(1, 0, 7201, 1.0)) == "1 of 7,201 windows · 1.0/s · 2:00:00 left"


def test_a_counter_reports_each_batch():
    seen = []
    counter = ProgressCounter(seen.append, kept=8, todo=12, unit="examples")
    counter.add(5)
    counter.add(7)
    assert [(one.done, one.kept, one.total, one.unit) for one in seen] == [
        (5, 8, 20, "examples"),
        (12, 8, 20, "examples"),
    ]
    ProgressCounter(None, 0, 1, "windows").add(1)
