"""Chronos-2 students: sizes, initial weights, and weights copied from a teacher."""

from __future__ import annotations

import pytest
import torch
from chronos.chronos2 import Chronos2Model
from usage_errors import usage_error

from potstill.families.base import Architecture, Forecaster, ModelSource
from potstill.families.chronos2.family import Chronos2Forecaster
from potstill.families.load import load

TINY = {"num_layers": 2, "d_model": 32, "num_heads": 2, "d_kv": 16, "d_ff": 64}


def sizes(architecture: Architecture) -> tuple[int, ...]:
    c = architecture.config
    return c.num_layers, c.d_model, c.d_ff, c.num_heads, c.d_kv


def expected_spread(model: Chronos2Model) -> dict[str, float]:
    """Standard deviation of every matrix as upstream's ``_init_weights`` has it, written out by hand."""
    c = model.config
    inner = c.num_heads * c.d_kv
    kinds = {
        "self_attention.q.weight": (c.d_model * c.d_kv) ** -0.5,
        "self_attention.k.weight": c.d_model**-0.5,
        "self_attention.v.weight": c.d_model**-0.5,
        "self_attention.o.weight": inner**-0.5,
        "mlp.wi.weight": c.d_model**-0.5,
        "mlp.wo.weight": c.d_ff**-0.5,
        "shared.weight": 1.0,
    }
    found = {}
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            ending = next((kind for kind in kinds if name.endswith(kind)), None)
            found[name] = c.initializer_factor * (kinds[ending] if ending else weight.shape[1] ** -0.5)
    return found


def weights_off_rule(model: Chronos2Model) -> list[str]:
    """Weights that do not follow upstream's rule; a standard deviation may be off by five standard errors."""
    spread = expected_spread(model)
    wrong = []
    for name, weight in model.named_parameters():
        if name in spread:
            ok = abs(weight.std().item() / spread[name] - 1) < 5 / (2 * weight.numel()) ** 0.5
        else:
            ok = bool((weight == (model.config.initializer_factor if "layer_norm" in name else 0.0)).all())
        if not ok:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("factor", [1.0, 0.05])
def test_fresh_weights_follow_upstreams_rule_and_a_plain_constructor_does_not(family, factor):
    overrides = {"num_layers": 2, "d_model": 64, "d_kv": 32, "num_heads": 2, "initializer_factor": factor}
    architecture = family.design(None, overrides, 64, 32)
    torch.manual_seed(0)
    student = family.build(architecture, dropout=0.0)
    assert weights_off_rule(student.module) == []
    assert student.module.quantiles.tolist() == pytest.approx(student.levels.tolist())
    plain = weights_off_rule(Chronos2Model(architecture.config))
    assert any(name.endswith("self_attention.q.weight") for name in plain)
    assert len(plain) > 10


def test_the_same_seed_builds_the_same_student(family):
    architecture = family.design(None, {"num_layers": 1, "d_model": 32}, 64, 32)
    prints = set()
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        prints.add(family.build(architecture, dropout=0.0).fingerprint)
    assert len(prints) == 2


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"num_layers": 3, "d_model": 384}, (3, 384, 1536, 6, 64)),
        ({"d_model": 128}, (12, 128, 512, 2, 64)),
        ({"d_model": 128, "d_kv": 32}, (12, 128, 512, 4, 32)),
        ({"d_model": 128, "num_heads": 4, "d_ff": 100}, (12, 128, 100, 4, 64)),
        ({"d_model": 48, "num_layers": 1}, (1, 48, 192, 1, 64)),
        ({"num_layers": 2}, (2, 768, 3072, 12, 64)),
    ],
)
def test_omitted_sizes_follow_from_the_given_ones(family, overrides, expected):
    assert sizes(family.design(base_sized(family), overrides, 512, 64)) == expected


def base_sized(family) -> Forecaster:
    """A teacher of the base size without weights."""
    overrides = {"num_layers": 12, "d_model": 768, "d_ff": 3072, "num_heads": 12, "d_kv": 64}
    with torch.device("meta"):
        return Chronos2Forecaster(
            Chronos2Model(family.design(None, overrides, 2048, 1024).config), ModelSource("b", "b")
        )


def test_the_preset_for_base_sized_teachers(family):
    architecture = family.design(base_sized(family), family.presets["3x384"], 720, 96)
    assert sizes(architecture) == (3, 384, 1536, 6, 64)
    assert architecture.parameters == pytest.approx(9.0e6, rel=0.05)


def test_without_sizes_a_student_is_its_teacher_made_narrower_to_a_third(family):
    teacher = base_sized(family)
    architecture = family.design(teacher, {}, 720, 96)
    assert 0.32 < architecture.parameters / teacher.parameters <= 1 / 3
    depth, width, neurons, heads, head_width = sizes(architecture)
    assert (depth, heads, head_width) == (12, 12, 64)
    assert neurons == 4 * width < 3072 / 2
    assert family.obstacle(architecture, teacher) is None


def test_without_a_chronos2_teacher_a_narrow_head_is_as_wide_as_half_the_stream(family, tiny_bolt):
    assert sizes(family.design(load(tiny_bolt), {"d_model": 48}, 64, 32)) == (2, 48, 192, 2, 24)


def test_a_student_keeps_its_teachers_patches_levels_and_time_encoding(family, small):
    teacher = small.module.config.chronos_config
    student = family.design(small, {"num_layers": 1, "d_model": 32}, 32, 16).config.chronos_config
    # and it has the lengths that it is trained for
    lengths = {"context_length": 32, "max_output_patches": 1}
    assert {k: student[k] for k in teacher} == teacher | lengths


def test_a_horizon_of_partial_patches_is_the_maximum_of_a_student(family, small, tmp_path):
    architecture = family.design(small, {"num_layers": 1, "d_model": 32}, 32, 20)
    student = family.build(architecture, 0.0)
    assert student.module.chronos_config.max_output_patches == 2
    student.save(tmp_path / "student")
    assert load(tmp_path / "student").max_horizon == 20


def test_the_architecture_counts_the_weights_that_are_built(family):
    architecture = family.design(None, {"num_layers": 2, "d_model": 48}, 64, 32)
    assert architecture.parameters == family.build(architecture, dropout=0.0).parameters


def test_without_a_teacher_lengths_follow_the_data(family):
    chronos = family.design(None, {"num_layers": 1, "d_model": 32}, 500, 40).config.chronos_config
    assert chronos["context_length"] == chronos["time_encoding_scale"] == 500
    assert chronos["max_output_patches"] == 3


@pytest.mark.parametrize(
    ("overrides", "key", "fact"),
    [
        ({"d_modle": 64}, "student.unknown_setting", "d_modle"),
        ({"d_model": 0}, "student.bad_value", "d_model=0"),
        ({"num_layers": 2.0}, "student.bad_value", "num_layers=2.0"),
        ({"num_layers": True}, "student.bad_value", "num_layers=True"),
        ({"d_kv": 15, "d_model": 32}, "student.bad_value", "d_kv=15"),
        ({"d_model": "wide"}, "student.bad_value", "'wide'"),
        ({"num_layers": 1, "initializer_factor": "much"}, "student.bad_value", "initializer_factor='much'"),
        ({"num_layers": 1, "quantiles": 0.5}, "student.bad_value", "quantiles=0.5"),
        ({"num_layers": 1, "quantiles": [0.9, 0.1]}, "student.bad_value", "quantiles=[0.9, 0.1]"),
        ({"num_layers": 1, "quantiles": [0.5, 0.5]}, "student.bad_value", "ascending"),
        ({"num_layers": 1, "quantiles": [0.0, 0.5]}, "student.bad_value", "between 0 and 1"),
        ({"num_layers": 1, "quantiles": []}, "student.bad_value", "quantiles=[]"),
        ({"num_layers": 1, "input_patch_stride": 0}, "student.bad_value", "input_patch_stride=0"),
        ({"num_layers": 1, "time_encoding_scale": -1}, "student.bad_value", "time_encoding_scale=-1"),
        ({"num_layers": 1, "input_patch_size": 8}, "student.cannot_be_built", "Chronos-2"),
        ({"num_layers": 1, "is_gated_act": True}, "student.cannot_be_built", "Chronos-2"),
    ],
)
def test_bad_settings_are_usage_errors(family, small, overrides, key, fact):
    with usage_error(key, fact):
        family.design(small, overrides, 64, 32)


def test_a_teacher_too_small_for_a_third_requires_sizes(family):
    torch.manual_seed(0)
    narrow = family.build(family.design(None, {**TINY, "d_model": 8}, 64, 32), 0.0)
    with usage_error("student.no_size_fits", "num_layers=1,d_model=4"):
        family.design(narrow, {}, 64, 32)


def test_starting_from_a_teacher_of_the_same_width_copies_spaced_layers(family):
    torch.manual_seed(0)
    wide = {"d_model": 32, "d_ff": 64, "num_heads": 2, "d_kv": 16}
    teacher = family.build(family.design(None, {"num_layers": 5, **wide}, 64, 32), 0.0)
    student = family.build(family.design(teacher, {"num_layers": 3, **wide}, 64, 32), 0.0)
    lines = family.copy_from(student, teacher)
    assert len(lines) == 1
    own, teachers = student.module.state_dict(), teacher.module.state_dict()
    for mine, source in ((0, 0), (1, 2), (2, 4)):
        for name in [n for n in own if n.startswith(f"encoder.block.{mine}.")]:
            assert torch.equal(own[name], teachers[name.replace(f"block.{mine}.", f"block.{source}.")])
    for name in [n for n in own if "block" not in n or "_patch_embedding" in n]:
        assert torch.equal(own[name], teachers[name])


def test_a_whole_copy_forecasts_what_the_teacher_does(family, small, contexts):
    student = family.build(family.design(small, {"num_layers": 2}, 64, 32), 0.0)
    family.copy_from(student, small)
    assert torch.equal(student.predict(contexts, 32).values, small.predict(contexts, 32).values)


def test_without_a_teacher_a_student_is_small(family):
    assert sizes(family.design(None, {}, 720, 96)) == (2, 128, 512, 2, 64)
    assert 500_000 < family.design(None, {}, 720, 96).parameters < 1_000_000
    assert sizes(family.design(None, {"num_layers": 3}, 720, 96)) == (3, 128, 512, 2, 64)
    assert sizes(family.design(None, {"d_model": 64}, 720, 96))[:2] == (2, 64)


@pytest.mark.parametrize(
    ("overrides", "key", "fact"),
    [
        ({"num_layers": 10**9}, "student.too_large", "128"),
        ({"d_model": 10**6}, "student.too_large", "10,000,000,000"),
        ({"d_ff": 10**15}, "student.too_large", "10,000,000,000"),
        ({"d_model": 10**30}, "student.cannot_be_built", "Chronos-2"),
    ],
)
def test_gigantic_sizes_are_rejected_at_once(family, overrides, key, fact):
    with usage_error(key, fact):
        family.design(None, overrides, 64, 32)
