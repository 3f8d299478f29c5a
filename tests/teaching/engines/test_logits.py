"""Labelling text: resuming, what a token takes, one size of shard per store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from label_fakes import FakeExamples
from logit_fakes import small_store, tiny_teacher_of_text
from usage_errors import usage_error

from potstill.families.language.model import LanguageModel
from potstill.teaching.engines.logits import label_logits
from potstill.teaching.stores.shards import shard_path


@pytest.fixture
def teacher(tmp_path: Path) -> LanguageModel:
    return tiny_teacher_of_text(tmp_path / "gpt2")


def test_a_token_takes_less_than_300_bytes(teacher, tmp_path):
    examples = FakeExamples(teacher.vocabulary, 200)
    store = label_logits(teacher, examples, tmp_path / "labels", 1.0)
    tokens = int(examples.batch(np.arange(200)).answer.sum())
    assert store.kept == 64
    assert shard_path(store.folder, 0).stat().st_size / tokens < 300
    assert 0 < store.mass() <= 1


def test_finished_shards_are_kept_and_torn_ones_made_again(teacher, tmp_path):
    examples, folder = FakeExamples(teacher.vocabulary), tmp_path / "labels"
    small_store(teacher, examples, folder)
    whole = [shard_path(folder, k).read_bytes() for k in range(3)]
    shard_path(folder, 1).write_bytes(whole[1][:-20])
    shard_path(folder, 2).unlink()
    seen = []
    store = small_store(teacher, examples, folder, progress=lambda p: seen.append(str(p)))
    assert [shard_path(folder, k).read_bytes() for k in range(3)] == whole
    assert seen[0].startswith("11 of 20 examples (8 kept)")
    assert seen[-1].startswith("20 of 20 examples (8 kept)")
    assert store.seconds_per_window() > 0


def test_more_examples_redo_only_the_last_short_shard(teacher, tmp_path):
    small_store(teacher, FakeExamples(teacher.vocabulary, 20), tmp_path / "labels")
    seen = []
    store = small_store(teacher, FakeExamples(teacher.vocabulary, 23), tmp_path / "labels", progress=seen.append)
    assert (seen[-1].kept, seen[-1].done) == (16, 7)
    assert store.labelled() == 23
    assert len(store.logits([22])) > 0


def test_a_store_keeps_its_number_of_logits_and_its_size_of_shards(teacher, tmp_path):
    examples = FakeExamples(teacher.vocabulary)
    small_store(teacher, examples, tmp_path / "labels")
    assert label_logits(teacher, examples, tmp_path / "labels", 1.0, kept=32, shard_examples=8).kept == 16
    with usage_error("labels.other_shard_size", "8 examples", "256"):
        label_logits(teacher, examples, tmp_path / "labels", 1.0)
