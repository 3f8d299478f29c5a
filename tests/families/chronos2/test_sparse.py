"""A Chronos-2 with sparse feed-forward layers: sizes, identity with a dense model, losses, files and errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from usage_errors import usage_error

from potstill.families.chronos2.anatomy import outputs
from potstill.families.chronos2.family import Chronos2Family, Chronos2Forecaster
from potstill.families.chronos2.sparse import SparseChronos2Model
from potstill.families.load import load
from potstill.families.sparse import sparse_layers
from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective
from potstill.types import Request, Windows

SIZES = {"num_layers": 3, "d_model": 32, "num_heads": 2, "d_kv": 16, "d_ff": 64}
ONE_FFN = 2 * 32 * 64
INSERTS = pytest.mark.parametrize("insert", ["ffn", "after"])


def build(family: Chronos2Family, **overrides: Any) -> Chronos2Forecaster:
    torch.manual_seed(1)
    model = family.build(family.design(None, {**SIZES, "experts": 4, **overrides}, 64, 32), dropout=0.0)
    model.module.eval()
    return model


def dense(family: Chronos2Family, seed: int = 2, **changes: Any) -> Chronos2Forecaster:
    torch.manual_seed(seed)
    model = family.build(family.design(None, {**SIZES, **changes}, 64, 32), dropout=0.0)
    model.module.eval()
    return model


def upcycled(family: Chronos2Family, base: Chronos2Forecaster, **experts: Any) -> Chronos2Forecaster:
    torch.manual_seed(3)
    student = family.build(family.grown(base, {"experts": 4, **experts}), dropout=0.0)
    with family.dense(student) as module:
        module.load_state_dict(base.module.state_dict())
    student.module.eval()
    return student


def lively(model: Chronos2Forecaster) -> Chronos2Forecaster:
    """The model with inserted layers and routers that matter."""
    generator = torch.Generator().manual_seed(5)
    for layer in sparse_layers(model.module):
        for weight in (layer.wo, layer.router.weight):
            weight.data += 0.3 * torch.randn(weight.shape, generator=generator)
    return model


def grouped(contexts) -> Windows:
    known = torch.randn(6, 2, 64 + 32, generator=torch.Generator().manual_seed(4)).cumsum(2)
    group = torch.tensor([7, 3, 7, 9, 7, 9])
    return Windows.of_context(contexts[[0, 22, 80, 81, 5, 30]], 32, group=group, future_covariates=known)


def sparse_blocks(model: Chronos2Forecaster) -> list[int]:
    return [i for i, block in enumerate(model.module.encoder.block) if sparse_layers(block)]


def test_by_default_every_second_block_is_sparse(family):
    model = build(family)
    assert sparse_blocks(model) == [1]
    assert sparse_blocks(build(family, expert_layers=[2, 0])) == [0, 2]
    assert sparse_blocks(build(family, num_layers=1)) == [0]
    assert [(len(layer.wi), layer.router.top_k) for layer in sparse_layers(model.module)] == [(4, 2)]


@INSERTS
def test_parameters_and_active_parameters(family, insert):
    layers = [0, 2]
    model = build(family, experts=4, expert_top_k=1, expert_layers=layers, expert_insert=insert)
    base = dense(family).parameters
    routers = len(layers) * 4 * 32
    norms = len(layers) * 32 if insert == "after" else 0
    experts = len(layers) * ONE_FFN
    replaced = experts if insert == "ffn" else 0
    assert model.info.parameters == base - replaced + 4 * experts + routers + norms
    assert model.info.active_parameters == base - replaced + experts + routers + norms
    design = family.design(None, {**SIZES, "experts": 4, "expert_top_k": 1, "expert_layers": layers}, 64, 32)
    assert family.build(design, 0.0).active_parameters == design.active_parameters


def test_auxiliary_losses_are_those_that_the_info_names(family, contexts):
    model, windows = build(family), Windows.of_context(contexts, 32)
    output = model.forward(windows, Request(32))
    assert tuple(output.auxiliary) == model.info.auxiliary == ("balance", "router_z")
    assert set(output.statistics) == {"busiest_expert", "idle_experts"}
    plain = dense(family).forward(windows, Request(32))
    assert plain.auxiliary == plain.statistics == {}


@INSERTS
def test_a_grown_model_equals_its_base_before_training(family, contexts, insert):
    base = dense(family)
    for experts in ({"top_k": 1}, {"top_k": 2, "layers": [0, 2]}, {"top_k": 4, "layers": [0, 1, 2]}):
        grown = upcycled(family, base, insert=insert, **experts)
        for windows in (Windows.of_context(contexts, 32), grouped(contexts)):
            mine, theirs = (model.predict(windows, 32).values for model in (grown, base))
            assert (mine - theirs).abs().max() <= 1e-6 * theirs.abs().max()


@INSERTS
def test_experts_become_different_and_gradients_reach_all_that_is_new(family, contexts, insert):
    grown = upcycled(family, dense(family), insert=insert)
    optimizer = torch.optim.SGD(grown.module.parameters(), lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        output = grown.forward(Windows.of_context(contexts[:64], 32), Request(32))
        (output.forecast.values.square().mean() + 0.01 * sum(output.auxiliary.values())).backward()
        torch.nn.utils.clip_grad_norm_(grown.module.parameters(), 1.0)
        optimizer.step()
    (layer,) = sparse_layers(grown.module)
    for weight in (layer.router.weight, layer.wi, layer.wo):
        assert weight.grad.abs().max() > 0
    assert (layer.wo[0] - layer.wo[1]).abs().max() > 1e-5


@INSERTS
def test_upstreams_own_pass_computes_the_same(family, contexts, insert):
    """Roll-outs and the calibration of a cut call upstream's ``encode``."""
    model = lively(build(family, expert_insert=insert))
    windows = grouped(contexts)
    with torch.no_grad():
        head = outputs(model.module, windows)[:6].view(6, 2, len(model.levels), 16).transpose(1, 2).flatten(2)
        mine = model.forward(windows, Request(32)).forecast.values
    assert (mine - head).abs().max() <= 1e-5 * head.abs().max()


@INSERTS
def test_forecasts_do_not_depend_on_the_batch(family, contexts, insert):
    model = lively(build(family, expert_insert=insert))
    together = model.predict(contexts, 32).values
    apart = model.predict(contexts, 32, batch_size=7).values
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


@INSERTS
def test_save_and_load(family, contexts, tmp_path, insert):
    model = lively(build(family, expert_insert=insert, expert_layers=[0, 2]))
    model.save(tmp_path / "student")
    again = load(tmp_path / "student")
    assert isinstance(again.module, SparseChronos2Model)
    assert again.fingerprint == model.fingerprint
    assert again.active_parameters == model.active_parameters < model.parameters
    assert torch.equal(again.predict(contexts, 32).values, model.predict(contexts, 32).values)
    assert again.predict(contexts[:3], 50).values.isfinite().all()  # a roll-out
    half = load(tmp_path / "student", precision="bf16")
    assert (half.predict(contexts[:75], 32).values - model.predict(contexts[:75], 32).values).abs().mean() < 0.05


def test_a_checkpoint_without_its_experts_is_refused(family, tmp_path: Path):
    dense(family).save(tmp_path / "student")
    path = tmp_path / "student" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "architectures": ["SparseChronos2Model"], "experts": 4}))
    with usage_error("model.weights_mismatch", "lacks", "block.1.layer.2.mlp"):
        load(tmp_path / "student")


def test_fresh_experts_follow_the_rule_of_dense_networks_and_inserted_layers_are_the_identity(family, contexts):
    (layer,) = sparse_layers(build(family, initializer_factor=0.5).module)
    assert layer.wi.std().item() == pytest.approx(0.5 * 32**-0.5, rel=0.05)
    assert layer.wo.std().item() == pytest.approx(0.5 * 64**-0.5, rel=0.05)
    assert layer.router.weight.std().item() == pytest.approx((0.1 / 32) ** 0.5, rel=0.3)
    inserted = build(family, expert_insert="after")
    block = inserted.module.encoder.block[1].layer[2]
    assert (block.inserted.mlp.wo == 0).all()
    assert (block.inserted.layer_norm.weight == 1).all()
    assert block.inserted.mlp.wi.std() > 0.1
    whole = inserted.predict(contexts, 32).values
    block.inserted.mlp.wo.data.normal_()
    assert (inserted.predict(contexts, 32).values - whole).abs().max() > 1e-2


def test_a_copied_start_gives_the_experts_the_teachers_network(family, contexts):
    teacher = dense(family)
    student = build(family)
    lines = family.copy_from(student, teacher)
    assert "weights start from the teacher (layers 0, 1, 2)" in lines[0]
    expected = teacher.predict(contexts, 32).values
    assert (student.predict(contexts, 32).values - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_weights_of_a_sparse_teacher_are_copied_but_not_cut(family, contexts):
    teacher, student = lively(build(family)), build(family)
    family.copy_from(student, teacher)
    assert torch.equal(student.predict(contexts, 32).values, teacher.predict(contexts, 32).values)
    narrow = family.design(teacher, {"d_model": 16}, 64, 32)
    assert "sparse layers" in family.obstacle(narrow, teacher)
    assert family.build(narrow, 0.0).auxiliary == ()  # experts are not taken over from a teacher's config


def test_auxiliary_losses_change_the_gradient_by_their_weight(family, contexts):
    model = lively(build(family))
    (layer,) = sparse_layers(model.module)
    windows = Windows.of_context(contexts[:40], 32)
    windows.future.copy_(torch.randn(40, 32, generator=torch.Generator().manual_seed(6)))

    def gradient(weights: dict[str, float]) -> torch.Tensor:
        objective = Objective(ForecastObjective(alpha=0.0, auxiliary=weights))
        objective.bind(model.info, {})
        total, values = objective(LossInputs(windows, model.forward(windows, Request(32))))
        assert {"auxiliary_balance", "auxiliary_router_z", "busiest_expert", "idle_experts"} <= set(values)
        return torch.autograd.grad(total, layer.router.weight)[0]

    none = gradient({"balance": 0.0, "router_z": 0.0})
    default, given = gradient({}), gradient({"balance": 0.01, "router_z": 0.01})
    assert torch.equal(default, given)
    twice = gradient({"balance": 0.02, "router_z": 0.02})
    torch.testing.assert_close(twice - none, 2 * (default - none), atol=1e-6, rtol=1e-3)
    assert (default - none).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"experts": 1}, "experts.bad_count", "1; expected a whole number from 2"),
        ({"experts": 2.5}, "experts.bad_count", "2.5"),
        ({"expert_top_k": 5}, "experts.bad_top_k", "top_k=5 with 4 experts"),
        ({"expert_top_k": 0}, "experts.bad_top_k", "top_k=0"),
        ({"expert_layers": [1, 3]}, "experts.bad_layers", "3 layers"),
        ({"expert_layers": []}, "experts.bad_layers", "[]"),
        ({"expert_layers": 1}, "experts.bad_layers", "layers=1"),
        ({"expert_insert": "before"}, "experts.bad_insert", "before"),
        ({"expert_size": 4}, "student.unknown_setting", "expert_layers"),
    ],
)
def test_settings_that_cannot_be_built(family, changes, key, words):
    with usage_error(key, words):
        family.design(None, {**SIZES, "experts": 4, **changes}, 64, 32)


def test_keys_of_experts_without_their_number(family):
    with usage_error("experts.bad_count", "experts=None"):
        family.design(None, {**SIZES, "expert_top_k": 2}, 64, 32)


def test_what_cannot_grow(family):
    with usage_error("grow.already_sparse", "sparse layers already"):
        family.grown(build(family), {"experts": 4})


def test_a_grown_model_is_calibrated_again(family):
    base = dense(family)
    base.scale_spread(1.5)
    assert upcycled(family, base).spread == 1.0
