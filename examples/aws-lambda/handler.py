"""An AWS Lambda function that forecasts: JSON in, JSON out. The model is in the folder ``model`` beside this file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from potstill_runtime import ExportError, Runtime

# once per process: later calls only forecast. A small function has one core.
RUNTIME = Runtime(Path(__file__).parent / "model", threads=1)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer a request of a function URL or of API Gateway.

    Parameters
    ----------
    event
        ``body`` is JSON: ``series`` (a list of numbers with null where missing, or a list of such lists), and if wanted
        ``prediction_length`` and ``quantiles``.
    context
        Not used.

    Returns
    -------
    dict
        Status 200 and ``levels [Q]`` and ``quantiles [B, Q, H]``, or 400 and ``error``, a sentence.
    """
    try:
        return _response(200, _forecast(_body(event)))
    except ExportError as error:
        return _response(400, {"error": str(error)})


def _body(event: dict[str, Any]) -> dict[str, Any]:
    text = event.get("body") or ""
    try:
        body = json.loads(base64.b64decode(text) if event.get("isBase64Encoded") else text)
    except ValueError as error:
        raise ExportError(f"body: is not JSON ({error}).") from None
    if not isinstance(body, dict) or "series" not in body:
        raise ExportError('body: has no series; give {"series": [[1, 2, null, 4]], "prediction_length": 3}.')
    unknown = set(body) - {"series", "prediction_length", "quantiles"}
    if unknown:
        raise ExportError(f"body: {sorted(unknown)[0]} is not known; give series, prediction_length and quantiles.")
    return body


def _forecast(body: dict[str, Any]) -> dict[str, Any]:
    found = RUNTIME.predict(body["series"], body.get("prediction_length"), quantiles=body.get("quantiles"))
    return {"levels": [round(level, 6) for level in found.levels.tolist()], "quantiles": found.quantiles.tolist()}


def _response(status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
