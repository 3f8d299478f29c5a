"""A small recipe, and terms defined for one test."""

from __future__ import annotations

import pytest
from torch import nn
from training_fakes import small_recipe

from potstill.objectives.base import USER_TERMS, Term


@pytest.fixture
def recipe(tiny_teacher, small_csv, quick_trainer):
    return small_recipe(tiny_teacher, small_csv)


@pytest.fixture
def term():
    """Defines a term of the user's own for one test."""
    before = dict(USER_TERMS)

    def define(name, call, *, trained=False):
        bases = (Term, nn.Module) if trained else (Term,)
        return type(name.title(), bases, {"name": name, "__call__": call, "__module__": f"test_{name}"})

    yield define
    USER_TERMS.clear()
    USER_TERMS.update(before)
