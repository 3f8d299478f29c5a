"""Usage errors: keys that stay, and a trip to another process and back."""

import ast
import pickle
from pathlib import Path

import pytest

import potstill
from potstill.errors import NotFinite, UnknownName, UserError

ROOT = Path(potstill.__file__).parent


def test_a_key_is_given_or_that_of_the_class():
    assert UserError("a sentence", key="data.no_such_file").key == "data.no_such_file"
    assert UserError("a sentence").key == "usage.error"
    assert NotFinite("model", [0], 3).key == "model.forecast_not_finite"
    assert UnknownName("data set", "a", ["b"]).key == "names.unknown_data_set"
    with pytest.raises(AssertionError):
        UserError("a sentence", key="No Key")


@pytest.mark.parametrize(
    "error", [UserError("a sentence", key="a.b"), NotFinite("model", [2], 3), UnknownName("term", "a", ["b"])]
)
def test_an_error_reaches_another_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.key) == (type(error), str(error), error.key)
    assert again.__dict__ == error.__dict__


def test_every_usage_error_of_ours_has_a_key():
    without = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(ROOT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "UserError"
        and "key" not in [keyword.arg for keyword in node.keywords]
    ]
    assert not without
