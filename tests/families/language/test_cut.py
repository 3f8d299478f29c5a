"""Language models cut from others: exact at full size in float64, and what a tied output layer costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_gpt2 import tokenizer_of
from transformers import AutoConfig, AutoModelForCausalLM

from potstill.families.base import ModelSource
from potstill.families.language.anatomy import anatomy, obstacle, with_own_output_layer
from potstill.families.language.family import LanguageFamily
from potstill.families.language.model import LanguageModel
from potstill.transfer.calibration import measure_activity
from potstill.transfer.cut import cut
from potstill.transfer.rotation import largest_dimensions, principal_components
from potstill.types import Tokens

FAMILY = LanguageFamily()
GPT2 = {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_positions": 40}
LLAMA = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
LLAMA_LIKE: dict[str, Any] = {**LLAMA, "intermediate_size": 48, "max_position_embeddings": 40}
KINDS: dict[str, dict[str, Any]] = {
    "gpt2": GPT2,
    "llama": {**LLAMA_LIKE, "attention_bias": True, "mlp_bias": True},
    "mistral": LLAMA_LIKE,
    "qwen2": {key: value for key, value in LLAMA_LIKE.items() if key != "head_dim"},
    "qwen3": LLAMA_LIKE,
}


def model(kind: str, tied: bool, seed: int = 0, **sizes: Any) -> Any:
    """Random weights in float64, norms and biases as well."""
    special = {"vocab_size": 61, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = AutoConfig.for_model(kind, **{**KINDS[kind], **special, **sizes}, tie_word_embeddings=tied)
    torch.manual_seed(seed)
    module = AutoModelForCausalLM.from_config(config).double().eval().requires_grad_(False)
    for name, weight in module.named_parameters():
        if weight.ndim == 1:
            weight.copy_(torch.randn(weight.shape) * 0.3 + (0 if "bias" in name else 1))
        else:
            weight.mul_(8)
    return module


def tokens(seed: int = 1, rows: int = 24) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(61, (rows, 20), generator=generator)
    every = torch.ones_like(ids, dtype=torch.bool)
    return Tokens(ids, every, every, torch.arange(rows))


def error(student: Any, teacher: Any) -> float:
    """Largest difference of log-probabilities on text that was not calibrated on."""
    mine, theirs = (net(input_ids=tokens(2).input_ids).logits.log_softmax(-1) for net in (student, teacher))
    return float((mine - theirs).abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_described(kind):
    for tied in (True, False):
        module = model(kind, tied)
        found, named = anatomy(module), dict(module.named_parameters())
        assert {name for name in named if name.rpartition(".")[0] not in found.norms} == set(found.axes)
        assert all(len(axes) == named[name].ndim for name, axes in found.axes.items())


@pytest.mark.parametrize("basis", [principal_components, largest_dimensions])
@pytest.mark.parametrize("kind", KINDS)
def test_at_full_size_an_untied_student_is_its_teacher(kind, basis):
    teacher, student = model(kind, tied=False), model(kind, tied=False, seed=5)
    cut(teacher, student, anatomy, [tokens()], basis)
    assert error(student, teacher) < 1e-5  # some norms compute in float32
    rotated = not torch.allclose(student.get_input_embeddings().weight, teacher.get_input_embeddings().weight)
    assert rotated == (basis is principal_components)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_tied_teacher_gives_an_untied_student_its_embeddings_twice(kind):
    teacher, student = model(kind, tied=True), model(kind, tied=False, seed=5)
    cut(with_own_output_layer(teacher), student, anatomy, [tokens()], principal_components)
    assert error(student, teacher) < 1e-5
    assert teacher.lm_head.weight is teacher.get_input_embeddings().weight


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_tied_student_is_exact_where_its_last_norm_is_constant_or_dimensions_are_kept(kind):
    for basis, constant in ((principal_components, True), (largest_dimensions, False)):
        teacher, student = model(kind, tied=True), model(kind, tied=True, seed=5)
        if constant:
            last = teacher.get_submodule(anatomy(teacher).norms[0])
            last.weight.fill_(1.7)
        cut(teacher, student, anatomy, [tokens(rows=64)], basis)
        assert error(student, teacher) < 1e-4
        assert student.lm_head.weight is student.get_input_embeddings().weight


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_last_norm_of_a_tied_student_is_the_closest_one(kind):
    """No other weight or bias of the norm brings the logits closer to the teacher's."""
    teacher, student = model(kind, tied=True), model(kind, tied=True, seed=5)
    batch = tokens(rows=64)
    cut(teacher, student, anatomy, [batch], principal_components)
    last = student.get_submodule(anatomy(student).norms[0])

    def distance() -> float:
        """Up to a constant per token."""
        logits = [net(input_ids=batch.input_ids).logits for net in (student, teacher)]
        difference = logits[0] - logits[1]
        return float((difference - difference.mean(-1, keepdim=True)).square().mean())

    best = distance()
    for weight in last.parameters():
        for place in (0, 7, 20):
            for step in (-0.05, 0.05):
                weight[place] += step
                assert distance() > best - 1e-9
                weight[place] -= step
    last.weight.fill_(1.0)
    assert distance() > 1.1 * best


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_not_calibrated_on(kind):
    """Examples of any length in one batch give what each of them gives alone."""
    module = model(kind, tied=True)
    whole, lengths = tokens(rows=6), [20, 3, 7, 20, 4, 11]
    real = torch.arange(20) < torch.tensor(lengths)[:, None]
    padded = Tokens(whole.input_ids.where(real, 0), real, real, whole.ids)
    alone = [
        Tokens(*(part[row : row + 1, :length] for part in (whole.input_ids, real, real)), whole.ids[row : row + 1])
        for row, length in enumerate(lengths)
    ]
    every = list(anatomy(module).units)
    together, one_by_one = (measure_activity(module, anatomy(module), part, every) for part in ([padded], alone))
    assert torch.allclose(together.covariance, one_by_one.covariance, atol=1e-6)
    assert together.last is not None
    assert one_by_one.last is not None
    pairs = list(zip(together.last, one_by_one.last, strict=True))
    pairs += [
        (getattr(together, of)[name], own)
        for of in ("moments", "inputs")
        for name, own in getattr(one_by_one, of).items()
    ]
    for ours, expected in pairs:
        assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-5)


SMALLER: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 1, "n_embd": 16, "n_head": 2, "n_positions": 24, "n_inner": 40},
    "llama": {
        "num_hidden_layers": 1,
        "hidden_size": 20,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 24,
    },
}


@pytest.mark.parametrize("kind", SMALLER)
def test_upstream_loads_a_cut_student(kind, tmp_path: Path):
    teacher, student = model(kind, tied=True).float(), model(kind, tied=True, seed=5, **SMALLER[kind]).float()
    assert obstacle(student.config, teacher.config) is None
    (line,) = cut(teacher, student, anatomy, [tokens()], principal_components)
    assert "layers 0 of 2" in line
    student.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = tokens(2).input_ids
    assert torch.equal(again(input_ids=ids).logits, student(input_ids=ids).logits)


def test_the_family_cuts_a_student(gpt2):
    sizes = {"n_embd": 16, "n_head": 1, "n_layer": 1}
    architecture = FAMILY.design(gpt2, sizes, 64, 0)
    assert FAMILY.obstacle(architecture, gpt2) is None
    assert FAMILY.matched(gpt2, architecture) is gpt2.module
    untied = FAMILY.design(gpt2, {**sizes, "tie_word_embeddings": False}, 64, 0)
    assert FAMILY.matched(gpt2, untied) is not gpt2.module


@pytest.mark.parametrize(
    ("kind", "sizes", "fact"),
    [
        ("gpt2", {"n_embd": 64, "n_head": 8}, "n_embd=64 is larger than the teacher's 32"),
        ("gpt2", {"n_head": 2}, "its heads are 16 wide, the teacher's 8"),
        ("llama", {"head_dim": 4}, "its heads are 4 wide, the teacher's 8"),
        ("gpt2", {"n_layer": 1, "activation_function": "relu"}, "activation_function='relu' differs"),
        ("gpt2", {"n_positions": 80}, "n_positions=80 is larger"),
        ("llama", {"num_attention_heads": 2}, "1 of its query heads share a key head, in the teacher 2"),
        ("llama", {"tie_word_embeddings": True}, "tie_word_embeddings=false"),
    ],
)
def test_what_stands_in_the_way_of_a_cut(kind, sizes, fact):
    teacher = model(kind, tied=False)
    settings = {**KINDS[kind], "vocab_size": 61, "tie_word_embeddings": False, **sizes}
    assert fact in obstacle(AutoConfig.for_model(kind, **settings), teacher.config)


def test_other_architectures_do_not_describe_their_weights():
    config = AutoConfig.for_model("opt", vocab_size=61, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    tokenizer = tokenizer_of(eos_token="<end>")
    opt = LanguageModel(AutoModelForCausalLM.from_config(config), tokenizer, ModelSource("o", "o"))
    own = FAMILY.obstacle(FAMILY.design(opt, {"hidden_size": 8}, 16, 0), opt)
    assert own is not None
    assert "opt models do not describe their weights (gpt2, llama" in own
    assert (
        FAMILY.obstacle(FAMILY.design(opt, {}, 16, 0), opt) == "the teacher's architecture is opt, the student's gpt2"
    )


def test_gpt2s_heads_may_be_narrower():
    """Of a teacher whose heads use half of their width, a student with heads of half the width loses nothing."""
    teacher = model("gpt2", tied=False)
    for block in teacher.transformer.h:
        unused = [part * 32 + head * 8 + i for part in range(3) for head in range(4) for i in range(4, 8)]
        block.attn.c_attn.weight[:, unused] = 0
        block.attn.c_attn.bias[unused] = 0
    narrow = model("gpt2", tied=False, seed=5)
    for block in narrow.transformer.h:  # upstream ties the width of heads to that of the stream; only the test does not
        block.attn.head_dim, block.attn.split_size, block.attn.scaling = 4, 16, 4**-0.5
        block.attn.c_attn.weight = torch.nn.Parameter(torch.zeros(32, 48, dtype=torch.float64))
        block.attn.c_attn.bias = torch.nn.Parameter(torch.zeros(48, dtype=torch.float64))
        block.attn.c_attn.nf = 48
        block.attn.c_proj.weight = torch.nn.Parameter(torch.zeros(16, 32, dtype=torch.float64))
    narrow.requires_grad_(False)

    def describe(module: Any) -> Any:
        found = anatomy(module)
        if module is not narrow:
            return found
        units = {name: replace(unit, width=4) if unit.kind == "heads" else unit for name, unit in found.units.items()}
        return replace(found, units=units)

    cut(teacher, narrow, describe, [tokens()], principal_components)
    assert error(narrow, teacher) < 1e-3 * float(teacher(input_ids=tokens(2).input_ids).logits.abs().max())


def test_the_small_preset_starts_from_a_wider_gpt2(tmp_path: Path):
    """Twelve heads of 64 become eight of 48, as they are in a student without sizes."""
    teacher = model("gpt2", tied=True, n_embd=768, n_head=12, n_layer=7, n_positions=1024).float()
    loaded = LanguageModel(teacher, tokenizer_of(eos_token="<end>"), ModelSource("t", "t"))
    architecture = FAMILY.design(loaded, {}, 40, 0)
    assert (architecture.config.n_layer, architecture.config.n_embd, architecture.config.n_head) == (6, 384, 8)
    assert FAMILY.obstacle(architecture, loaded) is None
    student = FAMILY.build(architecture, 0.0, loaded)
    (line,) = cut(teacher, student.module, anatomy, [tokens()], principal_components, layers=range(6))
    assert "8 of 12 heads; 1536 of 3072 neurons" in line
    assert all(bool(weight.isfinite().all()) for weight in student.module.parameters())
