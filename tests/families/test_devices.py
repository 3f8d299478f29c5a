"""Names of devices: what torch has, what it lacks, and what forecasters need."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from usage_errors import usage_error

from potstill.families import devices
from potstill.families.devices import available_device, forecasting_device, kind_of
from potstill.families.precision import device_precision
from potstill.recipe import TrainingConfig
from potstill.training.arguments import training_arguments
from potstill.types.exact import has_float64, in_float64


@pytest.fixture
def machine(monkeypatch):
    """A machine with other devices."""

    def have(**counts: int) -> None:
        for kind in ("cuda", "xpu", "mps"):
            monkeypatch.setattr(getattr(torch, kind), "device_count", partial(counts.get, kind, 0))

    have()
    return have


@pytest.mark.parametrize(
    ("counts", "default"),
    [({}, "cpu"), ({"mps": 1}, "cpu"), ({"xpu": 1}, "xpu"), ({"xpu": 1, "cuda": 2}, "cuda")],
    ids=["none", "mps", "xpu", "cuda and xpu"],
)
def test_the_default_is_a_gpu_that_has_float64(machine, counts, default):
    machine(**counts)
    assert available_device(None) == default


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "xpu:0", "mps"])
def test_devices_that_exist(machine, name):
    machine(cuda=2, xpu=1, mps=1)
    assert available_device(name) == name
    assert kind_of(name) == name.split(":")[0]


@pytest.mark.parametrize(
    ("name", "key", "facts"),
    [
        ("gpu", "device.unknown", ["gpu", "cuda:N"]),
        ("meta", "device.unknown", ["meta"]),
        ("cuda:", "device.unknown", ["cuda:"]),
        ("cuda:2", "device.not_available", ["cuda:2", "cuda:0, cuda:1"]),
        ("xpu", "device.not_available", ["xpu", "cuda:1"]),
        ("mps", "device.not_available", ["mps"]),
    ],
)
def test_devices_that_do_not_exist(machine, name, key, facts):
    machine(cuda=2)
    with usage_error(key, "--device", *facts):
        available_device(name)


def test_without_a_gpu_the_sentence_names_the_cpu(machine):
    with usage_error("device.not_available", "--device cuda", "only the CPU"):
        available_device("cuda")


def test_of_several_processes_each_has_its_own(machine, monkeypatch):
    machine(cuda=2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert available_device("cuda") == "cuda"
    with usage_error("device.chosen_by_launcher", "--device cuda:1", "--device cuda."):
        available_device("cuda:1")


def test_forecasters_need_float64(machine, monkeypatch):
    machine(cuda=1, xpu=1, mps=1)
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda _: SimpleNamespace(has_fp64=False))
    assert forecasting_device("cuda") == "cuda"
    for name in ("mps", "xpu"):
        assert not has_float64(name)
        with usage_error("device.no_float64", f"--device {name}", "float64"):
            forecasting_device(name)


def test_sums_in_float64():
    assert in_float64(torch.ones(2)).dtype == torch.float64
    assert in_float64(torch.ones(2, device="meta")).device.type == "meta"


def test_bf16_only_where_the_hardware_has_it(machine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda *_: SimpleNamespace(has_bfloat16_conversions=True))
    chosen = {name: device_precision("auto", name) for name in ("cuda:1", "xpu", "mps")}
    assert chosen == {"cuda:1": "fp32", "xpu": "bf16", "mps": "fp32"}
    assert device_precision("bf16", "mps") == "bf16"


def test_the_trainer_takes_the_device_that_is_named(tmp_path, monkeypatch):
    """transformers alone would take the first of its kind."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.accelerator, "set_device_index", chosen.append)
    config = TrainingConfig(learning_rate=1e-3, precision="fp32")
    arguments = training_arguments(config, tmp_path, 10, "cuda:1")
    assert arguments.device == torch.device("cuda:1")
    assert (chosen, arguments.n_gpu) == ([1], 1)
    assert training_arguments(config, tmp_path, 10, "cpu").device == torch.device("cpu")


def test_every_kind_is_counted():
    assert set(devices.device_counts()) <= {"cpu", *devices.ALL_KINDS}
