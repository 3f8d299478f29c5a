"""The default number of steps fits the number of windows; given numbers are kept."""

from __future__ import annotations

import pytest

from potstill.recipe import TrainingConfig
from potstill.tasks.settings import steps_of


@pytest.mark.parametrize(
    ("windows", "steps"),
    [
        (30, 47),  # 100 passes over 30 windows, 64 at a time
        (639, 999),
        (640, 1000),
        (64_000, 1000),
        (128_000, 2000),
        (1, 2),
    ],
)
def test_few_windows_are_not_trained_a_thousand_steps(windows, steps):
    assert steps_of(TrainingConfig(), windows) == steps


def test_generated_windows_do_not_repeat():
    assert steps_of(TrainingConfig(), 30, repeats=False) == 1000


def test_given_steps_and_epochs_are_kept():
    assert steps_of(TrainingConfig(max_steps=1000), 30) == 1000
    assert steps_of(TrainingConfig(epochs=500), 64) == 500
