"""The pool of synthetic series: what a fixed one holds, how another is refreshed, and that no process is left over."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from potstill.data.device import pool as pools
from potstill.data.device.pool import SyntheticPool
from potstill.data.synthetic import generate

POPEN = subprocess.Popen


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Blocks of 4 series, also in the processes that generate."""
    monkeypatch.setattr(pools, "BLOCK_SERIES", 4)
    monkeypatch.setattr("potstill.data.device.producer.BLOCK_SERIES", 4)
    code = "import sys; from potstill.data.device import producer; producer.BLOCK_SERIES = 4; producer.main()"

    def small(command, **options):
        return POPEN([sys.executable, "-c", code, *command[3:]], **options)

    monkeypatch.setattr(pools.subprocess, "Popen", small)


def expected(first: int, count: int, length: int = 40, seed: int = 3) -> np.ndarray:
    return generate(seed, np.arange(first, first + count), length)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_fixed_pool_holds_the_first_series_whoever_makes_them(workers):
    pool = SyntheticPool(14, 40, 3, workers, refresh=False, device="cpu")
    pool.update()
    assert (pool.filled, pool.made) == (14, 14)
    np.testing.assert_array_equal(pool.rows.numpy(), expected(0, 14))
    before = pool.rows.clone()
    pool.update()
    assert torch.equal(pool.rows, before)


def test_a_pool_is_refreshed_block_by_block():
    pool = SyntheticPool(8, 40, 3, 1, refresh=True, device="cpu")
    pool.update()
    assert pool.filled >= 4
    deadline = time.monotonic() + 30
    while pool.made < 24 and time.monotonic() < deadline:
        pool.update()
        time.sleep(0.01)
    pool.close()
    assert pool.made >= 24
    assert pool.filled == 8
    # the newest two blocks, each in its place
    newest = pool.made - 4
    blocks = {start % 8: expected(start, 4) for start in (newest, newest - 4)}
    np.testing.assert_array_equal(pool.rows.numpy(), np.concatenate([blocks[0], blocks[4]]))


def test_no_process_outlives_its_pool():
    pool = SyntheticPool(8, 40, 3, 2, refresh=True, device="cpu")
    pool.update()
    (_, _, (processes, _), _) = pool.close.peek() or (None, None, ([], None), None)
    assert len(processes) == 2
    assert [process.poll() for process in processes] == [None, None]
    del pool
    assert all(process.poll() is not None for process in processes)


def test_a_process_that_fails_ends_the_run(monkeypatch, capfd):
    monkeypatch.setattr(pools.subprocess, "Popen", lambda command, **o: POPEN([sys.executable, "-c", "1 / 0"], **o))
    with pytest.raises(RuntimeError, match="ended"):
        SyntheticPool(8, 40, 3, 1, refresh=False, device="cpu").update()
    assert "ZeroDivisionError" in capfd.readouterr().err
