"""The season is inferred from the training part alone."""

import numpy as np
import pytest
from store_files import opened, write


def two_regimes(rows: int, change: int) -> np.ndarray:
    """A period of 10 rows before row ``change``, of 23 after it."""
    t = np.arange(rows)
    return np.sin(2 * np.pi * t / np.where(t < change, 10, 23)) + 0.05 * np.random.default_rng(0).normal(size=rows)


@pytest.mark.parametrize(("split", "expected"), [("1:4:5", 10), ("8:1:1", 23)])
def test_the_season_follows_from_the_training_part_of_the_split(tmp_path, split, expected):
    write(tmp_path, "a.csv", "y\n" + "".join(f"{v:.4f}\n" for v in two_regimes(3000, 300)))
    assert opened(tmp_path, split=split).season[0] == pytest.approx(expected, abs=2)


def test_rows_after_the_training_part_do_not_change_the_season(tmp_path):
    before = two_regimes(1000, 1000)
    after = np.concatenate([before[:800], np.random.default_rng(1).normal(size=200)])
    for name, values in (("a", before), ("b", after)):
        write(tmp_path / name, "y.csv", "y\n" + "".join(f"{v:.4f}\n" for v in values))
    assert opened(tmp_path / "a").season.tolist() == opened(tmp_path / "b").season.tolist() == [10]


def test_a_season_that_was_found_is_kept(tmp_path):
    write(tmp_path, "a.csv", "y\n" + "".join(f"{v:.4f}\n" for v in two_regimes(500, 500)))
    store = opened(tmp_path)
    assert len(list(store.folder.glob("seasons-*.json"))) == 1
    assert opened(tmp_path).season.tolist() == store.season.tolist()
