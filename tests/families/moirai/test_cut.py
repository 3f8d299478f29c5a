"""A Moirai cut from another: exact at full size also from several patch sizes, and loaded by upstream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("uni2ts", reason="uni2ts is installed by the Makefile")

from uni2ts.distribution import (
    LogNormalOutput,
    MixtureOutput,
    NegativeBinomialOutput,
    NormalFixedScaleOutput,
    NormalOutput,
    StudentTOutput,
)
from uni2ts.model.moirai import MoiraiModule

from potstill.families.base import ModelSource
from potstill.families.load import load
from potstill.families.moirai.anatomy import anatomy, outputs, with_one_patch
from potstill.families.moirai.family import MoiraiFamily, MoiraiForecaster
from potstill.transfer.cut import cut
from potstill.transfer.rotation import principal_components
from potstill.types import Windows

FAMILY = MoiraiFamily()


def teacher(patches: tuple[int, ...] = (8, 16, 32), components: list[Any] | None = None) -> MoiraiForecaster:
    """Two layers, two heads of 64, and norms with weights; its mixture has an order of its own."""
    torch.manual_seed(3)
    mixture = components or [LogNormalOutput(), StudentTOutput(), NormalFixedScaleOutput()]
    module = MoiraiModule(MixtureOutput(mixture), 128, 2, patches, 64, 0.0, 0.0)
    for name, weight in module.named_parameters():
        if "norm" in name:
            weight.data = 0.5 + torch.rand(weight.shape)
    forecaster = MoiraiForecaster(module, ModelSource("t", "t"), {}).freeze()
    forecaster.patch_size = patches[len(patches) // 2]
    return forecaster


@pytest.fixture
def windows() -> Windows:
    generator = torch.Generator().manual_seed(4)
    context = torch.randn(24, 64, generator=generator).cumsum(1)
    context[:4, :20] = torch.nan
    context[4:8][torch.rand(4, 64, generator=generator) < 0.2] = torch.nan
    return Windows.of_context(context, 32)


def cut_to(source: MoiraiForecaster, windows: Windows, **sizes: Any) -> MoiraiForecaster:
    architecture = FAMILY.design(source, {"d_model": 128, "num_layers": 2, **sizes}, 64, 32)
    assert FAMILY.obstacle(architecture, source) is None
    student = FAMILY.build(architecture, 0.0)
    cut(FAMILY.matched(source, architecture), student.module, anatomy, [windows], principal_components)
    return student.freeze()


@pytest.mark.parametrize("patches", [(16,), (8, 16, 32), (16, 24)])
def test_at_full_size_forecasts_stay_the_same(patches, windows):
    source = teacher(patches)
    student = cut_to(source, windows)
    mine, theirs = (model.predict(windows, 32).values for model in (student, source))
    assert (mine - theirs).abs().max() < 1e-4 * theirs.abs().max()
    found = anatomy(student.module)
    assert set(found.axes) | {f"{norm}.weight" for norm in found.norms} == set(dict(student.module.named_parameters()))


def test_the_anatomys_own_pass_gives_the_forecast(windows):
    source = teacher((16,))
    assert torch.allclose(outputs(source.module, windows).float(), source.predict(windows, 32).values, atol=1e-4)


def test_a_distribution_that_a_student_lacks_is_left_out_and_the_others_keep_their_weights():
    source = teacher(
        components=[NegativeBinomialOutput(), LogNormalOutput(), NormalFixedScaleOutput(), StudentTOutput()]
    )
    architecture = FAMILY.design(source, {}, 64, 32)
    copy: Any = with_one_patch(source.module, architecture.config)
    scale = source.module.param_proj.proj.components[3]["scale"]
    assert torch.equal(copy.param_proj.proj.components[0]["scale"].weight[0], scale.weight[1, :16])
    logits = source.module.param_proj.proj.weights_logits.bias[1].view(4, 32)[:, :16]
    assert torch.equal(copy.param_proj.proj.weights_logits.bias[0].view(3, 16), logits[[3, 2, 1]])


def test_upstream_loads_a_cut_student(windows, tmp_path: Path):
    student = cut_to(teacher(), windows, d_model=64, num_layers=1)
    student.save(tmp_path)
    again, reference = load(tmp_path), MoiraiModule.from_pretrained(tmp_path)
    assert torch.allclose(again.predict(windows, 32).values, student.predict(windows, 32).values, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(reference.parameters(), student.module.parameters(), strict=True))


@pytest.mark.parametrize(
    ("sizes", "components", "fact"),
    [
        ({"d_model": 192}, None, "d_model=192 is larger than the teacher's 128"),
        ({"d_model": 96}, None, "its heads are 96 wide, the teacher's 64"),
        ({"patch_sizes": 64}, None, "patch_sizes=64 is not one of the teacher's (8, 16, 32)"),
        ({"num_layers": 3}, None, "num_layers=3 is larger"),
        ({"d_model": 64}, [StudentTOutput(), NormalOutput()], "lacks one of the student's distributions"),
    ],
)
def test_what_stands_in_the_way_of_a_cut(sizes, components, fact):
    source = teacher(components=components)
    assert fact in FAMILY.obstacle(FAMILY.design(source, sizes, 64, 32), source)
