"""Folders that are damaged, incomplete, of another version or of another model: one sentence each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potstill.runtime import ExportError, Runtime
from potstill.runtime.folder import MANIFEST_FILE, digest_of

CONTEXT = np.arange(50.0)


def change(folder: Path, **values: Any) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def replace_graph(folder: Path, content: bytes) -> None:
    """With a checksum that fits."""
    (folder / "model.onnx").write_bytes(content)
    change(folder, files={"model.onnx": digest_of(folder / "model.onnx")})


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(ExportError) as caught:
        Runtime(folder).predict(CONTEXT)
    said = str(caught.value)
    for word in (str(folder), *words):
        assert word in said
    assert "\n" not in said
    assert said.endswith(".")


def test_folders_without_a_model(tmp_path: Path):
    refused(tmp_path / "none", "no such folder", "potstill export")
    refused(tmp_path, MANIFEST_FILE, "potstill export")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '"text"', "[" * 100_000, '{"format": "other"}', "\udcff"], ids=range(8)
)
def test_manifests_that_are_none(folder: Path, content: str):
    (folder / MANIFEST_FILE).write_bytes(content.encode("utf-8", "surrogateescape"))
    refused(folder, MANIFEST_FILE)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_versions(folder: Path, version: Any):
    change(folder, version=version)
    refused(folder, f"version {version}", "version 1", "newest potstill-runtime")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backend", "tflite"),
        ("rollout", "other"),
        ("rollout", ["paths"]),
        ("levels", []),
        ("levels", [0.5, 0.1]),
        ("levels", [0.1, 1.0]),
        ("levels", "0.5"),
        ("levels", [0.1, 0.5, 0.9]),  # the graph gives nine
        ("max_context", 0),
        ("max_context", "96"),
        ("max_horizon", -24),
        ("max_horizon", 23),
        ("context_multiple", 0),
        ("constant_scale", 0),
        ("spread", None),
        ("graph", "../model.onnx"),
        ("graph", "other.onnx"),
        ("files", {}),
        ("files", ["model.onnx"]),
        ("files", {"model.onnx": "0", "../model.onnx": "0"}),
        ("experts", ["../other"]),
        ("experts", [1]),
        ("fixed", False),
        ("groups", True),
        ("scaling", "other"),
        ("distribution", ["cauchy"]),
        ("distribution", "normal"),
        ("distribution", ["normal", "normal"]),  # the graph gives quantiles
        ("distribution", ["student_t"]),  # without the curve
        ("later", 1),
    ],
)
def test_values_that_no_export_writes(folder: Path, key: str, value: Any):
    change(folder, **{key: value})
    refused(folder)


def test_keys_that_are_missing(folder: Path):
    path = folder / MANIFEST_FILE
    tree = json.loads(path.read_text())
    del tree["levels"]
    path.write_text(json.dumps(tree))
    refused(folder, "levels")


def test_a_missing_graph(folder: Path):
    (folder / "model.onnx").unlink()
    refused(folder, "model.onnx", "missing")


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_graph_that_was_cut(folder: Path, kept: int):
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:kept])
    refused(folder, "model.onnx", "checksum")


def test_a_graph_with_a_changed_byte(folder: Path):
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)
    refused(folder, "model.onnx", "checksum")


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x07"])
def test_graphs_that_are_none(folder: Path, content: bytes):
    replace_graph(folder, content)
    refused(folder, "cannot load the graph")


def test_a_graph_of_another_model(exported, folder: Path):
    replace_graph(folder, (exported("chronos2").folder / "model.onnx").read_bytes())
    refused(folder, "inputs context, patches")


def test_a_mixture_without_an_expert(exported, tmp_path: Path):
    place = Path(shutil.copytree(exported("mixture").folder, tmp_path / "model"))
    shutil.rmtree(place / "experts" / "short")
    refused(place, "short")


def test_onnxruntime_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    refused(folder, "pip install onnxruntime")


def test_openvino_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch):
    change(folder, backend="openvino")
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    refused(folder, "pip install openvino")
