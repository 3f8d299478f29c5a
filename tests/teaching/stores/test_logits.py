"""Stored logits: what they hold, that they give the live loss on the same support, resuming, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_gpt2 import save_gpt2

from potstill.errors import UserError
from potstill.families.language.load import load_language
from potstill.families.language.model import LanguageModel
from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import ObjectiveConfig
from potstill.teaching.stores import logits as module
from potstill.teaching.stores.logits import LogitStore, label_tokens
from potstill.teaching.stores.shards import shard_path
from potstill.types import Logits, Output, Tokens, TopLogits


class Examples:
    """Twenty rows of random tokens, the last third of each the answer."""

    fingerprint = "examples"

    def __init__(self, vocabulary: int, count: int = 20):
        self.vocabulary, self.lengths = vocabulary, 6 + np.arange(count) % 7

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitems__(self, ids) -> Tokens:
        width = int(self.lengths[ids].max())
        rows, there, answer = (
            torch.zeros(len(ids), width, dtype=kind) for kind in (torch.long, torch.bool, torch.bool)
        )
        for place, example in enumerate(ids):
            length = int(self.lengths[example])
            generator = torch.Generator().manual_seed(int(example))
            rows[place, :length] = torch.randint(1, self.vocabulary, (length,), generator=generator)
            there[place, :length] = True
            answer[place, 2 * length // 3 : length] = True
        return Tokens(rows, there, answer, torch.as_tensor(np.asarray(ids)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture
def teacher(folder: Path) -> LanguageModel:
    return load_language(folder).freeze()


@pytest.fixture
def examples(teacher: LanguageModel) -> Examples:
    return Examples(teacher.vocabulary)


@pytest.fixture
def store(teacher: LanguageModel, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LogitStore:
    monkeypatch.setattr(module, "EXAMPLES", 8)  # three shards, the last one short
    return label_tokens(teacher, examples, tmp_path / "labels", 1.0, kept=16, batch_size=3)


def test_they_are_the_largest_of_each_token_and_the_sum_of_all(store, teacher, examples):
    batch = examples.__getitems__(np.array([13, 2, 19]))
    labels = store.attach(batch).labels
    live = teacher.forward(batch).logits
    whole = live.head(live.states)
    assert torch.equal(labels.indices, whole.topk(16, dim=1).indices)
    ours = labels.logits - labels.log_sum_exp[:, None]
    assert torch.allclose(ours, whole.log_softmax(dim=1).gather(1, labels.indices), atol=5e-3)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("name", ["kl", "reverse_kl", "jsd", "skew_kl"])
def test_the_loss_is_the_live_one_on_the_same_support(teacher, examples, tmp_path, name: str, temperature: float):
    """To 1e-3: the live logits, cut to the support that is stored, in full precision."""
    store = label_tokens(teacher, examples, tmp_path / "labels", temperature, kept=16)
    batch = store.attach(examples.__getitems__(np.arange(20)))
    live = teacher.forward(batch).logits
    whole = live.head(live.states)
    exact = TopLogits(
        batch.labels.indices,
        whole.gather(1, batch.labels.indices),
        (whole / temperature).logsumexp(dim=1),
        temperature,
    )
    objective = Objective(ObjectiveConfig(soft=name, hard="cross_entropy", alpha=0.8, temperature=temperature))
    student = Output(Logits(torch.randn_like(live.states), live.head))
    losses = [objective(LossInputs(batch, student, Output(labels)))[0].item() for labels in (batch.labels, exact)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def test_a_token_takes_less_than_300_bytes(teacher, tmp_path):
    examples = Examples(teacher.vocabulary, 200)
    store = label_tokens(teacher, examples, tmp_path / "labels", 1.0)
    tokens = int(examples.__getitems__(np.arange(200)).answer.sum())
    assert store.kept == 64
    assert shard_path(store.folder, 0).stat().st_size / tokens < 300
    assert 0 < store.mass() <= 1


def test_finished_shards_are_kept_and_torn_ones_made_again(store, teacher, examples):
    whole = [shard_path(store.folder, k).read_bytes() for k in range(3)]
    shard_path(store.folder, 1).write_bytes(whole[1][:-20])
    shard_path(store.folder, 2).unlink()
    seen = []
    label_tokens(teacher, examples, store.folder, 1.0, kept=16, batch_size=3, progress=lambda p: seen.append(str(p)))
    assert [shard_path(store.folder, k).read_bytes() for k in range(3)] == whole
    assert seen[-1].startswith("20 of 20 examples (8 kept)")


def test_missing_and_corrupt_labels_are_named(store, examples):
    shard_path(store.folder, 2).unlink()
    fresh = LogitStore(store.folder, {"key": store.key, "kept": 16, "temperature": 1.0})
    assert fresh.labelled() == 16
    with pytest.raises(UserError, match="example 17 has no labels"):
        fresh.attach(examples.__getitems__(np.array([3, 17])))
    path = shard_path(store.folder, 0)
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UserError, match="corrupt"):
        LogitStore(store.folder, {"key": store.key, "kept": 16, "temperature": 1.0}).attach(
            examples.__getitems__(np.array([3]))
        )


def test_labels_of_another_are_refused(store, teacher, examples, tmp_path):
    with pytest.raises(UserError, match="another temperature"):
        LogitStore.open(store.folder, examples, teacher, 2.0)
    other = Examples(teacher.vocabulary)
    other.fingerprint = "others"
    with pytest.raises(UserError, match="answer other examples"):
        LogitStore.open(store.folder, other, teacher, 1.0)
    with torch.no_grad():
        next(teacher.module.parameters()).add_(1)
    with pytest.raises(UserError, match="another teacher"):
        LogitStore.open(store.folder, examples, teacher, 1.0)
    with pytest.raises(UserError, match="holds no labels"):
        LogitStore.open(tmp_path / "nowhere", examples, teacher, 1.0)


def test_labels_move_with_their_batch(store, examples):
    batch = store.attach(examples.__getitems__(np.array([1]))).to("cpu")
    assert isinstance(batch.labels, TopLogits)
    assert len(replace(batch).labels) == int(batch.answer.sum())
