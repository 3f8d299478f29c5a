"""The exported folder: graph, tokenizer, description. Reading it checks that all of them are whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.exporting.language.names import (
    DESCRIPTION_FILE,
    EXPORT_KIND,
    EXPORT_VERSION,
    GRAPH_DATA_FILE,
    GRAPH_FILE,
    TOKENIZER_FILE,
)

AGAIN = "export the model again"
SINGLE_FILE_BYTES = 1_900_000_000  # an ONNX file holds less than 2 GiB; larger weights are in a file of their own
#: what a description holds beside kind and version, and of which type
DESCRIPTION_TYPES: dict[str, type] = {"vocabulary": int, "max_length": int, "ends": list, "pad": int, "files": dict}


def write_graph(folder: Path, graph: Any) -> None:
    """Write an ``onnx.ModelProto``; weights of 2 GB and more go into a second file."""
    import onnx

    if sum(len(tensor.raw_data) for tensor in graph.graph.initializer) <= SINGLE_FILE_BYTES:
        onnx.save_model(graph, folder / GRAPH_FILE)
        return
    onnx.save_model(graph, folder / GRAPH_FILE, save_as_external_data=True, location=GRAPH_DATA_FILE)
    onnx.load_external_data_for_model(graph, str(folder))  # saving removed them from the graph


def graph_files(folder: Path) -> list[Path]:
    """The files of the graph."""
    return [path for path in (folder / GRAPH_FILE, folder / GRAPH_DATA_FILE) if path.exists()]


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of each file of graph and tokenizer, by name."""
    return {path.name: _digest(path) for path in [*graph_files(folder), folder / TOKENIZER_FILE]}


def open_folder(folder: Path, threads: int | None) -> tuple[Any, Any, dict[str, Any]]:
    """The session, the tokenizer and the description of an exported folder.

    Raises
    ------
    UserError
        See ``OnnxLanguageModel.load``.
    """
    description = read_description(folder)
    _check_files(folder, description["files"])
    try:
        import onnxruntime
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UserError(
            f"{folder}: reading it needs the package {error.name}; pip install onnxruntime tokenizers.",
            key="export.missing_package",
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(folder / GRAPH_FILE, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(
            f"{folder / GRAPH_FILE}: onnxruntime {onnxruntime.__version__} cannot read it"
            f" ({str(error).splitlines()[0][:200]}); update onnxruntime, or {AGAIN}.",
            key="export.unreadable_graph",
        ) from None
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return session, tokenizer, description


def read_description(folder: Path) -> dict[str, Any]:
    """The content of export.json, checked.

    Raises
    ------
    UserError
        If it is missing, not readable, or of an unknown kind or version.
    """
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        raise UserError(
            f"{folder}: has no {DESCRIPTION_FILE}; give a folder that potstill export wrote.", key="export.not_found"
        )
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is not readable JSON ({error}); {AGAIN}.", key="export.bad_description") from None
    if not isinstance(tree, dict) or tree.get("kind") != EXPORT_KIND:
        raise UserError(
            f"{path}: does not describe an exported language model; give a folder that potstill export wrote from a"
            " language model.",
            key="export.other_kind",
        )
    if tree.get("version") != EXPORT_VERSION:
        raise UserError(
            f"{path}: has version {tree.get('version')}, but this Potstill reads version {EXPORT_VERSION}; {AGAIN}, or"
            " install the Potstill that wrote it.",
            key="export.unknown_version",
        )
    for key, kind in DESCRIPTION_TYPES.items():
        if not isinstance(tree.get(key), kind):
            raise UserError(
                f"{path}: {key} is {'missing' if key not in tree else 'not valid'}; {AGAIN}.",
                key="export.bad_description",
            )
    return tree


def _check_files(folder: Path, expected: dict[str, str]) -> None:
    for name in (GRAPH_FILE, TOKENIZER_FILE):
        if name not in expected:
            raise UserError(
                f"{folder / DESCRIPTION_FILE}: does not name {name}; {AGAIN}.", key="export.bad_description"
            )
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: is missing; copy the whole folder, or {AGAIN}.", key="export.file_missing")
        if _digest(path) != digest:
            raise UserError(
                f"{path}: is damaged or truncated (its sha256 is not that in {DESCRIPTION_FILE}); copy the folder"
                f" again, or {AGAIN}.",
                key="export.damaged",
            )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
