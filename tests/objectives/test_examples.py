"""The examples in the terms' docstrings run."""

import doctest
import importlib

import pytest

from potstill.objectives.registry import TERM_CLASSES


@pytest.mark.parametrize("module", sorted({module for module, _ in TERM_CLASSES.values()}))
def test_examples(module):
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0
