"""Reading and writing in threads: the order, how far ahead, errors; and the same shards as one after the other."""

from __future__ import annotations

import threading

import pytest
from label_fakes import FakeTeacher, FakeWindows
from usage_errors import usage_error

from potstill.errors import UserError
from potstill.teaching.engines.forecasts import ForecastLabeller, label_forecasts
from potstill.teaching.engines.overlap import overlapped


def test_order_and_threads():
    read, made, written = [], [], []

    def reading(item):
        assert len(made) >= item - 1  # at most one ahead
        read.append((item, threading.get_ident()))
        return item * 10

    def making(item, ready):
        made.append((item, ready))
        return ready + 1

    def writing(item, result):
        written.append((item, result, threading.get_ident()))

    overlapped([0, 1, 2, 3], reading, making, writing)
    assert made == [(0, 0), (1, 10), (2, 20), (3, 30)]
    assert [one[:2] for one in written] == [(0, 1), (1, 11), (2, 21), (3, 31)]
    threads = {read[0][1], written[0][2], threading.get_ident()}
    assert len(threads) == 3


def test_the_next_item_is_read_while_the_current_one_is_made():
    """Making waits for the reading of the next item: one after the other it would never end."""
    started = [threading.Event() for _ in range(3)]
    overlapped(
        [0, 1, 2],
        lambda item: started[item].set(),
        lambda item, _: started[min(item + 1, 2)].wait(30) or pytest.fail("not read ahead"),
        lambda item, _: None,
    )


@pytest.mark.parametrize("stage", ["read", "make", "write"])
def test_an_error_ends_the_work(stage):
    written = []

    def fail(name, item):
        if name == stage and item == 1:
            raise UserError("no space", key="output.not_writable")

    def write(item, _):
        fail("write", item)
        written.append(item)

    with usage_error("output.not_writable"):
        overlapped([0, 1, 2, 3], lambda item: fail("read", item), lambda item, _: fail("make", item), write)
    assert 3 not in written
    assert stage != "make" or 0 in written  # what was made before is written


def test_nothing_to_do():
    overlapped([], None, None, None)  # type: ignore[arg-type]


def test_the_shards_are_those_of_one_after_the_other(tmp_path, monkeypatch):
    def shards(name):
        label_forecasts(FakeTeacher(), FakeWindows(70), tmp_path / name, shard_windows=16, batch_size=8)
        return {path.name: path.read_bytes() for path in (tmp_path / name).glob("shard-*")}

    plain = shards("plain")
    monkeypatch.setattr(ForecastLabeller, "on_accelerator", True)
    assert shards("overlapped") == plain
    assert len(plain) == 5
