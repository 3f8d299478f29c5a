"""A Chronos-2 cut from another: exact at full size, loaded by upstream, still using covariates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from chronos.chronos2 import Chronos2Pipeline

from potstill.families.chronos2.anatomy import anatomy, driven, outputs
from potstill.families.chronos2.family import Chronos2Forecaster
from potstill.families.load import load
from potstill.transfer.cut import cut
from potstill.transfer.rotation import principal_components
from potstill.types import Windows


@pytest.fixture
def lively(small: Chronos2Forecaster) -> Chronos2Forecaster:
    """The small model with norms that have weights, and attention within groups that matters."""
    generator = torch.Generator().manual_seed(5)
    for name, weight in small.module.named_parameters():
        if "layer_norm" in name:
            weight.data = 0.5 + torch.rand(weight.shape, generator=generator)
        elif ".layer.1." in name:
            weight.data *= 3
    return small.freeze()


@pytest.fixture
def batches(contexts) -> list[Windows]:
    return [Windows.of_context(part, 32) for part in contexts[:64].split(32)]


def cut_to(family, teacher: Any, batches: list[Windows], dtype: torch.dtype = torch.float32, **sizes: Any) -> Any:
    own = {"num_layers": 2, "d_model": 32, "num_heads": 2, "d_ff": 64, **sizes}
    student = family.build(family.design(teacher, own, 64, 32), 0.0)
    student.module.to(dtype)
    cut(teacher.module, student.module, anatomy, batches, principal_components)
    return student.freeze()


def grouped(contexts) -> Windows:
    generator = torch.Generator().manual_seed(4)
    known = torch.randn(6, 2, 64 + 32, generator=generator).cumsum(2)
    group = torch.tensor([7, 3, 7, 9, 7, 9])
    return Windows.of_context(contexts[[0, 22, 80, 81, 5, 30]], 32, group=group, future_covariates=known)


def test_every_weight_is_described(small):
    found = anatomy(small.module)
    named = {name for name, _ in small.module.named_parameters()}
    assert set(found.axes) | {f"{norm}.weight" for norm in found.norms} == named
    for name, axes in found.axes.items():
        assert len(axes) == small.module.get_parameter(name).ndim


def test_at_full_size_the_rotated_model_is_the_teacher_in_float64(family, lively, batches, contexts):
    lively.module.double()
    student = cut_to(family, lively, batches, torch.float64)
    for windows in (batches[0], grouped(contexts)):
        mine, theirs = outputs(student.module, windows), outputs(lively.module, windows)
        # upstream's norm takes the mean of the squares in float32
        assert (mine - theirs).abs().max() < 1e-6 * theirs.abs().max()
    own = student.module.encoder.block[0].layer[2].mlp.wi.weight
    assert not torch.allclose(own, lively.module.encoder.block[0].layer[2].mlp.wi.weight)


def test_forecasts_of_windows_and_groups_stay_the_same_in_fp32(family, lively, batches, contexts):
    student = cut_to(family, lively, batches)
    for windows in (Windows.of_context(contexts, 32), grouped(contexts)):
        mine, theirs = (model.predict(windows, 32).values for model in (student, lively))
        assert (mine - theirs).abs().max() < 1e-4 * theirs.abs().max()


SMALLER: dict[str, Any] = {"num_layers": 1, "d_model": 20, "num_heads": 1, "d_ff": 24}


def test_upstream_loads_a_cut_student_and_forecasts_the_same(family, lively, batches, contexts, tmp_path):
    student = cut_to(family, lively, batches, **SMALLER)
    student.save(tmp_path / "student")
    assert load(tmp_path / "student").fingerprint == student.fingerprint
    pipeline = Chronos2Pipeline.from_pretrained(tmp_path / "student")
    rows = contexts[76:90]
    theirs = torch.cat(pipeline.predict([row[None].numpy() for row in rows], prediction_length=32)).sort(1).values
    mine = student.predict(rows, 32)
    assert torch.allclose(theirs, mine.quantiles, rtol=1e-4, atol=1e-4 * float(mine.scale.max()))


def test_a_cut_student_still_uses_known_covariates(family, lively, batches, contexts):
    student = cut_to(family, lively, batches, **SMALLER)
    alone = Windows.of_context(contexts[[80, 81, 82]], 32)
    generator = torch.Generator().manual_seed(4)
    known = torch.randn(3, 1, 96, generator=generator).cumsum(2)
    informed = Windows.of_context(contexts[[80, 81, 82]], 32, future_covariates=known)
    flipped = torch.cat([known[..., :64], -known[..., 64:]], dim=2)
    other = Windows.of_context(contexts[[80, 81, 82]], 32, future_covariates=flipped)
    values = [student.predict(windows, 32).values for windows in (alone, informed, other)]
    assert (values[0] - values[1]).abs().amax(dim=(1, 2)).min() > 1e-3
    assert (values[1] - values[2]).abs().amax(dim=(1, 2)).min() > 1e-3  # the future of the covariate itself


def test_a_teacher_in_bf16_gives_its_weights_too(family, lively, batches, contexts):
    student = cut_to(family, lively, batches)
    lively.module.bfloat16()
    rounded = cut_to(family, lively, batches)
    a, b = (model.predict(contexts[:60], 32).values for model in (student, rounded))
    assert (a - b).abs().mean() < 0.02 * a.abs().mean()


@pytest.mark.parametrize(
    ("sizes", "fact"),
    [
        ({"d_model": 64, "num_layers": 1, "num_heads": 2, "d_ff": 64}, "d_model=64 is larger than the teacher's 32"),
        ({"d_model": 32, "d_kv": 32, "num_layers": 1}, "d_kv=32 differs from the teacher's 16"),
        ({"d_model": 16, "quantiles": [0.1, 0.5, 0.9]}, "quantiles=[0.1, 0.5, 0.9] differs"),
        ({"d_model": 16, "d_ff": 65}, "d_ff=65 is larger than the teacher's 64"),
    ],
)
def test_what_stands_in_the_way_of_a_cut(family, small, sizes, fact):
    assert fact in family.obstacle(family.design(small, sizes, 64, 32), small)


def test_a_bolt_cannot_be_cut_to_a_chronos2(family, tiny_bolt):
    teacher = load(tiny_bolt)
    assert "not a Chronos-2 (bolt)" in family.obstacle(family.design(teacher, {}, 64, 32), teacher)


def test_a_shorter_context_keeps_the_time_encoding(family, lively, contexts):
    student = family.build(family.design(lively, {"num_layers": 2}, 32, 16), 0.0)
    cut(lively.module, student.module, anatomy, [Windows.of_context(contexts[:32, -32:], 16)], principal_components)
    student.freeze()
    mine, theirs = (model.predict(contexts[76:, -32:], 16) for model in (student, lively))
    assert np.allclose(mine.values, theirs.values, atol=1e-4 * float(theirs.values.abs().max()))


def test_windows_to_calibrate_on_depend_on_a_covariate_known_ahead(contexts):
    windows = Windows.of_context(contexts[80:83], 32)
    windows.future = contexts[90:93, :32]
    found = driven(windows)
    whole = torch.cat([windows.context, windows.future], dim=1)
    scaled = (whole - whole.mean(1, keepdim=True)) / whole.std(1, keepdim=True, correction=0)
    assert found.future_covariates is not None
    assert torch.allclose(found.future_covariates[1, 0], scaled[0], atol=1e-5)
    assert torch.allclose(found.context[1], (scaled[1] + 1.5 * scaled[0])[:64], atol=1e-5)


def test_calibration_exercises_attention_within_groups(lively, contexts):
    """Queries of groups get no gradient from windows alone; from what the calibration runs they do."""
    module = lively.module.double().requires_grad_(True)
    query = module.encoder.block[0].layer[1].self_attention.q.weight
    windows = Windows.of_context(contexts[80:88], 32)
    gradients = []
    for run in (lambda: outputs(module, windows), lambda: anatomy(module).run(windows)):
        module.zero_grad()
        run().square().mean().backward()
        gradients.append(query.grad.abs().max().item())
    assert gradients[0] < 1e-9 < 1e-4 < gradients[1]
