"""Write a forecaster as an exported folder, and compare it with PyTorch."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.exporting import onnx_graph, openvino_graph, quantise
from potstill.exporting.calibration import Calibration, FolderLoss
from potstill.exporting.options import MAX_LOSS, ExportOptions
from potstill.exporting.router import write_router
from potstill.families.base import Forecaster, Graph
from potstill.families.experts.model import Mixture
from potstill.families.exported import runtime_windows
from potstill.families.registry import family
from potstill.runs import write_json
from potstill.runtime.experts import ROUTER_BACKEND
from potstill.runtime.folder import EXPERTS_FOLDER, MANIFEST_FILE, Manifest, digest_of
from potstill.runtime.model import ExportedModel

ONNX_FILE = "model.onnx"
CALIBRATION_BATCH = 16  # windows


def write_forecaster(model: Forecaster, folder: Path, options: ExportOptions, calibration: Calibration) -> Manifest:
    """Write graph and manifest of a forecaster, or of a mixture's router and experts, into a folder.

    Parameters
    ----------
    model
        On the CPU.
    folder
        Exists and is empty.
    calibration
        Windows for quantisation.

    Raises
    ------
    UserError
        If the model cannot be exported.
    """
    if isinstance(model, Mixture):
        return _write_mixture(model, folder, options, calibration)
    kind = family(model.family)
    graph = kind.group_graph(model) if options.groups else kind.graph(model)
    manifest = _manifest(model, graph)
    onnx_graph.write_forecaster(graph, model, folder / ONNX_FILE)
    manifest = _finish(folder, manifest)
    if options.format == "openvino":
        return _to_openvino(folder, manifest, options, calibration, model)
    if options.quantize:
        return _quantise_onnx(folder, manifest, options, calibration.loss_of(model))
    return manifest


def _write_mixture(model: Mixture, folder: Path, options: ExportOptions, calibration: Calibration) -> Manifest:
    """The router as an ONNX graph, and a folder per expert, each quantised by its own loss on the windows."""
    if options.groups:
        raise UserError(
            f"--groups: {model.source.name} is a mixture, which is exported for single series only; export it without"
            " --groups, or one of its experts.",
            key="export.no_groups",
        )
    for name, expert in model.experts.items():
        place = folder / EXPERTS_FOLDER / name
        place.mkdir(parents=True)
        write_forecaster(expert, place, options, calibration.first_steps(expert.max_horizon))
    write_router(model, folder / ONNX_FILE)
    manifest = replace(
        _manifest(model, None),
        experts=list(model.experts),
        spread=model.spread,
        max_router_context=model.router.settings.context,
        precision=options.quantize or "fp32",
        backend=ROUTER_BACKEND,
    )
    return _finish(folder, manifest)


def _manifest(model: Forecaster, graph: Graph | None) -> Manifest:
    described = {key: value for key, value in vars(graph).items() if key != "module"} if graph else {}
    return Manifest(
        name=model.source.name,
        family=model.family,
        parameters=model.parameters,
        levels=[round(level, 6) for level in model.levels.tolist()],
        max_context=model.max_context,
        max_horizon=model.max_horizon,
        backend="onnx",
        precision="fp32",
        graph=ONNX_FILE,
        files={},
        licence=model.source.licence,
        calibrate_horizons=model.calibrate_horizons,
        **described,
    )


def _finish(folder: Path, manifest: Manifest, *names: str) -> Manifest:
    """Write the manifest with the checksums of the graph's files."""
    files = {name: digest_of(folder / name) for name in (manifest.graph, *names)}
    manifest = replace(manifest, files=files)
    write_json(folder / MANIFEST_FILE, asdict(manifest))
    return manifest


def _to_openvino(
    folder: Path, manifest: Manifest, options: ExportOptions, calibration: Calibration, original: Forecaster
) -> Manifest:
    """Replace the ONNX graph of a folder by an OpenVINO graph."""
    model = openvino_graph.read(folder / ONNX_FILE)
    seen, unseen = calibration.halves()
    inputs = _inputs(ExportedModel(folder, manifest, None), seen)
    (folder / ONNX_FILE).unlink()
    manifest = replace(manifest, backend="openvino", graph=openvino_graph.GRAPH_FILE)

    def write(candidate: Any, precision: str) -> Manifest:
        openvino_graph.write(candidate, folder, half=precision == "bf16")
        return _finish(folder, replace(manifest, precision=precision), openvino_graph.WEIGHTS_FILE)

    if options.quantize == "int8":
        loss = unseen.loss_of(original)

        def loss_of(candidate: Any) -> float:
            write(candidate, "int8")
            return loss(folder)

        quantised, kept = quantise.openvino_int8(model, inputs, loss_of, MAX_LOSS)
        manifest = replace(manifest, provenance={"kept_in_fp32": kept})
        return write(quantised, "int8")
    if options.quantize == "int8-weights":
        return write(quantise.openvino_weights(model), "int8-weights")
    return write(model, options.quantize or "fp32")


def _inputs(exported: ExportedModel, windows: Calibration) -> list[quantise.Inputs]:
    """What the graph reads to forecast the windows, in batches."""
    parts = windows.parts(CALIBRATION_BATCH)
    if not exported.manifest.groups:
        return [exported.inputs(part.contexts, part.steps)[0] for part in parts]
    longest = exported.manifest.max_context
    rows = [runtime_windows(part.windows).rows(part.steps, longest) for part in parts]
    return [exported.inputs_of_rows(part, windows.steps)[0] for part in rows]


def _quantise_onnx(folder: Path, manifest: Manifest, options: ExportOptions, loss: FolderLoss) -> Manifest:
    """Replace the graph of a folder by one with int8 weights."""
    source = folder / f"fp32-{ONNX_FILE}"
    shutil.move(folder / ONNX_FILE, source)

    def loss_of(_: Path) -> float:
        _finish(folder, replace(manifest, precision="int8"))
        return loss(folder)

    kept = quantise.onnx_int8(source, folder / ONNX_FILE, loss_of, MAX_LOSS)
    source.unlink()
    return _finish(folder, replace(manifest, precision="int8", provenance={"kept_in_fp32": kept}))
