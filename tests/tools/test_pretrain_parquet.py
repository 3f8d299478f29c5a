"""The converter of the extra series: what it writes is what a recipe reads, and what it leaves out."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from potstill.data.series.opening import open_store
from potstill.recipe import SeriesData

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(autouse=True)
def _tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(TOOLS), *sys.path])


def test_series_come_back_by_source_and_step(tmp_path: Path):
    from pretrain_parquet import convert

    rng = np.random.default_rng(0)
    series = [rng.normal(size=n).astype(np.float32) for n in (30, 20, 25, 40, 12)]
    series[1][5] = np.nan
    np.savez(
        tmp_path / "series.npz",
        values=np.concatenate(series),
        offsets=np.concatenate([[0], np.cumsum([len(x) for x in series])]),
        source=np.array(["a", "a", "a", "b", "oil"]),
        name=np.array(["x", "y", "x", "z", "w"]),
        freq=np.array(["D", "D", "H", "H", "D"]),
    )
    written, reasons = convert(tmp_path / "series.npz", tmp_path / "out")
    assert written == 4
    assert sum(reasons.values()) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_D.parquet", "a_H.parquet", "b_H.parquet"]
    data = SeriesData(paths=[str(tmp_path / "out")], train_only=[str(tmp_path / "out")])
    store = open_store(data, tmp_path / "cache")
    assert store.names == ["a_D/x", "a_D/y", "a_H/x", "b_H/z"]
    for i in range(4):
        np.testing.assert_array_equal(store.series(i), series[i])
    assert store.train_only == {"a_D", "a_H", "b_H"}


@pytest.mark.parametrize(
    ("source", "step", "name", "out"),
    [
        ("oil", "D", "price", True),
        ("oils", "D", "price", False),
        ("rt_avocado_sales", "W", "3", True),
        ("rt_seattle_burke_gilman_trail", "H", "east", False),
        ("fcomp_tcomp", "M", "m1", True),
        ("fcomp_tcomp", "Q", "q1", False),
        ("fpp2", "M", "USmelec", True),
        ("fpp2", "M", "a10", False),
    ],
)
def test_what_is_left_out(source: str, step: str, name: str, out: bool):
    from pretrain_parquet import left_out

    assert (left_out(source, step, name) is not None) == out
