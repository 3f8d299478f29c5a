"""Stored logits: the right tokens of every example, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from label_fakes import FakeExamples
from logit_fakes import small_store, tiny_teacher_of_text
from safetensors.torch import load_file
from usage_errors import usage_error

from potstill.families.language.model import LanguageModel
from potstill.objectives.registry import find_term
from potstill.objectives.tokens import TokenInputs
from potstill.teaching.engines.logits import label_logits
from potstill.teaching.stores.logits import LogitStore
from potstill.teaching.stores.shards import write_shard
from potstill.types import Request


@pytest.fixture
def teacher(tmp_path: Path) -> LanguageModel:
    return tiny_teacher_of_text(tmp_path / "gpt2")


@pytest.fixture
def examples(teacher: LanguageModel) -> FakeExamples:
    return FakeExamples(teacher.vocabulary)


@pytest.fixture
def store(teacher: LanguageModel, examples: FakeExamples, tmp_path: Path) -> LogitStore:
    return small_store(teacher, examples, tmp_path / "labels")


def test_they_are_the_largest_of_each_token_and_the_sum_of_all(store, teacher, examples):
    batch = examples.batch(np.array([13, 2, 19]))
    stored = store.logits([13, 2, 19])
    live = teacher.forward(batch, Request()).logits
    whole = live.head(live.states)
    assert len(stored) == int(batch.answer.sum())
    assert torch.equal(stored.indices, whole.topk(16, dim=1).indices)
    ours = stored.logits - stored.log_sum_exp[:, None]
    assert torch.allclose(ours, whole.log_softmax(dim=1).gather(1, stored.indices), atol=5e-3)


def test_the_share_of_the_others_is_exact(store, teacher, examples):
    live = teacher.forward(examples.batch(np.array([13, 2])), Request()).logits
    whole = live.head(live.states).double().log_softmax(dim=1)
    stored = store.logits([13, 2])
    expected = whole.scatter(1, stored.indices, -torch.inf).logsumexp(dim=1)
    assert torch.allclose(stored.others.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_store_of_an_earlier_version_is_read_without_that_share(store, teacher, examples, tmp_path):
    """Its shards do not have the array; a shard that is labelled now has it."""
    now = store.logits([3, 17])
    for index in (0, 1, 2):
        path = store.path(index)
        arrays = load_file(path)
        del arrays["others"]
        write_shard(path, store.manifest.key, arrays)
    path.unlink()
    store = small_store(teacher, examples, store.folder)  # writes the last shard only
    then = store.logits([3, 17])
    assert then.others is not None
    assert now.others is not None
    first = int(examples.batch(np.array([3])).answer.sum())
    assert then.others[:first].isnan().all()
    assert torch.equal(then.others[first:], now.others[first:])
    assert all(torch.equal(getattr(then, n), getattr(now, n)) for n in ("indices", "logits", "log_sum_exp"))


def test_all_logits_of_a_token_are_its_whole_distribution(teacher, examples, tmp_path):
    """The vocabulary is not larger than the number of logits to keep."""
    store = label_logits(teacher, examples, tmp_path / "labels", 1.0, kept=1000, shard_examples=8)
    stored = store.logits([3])
    live = teacher.forward(examples.batch(np.array([3])), Request()).logits
    whole = live.head(live.states).detach()
    student, targets = torch.zeros_like(whole).requires_grad_(), torch.zeros(len(whole)).long()
    assert store.kept == teacher.vocabulary == whole.shape[1]
    assert store.mass() == pytest.approx(1.0, abs=1e-3)
    for name in ("kl", "reverse_kl", "jsd"):
        term = find_term(name)(temperature=1.0)
        ours, full = (term.per_token(TokenInputs(student, labels, targets)) for labels in (stored, whole))
        assert torch.allclose(ours, full, rtol=1e-2, atol=1e-3)
        assert torch.autograd.grad(ours.sum(), student)[0].isfinite().all()


def test_a_pickled_store_reads_the_same_without_the_open_shards(store):
    expected = store.logits([3, 17])
    text = pickle.dumps(store)
    assert len(text) < 4_000
    found = pickle.loads(text).logits([3, 17])
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.indices, expected.indices)


def test_missing_and_corrupt_labels_are_named(store):
    (store.folder / "shard-00000002.safetensors").unlink()
    fresh = LogitStore.open(store.folder)
    assert fresh.labelled() == 16
    with usage_error("labels.missing", "example 17"):
        fresh.logits([3, 17])
    path = store.folder / "shard-00000000.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with usage_error("labels.torn_shard", path.name):
        LogitStore.open(store.folder).logits([3])


def test_examples_beyond_the_last_one_have_no_labels(store):
    assert store.labelled() == 20
    with usage_error("labels.missing", "example 20"):
        store.logits([19, 20])


def test_labels_of_another_are_refused(store, teacher, examples, tmp_path):
    with usage_error("labels.other_settings", "temperature 1.0", "2.0"):
        LogitStore.open(store.folder, examples, teacher, 2.0)
    other = FakeExamples(teacher.vocabulary, fingerprint="others")
    with usage_error("labels.other_data", str(store.folder)):
        LogitStore.open(store.folder, other, teacher, 1.0)
    with torch.no_grad():
        next(teacher.module.parameters()).add_(1)
    with usage_error("labels.other_teacher", str(store.folder)):
        LogitStore.open(store.folder, examples, teacher, 1.0)
    with usage_error("labels.no_store", "nowhere"):
        LogitStore.open(tmp_path / "nowhere", examples, teacher, 1.0)
