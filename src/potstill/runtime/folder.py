"""The files of an exported model: ``export.json`` describes it and lists the other files with their checksums."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .distribution import KINDS
from .errors import ExportError

MANIFEST_FILE = "export.json"
FORMAT, VERSION = "potstill-export", 1
EXPERTS_FOLDER = "experts"
BACKENDS = ("onnx", "openvino")
ROLLOUTS = ("paths", "deciles", "pooled")
SCALINGS = ("standard", "uni2ts")


@dataclass(frozen=True)
class Manifest:
    """The content of ``export.json``.

    Attributes
    ----------
    name, family, parameters
        The model's name, family and number of weights.
    levels
        Quantile levels, ascending.
    max_context, max_horizon
        Longest context and horizon of one pass, in steps.
    context_multiple, horizon_multiple
        The graph reads contexts and gives horizons that are multiples of these.
    fixed
        Whether the graph reads contexts of ``max_context`` steps only and always gives ``max_horizon`` steps.
    arcsinh, constant_scale, rounding
        How contexts are scaled: see ``scaling.standardise``.
    scaling
        The rule of the standard deviation: ``standard`` or ``uni2ts``.
    rollout
        How forecasts beyond ``max_horizon`` are made: ``paths``, ``deciles`` or ``pooled``.
    distribution, student_t
        Components of the mixture distribution whose parameters the graph gives, and coefficients of the Student-t
        curve; empty: the graph gives quantiles.
    groups
        Whether the graph reads group ids and covariates.
    backend, precision, graph
        ``onnx`` or ``openvino``; fp32, bf16 or int8; the graph's file.
    files
        sha256 by file name.
    experts
        Names of the experts of a mixture; the graph is then its router.
    spread, max_router_context
        Of a mixture: the factor of the quantiles' distances from the median, and the steps that its router reads.
    calibrate_horizons
        See ``Forecaster.calibrate_horizons``; the runtime forecasts without such a fit.
    provenance, parity, licence
        Where the model comes from, how the export compares with PyTorch, and its licence.
    """

    name: str
    family: str
    parameters: int
    levels: list[float]
    max_context: int
    max_horizon: int
    backend: str
    precision: str
    graph: str
    files: dict[str, str]
    context_multiple: int = 1
    horizon_multiple: int = 1
    fixed: bool = False
    arcsinh: bool = True
    constant_scale: float = 1e-5
    rounding: bool = False
    scaling: str = "standard"
    rollout: str = "paths"
    distribution: list[str] = field(default_factory=list)
    student_t: list[list[float]] = field(default_factory=list)
    groups: bool = False
    experts: list[str] = field(default_factory=list)
    spread: float = 1.0
    calibrate_horizons: int = 0
    max_router_context: int = 0
    licence: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    format: str = FORMAT
    version: int = VERSION


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (folder / MANIFEST_FILE).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Read ``export.json`` and check the files that it lists.

    Raises
    ------
    ExportError
        If the folder, a file or the format's version is not as expected.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        found = "no such folder" if not folder.is_dir() else f"it has no {MANIFEST_FILE}"
        raise ExportError(f"{folder}: {found}; give a folder written by `potstill export`.")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(f"{path}: cannot be read as JSON ({error}); export or copy the folder again.") from None
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise ExportError(f"{path}: does not describe an exported model; give a folder written by `potstill export`.")
    if tree.get("version") != VERSION:
        raise ExportError(
            f"{path}: has the format version {tree.get('version')}, and this runtime reads version {VERSION};"
            " install the newest potstill-runtime, or export the model again."
        )
    try:
        manifest = Manifest(**tree)
    except TypeError as error:
        raise ExportError(f"{path}: is incomplete ({error}); export the model again.") from None
    if manifest.backend not in BACKENDS or manifest.rollout not in ROLLOUTS:
        raise ExportError(
            f"{path}: names the backend {manifest.backend!r} and the roll-out {manifest.rollout!r}, which this runtime"
            " does not know; install the newest potstill-runtime."
        )
    if not _is_valid(manifest):
        raise ExportError(f"{path}: has values that no export writes; copy the folder or export the model again.")
    for name, digest in manifest.files.items():
        _check_file(folder / name, digest)
    return manifest


def _is_valid(manifest: Manifest) -> bool:
    """Whether the values that forecasts are computed with have the right types and ranges."""
    sizes = (manifest.max_context, manifest.max_horizon, manifest.context_multiple, manifest.horizon_multiple)
    lists = isinstance(manifest.levels, list) and isinstance(manifest.experts, list)
    if not (lists and isinstance(manifest.files, dict) and all(isinstance(size, int) and size > 0 for size in sizes)):
        return False
    levels, numbers = manifest.levels, (manifest.constant_scale, manifest.spread, *manifest.levels)
    return (
        all(isinstance(number, (int, float)) and 0 < number < math.inf for number in numbers)
        and bool(levels)
        and levels == sorted(set(levels))
        and levels[-1] < 1
        and manifest.graph in manifest.files
        and all(isinstance(name, str) and Path(name).name == name for name in [*manifest.files, *manifest.experts])
        and manifest.scaling in SCALINGS
        and isinstance(manifest.distribution, list)
        and all(isinstance(kind, str) and kind in KINDS for kind in manifest.distribution)
        and ("student_t" not in manifest.distribution or _is_table(manifest.student_t))
        and (not manifest.groups or (not manifest.fixed and manifest.rollout == "deciles"))
        and (not manifest.experts or (isinstance(manifest.max_router_context, int) and manifest.max_router_context > 0))
    )


def _is_table(rows: Any) -> bool:
    """Whether rows are numbers, equally many in each, and not too few for a Chebyshev series."""
    try:
        return (
            len(rows) > 0
            and len({len(row) for row in rows}) == 1
            and len(rows[0]) > 1
            and math.isfinite(sum(map(sum, rows)))
        )
    except TypeError:
        return False


def digest_of(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_file(path: Path, digest: str) -> None:
    if not path.is_file():
        raise ExportError(f"{path}: is missing; copy the whole folder of the exported model.")
    if digest_of(path) != digest:
        raise ExportError(f"{path}: is damaged or was changed (its checksum differs); export or copy it again.")
