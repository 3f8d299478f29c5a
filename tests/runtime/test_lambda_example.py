"""examples/aws-lambda: the handler answers requests beside a model."""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import potstill.runtime
from potstill.runtime import Runtime

EXAMPLE = Path(__file__).parents[2] / "examples" / "aws-lambda" / "handler.py"


@pytest.fixture
def handler(exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    shutil.copytree(exported("linear").folder, tmp_path / "model")
    shutil.copy(EXAMPLE, tmp_path)
    monkeypatch.setitem(sys.modules, "potstill_runtime", potstill.runtime)
    spec = importlib.util.spec_from_file_location("handler", tmp_path / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


@pytest.mark.parametrize("encoded", [False, True])
def test_it_forecasts(handler, exported, encoded: bool):
    text = json.dumps({"series": [[1, 2, None, 4], [5, 6]], "prediction_length": 3, "quantiles": [0.1, 0.9]})
    body = base64.b64encode(text.encode()).decode() if encoded else text
    answer = handler({"body": body, "isBase64Encoded": encoded}, None)
    assert answer["statusCode"] == 200
    found = json.loads(answer["body"])
    wanted = Runtime(exported("linear").folder).predict([[1, 2, None, 4], [5, 6]], 3, quantiles=[0.1, 0.9])
    assert found == {"levels": [0.1, 0.9], "quantiles": wanted.quantiles.tolist()}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "not JSON"),
        ("{", "not JSON"),
        ("[]", "no series"),
        ("{}", "no series"),
        ('{"series": []}', "no values"),
        ('{"series": "12"}', "of the type str"),
        ('{"series": [1], "horizon": 3}', "horizon is not known"),
        ('{"series": [1], "prediction_length": 0}', "prediction_length"),
        ('{"series": [1], "quantiles": [2]}', "quantiles"),
    ],
)
def test_wrong_requests_are_answered_with_a_sentence(handler, body: str | None, words: str):
    answer = handler({"body": body}, None)
    assert answer["statusCode"] == 400
    assert words in json.loads(answer["body"])["error"]
