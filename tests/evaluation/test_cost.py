import shutil

import pytest
import torch
from eval_fakes import Last

from potstill.evaluation.cost import count_flops, interleaved, measure_costs, peak_megabytes, weight_bytes
from potstill.evaluation.ridge import RidgeForecaster
from potstill.families.base import ModelSource
from potstill.families.ensemble import Ensemble
from potstill.families.experts.model import Mixture
from potstill.families.experts.router import RouterSettings
from potstill.families.load import load, load_forecaster, saved_weights
from potstill.families.registry import family

NAMES = {"parameters", "bytes", "flops", "latency_ms_b1", "series_per_second_b32", "series_per_second_b256", "peak_mb"}


class Product(Last):
    """Runs one matrix product of 2 · 4 · 3 operations per series."""

    def predict(self, windows, prediction_length):
        self.map(windows[:, :4])
        return super().predict(windows, prediction_length)


class Sleeper(Product):
    def predict(self, windows, prediction_length):
        torch.randn(400, 400) @ torch.randn(400, 400)
        return super().predict(windows, prediction_length)


def test_all_costs_are_measured_and_the_known_ones_are_right():
    models = {"teacher": Sleeper(), "student": Product()}
    costs = measure_costs(models, 16, 4, repeats=2)
    assert set(costs) == {"teacher", "student"}
    for cost in costs.values():
        assert set(cost) >= NAMES
        assert cost["parameters"] == 4 * 3 + 3
        assert cost["latency_ms_b1"] > 0
        assert cost["rounds"] == 2
        assert cost["bytes"] == 15 * 4
    assert costs["student"]["flops"] == 2 * 4 * 3
    assert costs["teacher"]["flops"] == 2 * 400**3 + 24
    assert costs["teacher"]["speedup_b32"] == 1
    assert costs["student"]["speedup_b32"] > 0


def test_without_a_reference_there_are_no_speedups():
    assert not any(
        name.startswith("speedup") for name in measure_costs({"student": Product()}, 16, 4, repeats=1)["student"]
    )


def test_a_spent_budget_still_measures_one_round():
    assert measure_costs({"student": Product()}, 16, 4, repeats=9, seconds=0)["student"]["rounds"] == 1


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_attention_and_products_are_counted_without_gradients(mode):
    layer, x = torch.nn.Linear(8, 24), torch.randn(1, 5, 8)

    def run():
        with mode():
            q, k, v = layer(x).view(1, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
            torch.nn.functional.scaled_dot_product_attention(q, k, v)

    assert count_flops(run) == 2 * 5 * 8 * 24 + 2 * 2 * 5 * 5 * 8


def test_peak_memory_of_a_pass():
    peak = peak_megabytes(lambda: torch.ones(32, 1024, 1024).sum())
    if peak is None:
        pytest.skip("no /proc here")
    assert 120 < peak < 300


def test_peak_memory_of_a_cuda_device_is_the_devices(monkeypatch):
    used = iter([100 * 2**20])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: next(used))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 350 * 2**20)
    assert peak_megabytes(lambda: None, torch.device("cuda:1")) == 250


def _saved_bytes(model):
    return weight_bytes(model, saved_weights(model.source))


def test_bytes_are_those_of_the_weights_as_saved(tiny_teacher, tmp_path):
    saved = (tiny_teacher / "model.safetensors").stat().st_size
    assert _saved_bytes(load(tiny_teacher)) == saved
    run = tmp_path / "run"
    shutil.copytree(tiny_teacher, run / "student")
    (run / "recipe.yaml").write_text("task: forecast")
    (run / "student" / "README.md").write_text("a card is not part of the weights")
    student = load(run)
    assert _saved_bytes(student) == saved
    shutil.rmtree(run)
    # the same as the file without its header
    assert saved - 20_000 < _saved_bytes(student) < saved


def test_forecasters_that_are_not_torch_modules_are_measured(tiny_teacher):
    """An ensemble and a baseline of plain tensors."""
    ridge = RidgeForecaster(torch.ones(16, 4), torch.zeros(4), torch.zeros(9, 4), 1.0, 20)
    one = load_forecaster(tiny_teacher)
    both = Ensemble({"one": one, "two": one})
    costs = measure_costs({"ridge": ridge, "both": both, "one": one}, 16, 4, repeats=1)
    assert (costs["ridge"]["parameters"], costs["ridge"]["bytes"]) == (16 * 4 + 4 + 36, 4 * 104)
    assert costs["ridge"]["flops"] == 2 * 16 * 4
    assert (costs["both"]["parameters"], costs["both"]["bytes"]) == (2 * one.parameters, 8 * one.parameters)
    assert costs["both"]["flops"] == 2 * costs["one"]["flops"]


def test_every_second_round_is_reversed():
    order: list[str] = []
    kind = {name: lambda name=name: float(order.append(name) or 1) for name in "abc"}
    rounds = interleaved([kind], 3, 60.0)
    assert "".join(order) == "abccbaabc"
    assert [set(timed) for (timed,) in rounds] == [set("abc")] * 3


def test_active_parameters_are_named_where_a_window_passes_through_fewer():
    torch.manual_seed(0)
    one = family("linear")
    experts = {name: one.build(one.design(None, {}, 16, 4), 0.0) for name in "abc"}
    mixture = Mixture(experts, RouterSettings(top_k=2), ModelSource("mixture", "made"))
    costs = measure_costs({"mixture": mixture, "expert": experts["a"]}, 16, 4, repeats=1)
    router = sum(weight.numel() for weight in mixture.router.parameters())
    assert costs["mixture"]["active_parameters"] == router + 2 * experts["a"].parameters
    assert costs["mixture"]["parameters"] > costs["mixture"]["active_parameters"]
    assert "active_parameters" not in costs["expert"]
