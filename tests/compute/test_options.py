"""Options of engines, and clusters that cannot be used: one sentence each, before any work."""

from __future__ import annotations

import os
import pickle
import socket
import sys

import pytest
import torch
from label_fakes import FakeTeacher
from usage_errors import usage_error

import potstill
from potstill.compute.cluster import OOM_VARIABLE, Cluster, _connect, connected
from potstill.compute.options import RayOptions, ray_options
from potstill.compute.stream import _explained
from potstill.compute.worker import Answer, Worker, _portable


def test_the_local_engine_has_no_options():
    assert ray_options("local") is None
    assert ray_options("ray", "head:6379", 2, 0.5, "cuda") == RayOptions("head:6379", 2, 0.5, "cuda")


@pytest.mark.parametrize(
    ("options", "key", "fact"),
    [
        ({"engine": "cloud"}, "engine.unknown", "local, ray"),
        ({"engine": "local", "ray_address": "auto"}, "engine.only_ray", "--ray-address"),
        ({"engine": "local", "concurrency": 2}, "engine.only_ray", "--concurrency"),
        ({"engine": "local", "gpus_per_worker": 1}, "engine.only_ray", "--gpus-per-worker"),
        ({"engine": "ray", "concurrency": 0}, "option.out_of_range", "--concurrency 0"),
        ({"engine": "ray", "gpus_per_worker": -1}, "option.out_of_range", "--gpus-per-worker -1"),
    ],
)
def test_wrong_options_are_refused(options: dict, key: str, fact: str):
    with usage_error(key, fact):
        ray_options(**options)
    with usage_error(key, fact):
        potstill.label(teacher="embedded", data="embedded", **options)
    with usage_error(key, fact):
        potstill.forecast("embedded", "embedded", 3, **options)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with usage_error("ray.not_installed", "pip install 'potstill[ray]'"), connected(RayOptions()):
        pass


def test_an_address_at_which_nothing_listens_is_refused_at_once():
    pytest.importorskip("ray", reason="ray is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with usage_error("ray.unreachable", address), connected(RayOptions(address)):
            pass


@pytest.mark.parametrize("address", ["head", "head:", "head:port", "127.0.0.1:99999"])
def test_an_address_without_a_port_is_refused(address: str):
    pytest.importorskip("ray", reason="ray is not installed")
    with usage_error("ray.unreachable", address), connected(RayOptions(address)):
        pass


def test_an_address_of_ray_client_is_refused_without_repeating_it(capsys: pytest.CaptureFixture):
    pytest.importorskip("ray", reason="ray is not installed")
    with usage_error("ray.client_address") as caught, connected(RayOptions("ray://user:secret@head:10001")):
        pass
    assert "secret" not in str(caught.value) + capsys.readouterr().err


def test_a_loaded_model_is_refused():
    with usage_error("ray.loaded_model", "linear"):
        potstill.forecast(FakeTeacher(name="linear"), "embedded", 3, engine="ray")


class OutOfMemoryError(Exception):
    """As Ray names it."""


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (OutOfMemoryError("Task was killed due to the node running low on memory"), "ray.out_of_memory"),
        (MemoryError(), "ray.out_of_memory"),
        (RuntimeError("The node was low on memory"), "ray.out_of_memory"),
        (RuntimeError("The actor died unexpectedly"), "ray.worker_died"),
    ],
)
def test_workers_that_die_again_and_again_are_one_sentence(error: Exception, key: str):
    with usage_error(key, "--concurrency", "(now 3)"):
        raise _explained(error, a_cluster())


def test_a_local_cluster_gives_up_where_memory_stays_short(monkeypatch: pytest.MonkeyPatch):
    """Ray repeats tasks that it kills for lack of memory for ever, unless this variable is set before it starts."""
    seen: dict[str, str | None] = {}

    class Ray:
        def init(self, **settings: object) -> None:
            seen["retries"] = os.environ.get(OOM_VARIABLE)

    monkeypatch.setenv(OOM_VARIABLE, "")
    monkeypatch.delenv(OOM_VARIABLE)
    _connect(Ray(), "local", RayOptions(), 1)
    assert OOM_VARIABLE == "RAY_task_oom_retries"
    assert seen == {"retries": "3"}


def test_the_summary_counts_workers_machines_and_restarts():
    cluster = a_cluster()
    for node, worker, process, restarted in (("a", "1", 10, False), ("a", "1", 10, False), ("b", "2", 10, False)):
        cluster.saw(Answer(None, None, node, worker, process, restarted))
    assert cluster.line() == "Ray: 2 workers on 2 machines (a test)"
    cluster.saw(Answer(None, None, "a", "1", 11, True))
    assert cluster.line() == "Ray: 2 workers on 2 machines, 1 restart after a crash (a test)"


class Absent:
    """A factory whose data are on another machine."""

    def __reduce__(self) -> tuple:
        return open, ("/nowhere/values.f32",)


def test_a_worker_that_does_not_see_the_cache_says_so():
    with usage_error("ray.cache_not_shared", "/nowhere/values.f32", "POTSTILL_CACHE"):
        Worker(pickle.dumps(Absent()), pickle.dumps([1]), {}, torch.get_num_threads(), potstill.__version__)._built()


def test_a_worker_with_another_version_says_so():
    with usage_error("ray.other_version", "0.0.1", potstill.__version__):
        Worker(b"", b"", {}, 1, "0.0.1")._built()


def test_an_exception_that_cannot_be_pickled_keeps_its_text():
    error = ValueError("bad", lambda: None)
    assert str(_portable(error)).startswith("ValueError: ('bad'")
    assert _portable(same := ValueError("good")) is same


def a_cluster() -> Cluster:
    return Cluster("a test", 3, 1, 1, 0.0, RuntimeError)
