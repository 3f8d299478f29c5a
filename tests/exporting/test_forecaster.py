"""Folders of every family and format forecast what the PyTorch model forecasts, in a process without torch too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from usage_errors import usage_error

from potstill.exporting.calibration import Calibration
from potstill.exporting.forecaster import write_forecaster
from potstill.exporting.options import ExportOptions
from potstill.exporting.packages import require
from potstill.families.base import Forecaster, ModelSource
from potstill.families.experts.model import Mixture
from potstill.families.experts.router import RouterSettings
from potstill.families.load import load_forecaster
from potstill.runtime import Runtime

FAMILIES = ("chronos2", "patch_transformer", "mixer", "linear", "moirai")
#: mean difference of the quantiles relative to the range of the quantiles
TOLERANCES = {
    ("onnx", None): 1e-5,
    ("onnx", "int8"): 0.1,
    ("openvino", None): 1e-5,
    ("openvino", "bf16"): 0.1,
    ("openvino", "int8-weights"): 0.1,
    ("openvino", "int8"): 0.1,
}


def exported(model: Forecaster, folder: Path, calibration: Calibration, options: ExportOptions) -> Runtime:
    folder.mkdir()
    write_forecaster(model, folder, options, calibration)
    return Runtime(folder)


def difference(model: Forecaster, runtime: Runtime, contexts: np.ndarray, steps: int) -> float:
    wanted = model.predict(contexts, steps).quantiles.numpy()
    return relative(runtime.predict(contexts, steps).quantiles, wanted)


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    apart = np.abs(found - wanted).mean(axis=(1, 2))
    return float((apart / (wanted.max(axis=1) - wanted.min(axis=1)).mean(axis=1)).mean())


#: a process that has numpy, onnxruntime and openvino; it forecasts with each folder
WITHOUT_TORCH = """
import json, sys
for name in ("torch", "pandas", "transformers", "scipy", "chronos", "uni2ts"):
    sys.modules[name] = None
from potstill.runtime import Runtime
given = json.load(sys.stdin)
print(json.dumps([Runtime(folder).predict(given["contexts"], 7).quantiles.tolist() for folder in given["folders"]]))
"""


def quantiles_without_torch(folders: list[Path], contexts: list[list[float]]) -> list[np.ndarray]:
    given = json.dumps({"folders": list(map(str, folders)), "contexts": contexts})
    command = [sys.executable, "-c", WITHOUT_TORCH]
    run = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return [np.array(one) for one in json.loads(run.stdout)]


@pytest.mark.parametrize(("format", "quantize"), TOLERANCES)
def test_every_family_forecasts_as_the_model_does(
    format, quantize, make_model: Callable[..., Forecaster], calibration: Calibration, tmp_path: Path
):
    """Here, and in a fresh process without torch."""
    runtimes = []
    for name in FAMILIES:
        model = make_model(name)
        runtime = exported(model, tmp_path / name, calibration, ExportOptions(format, quantize))
        assert runtime.manifest.precision == (quantize or "fp32")
        for contexts, steps in ((calibration.contexts, 32), (calibration.contexts[:1, -19:], 5)):
            assert difference(model, runtime, contexts, steps) < TOLERANCES[format, quantize], name
        runtimes.append(runtime)
    contexts = calibration.contexts[1:3].tolist()
    folders = [runtime.folder for runtime in runtimes]
    for runtime, found in zip(runtimes, quantiles_without_torch(folders, contexts), strict=True):
        np.testing.assert_allclose(found, runtime.predict(contexts, 7).quantiles, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("format", "quantize"), TOLERANCES)
def test_groups_and_covariates_are_read(
    format, quantize, make_model: Callable[..., Forecaster], related: Calibration, tmp_path: Path
):
    model = make_model("chronos2")
    exported(model, tmp_path / "exported", related, ExportOptions(format, quantize, groups=True))
    folder = load_forecaster(tmp_path / "exported")
    groups = replace(related.windows, group=torch.arange(40) // 3)  # the last of fewer
    alone = model.predict(related.contexts, 32).quantiles.numpy()
    for windows in (related.windows, groups):
        wanted, found = (one.predict(windows, 32).quantiles.numpy() for one in (model, folder))
        assert relative(found, wanted) < TOLERANCES[format, quantize] < relative(alone, wanted)
    assert relative(folder.predict(related.contexts, 32).quantiles.numpy(), alone) < TOLERANCES[format, quantize]
    (found,) = quantiles_without_torch([tmp_path / "exported"], related.contexts[:2].tolist())
    np.testing.assert_allclose(found, Runtime(tmp_path / "exported").predict(related.contexts[:2], 7).quantiles, 1e-5)


@pytest.mark.parametrize("name", ["linear", "mixture"])
def test_models_of_single_series_have_no_groups(
    name: str, make_model: Callable[..., Forecaster], calibration: Calibration, tmp_path: Path
):
    model = make_model("linear")
    if name == "mixture":
        model = Mixture({"one": model}, RouterSettings(context=48), ModelSource("mixture", "here"))
    with usage_error("export.no_groups", "--groups", "without"):
        exported(model, tmp_path / "exported", calibration, ExportOptions(groups=True))


@pytest.mark.parametrize(("name", "missing"), [("chronos2", []), ("moirai", [(1, 1)])])
def test_a_fixed_shape_gives_the_same_forecast(
    name: str, missing: list, make_model: Callable[..., Forecaster], calibration: Calibration, tmp_path: Path
):
    runtime = exported(make_model(name), tmp_path / "exported", calibration, ExportOptions("openvino"))
    one, others = calibration.contexts[1:2], calibration.contexts
    before = [runtime.predict(contexts, 32).quantiles for contexts in (one, others)]
    runtime.fix_shapes(1, one.shape[1], 32)
    requests = runtime.model._session._fixed
    assert list(requests) == [((1, 64), *missing, (2,))]
    used: list[bool] = []
    (fixed,) = requests.values()
    mine = fixed.mine
    fixed.mine = lambda: (used.append(True), mine())[1]
    for contexts, wanted in zip((one, others), before, strict=True):
        np.testing.assert_allclose(runtime.predict(contexts, 32).quantiles, wanted, rtol=1e-4, atol=1e-4)
    assert used == [True], "the fixed shape for one series, the other graph for many"


@pytest.mark.parametrize("package", ["onnxscript", "nncf"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, package, None)
    with usage_error("export.missing_package", package, "potstill[export]"):
        require(*ExportOptions("openvino", "int8").packages)


def test_int8_weights_are_stored_as_int8(
    make_model: Callable[..., Forecaster], calibration: Calibration, tmp_path: Path
):
    import onnx

    model = make_model("chronos2")
    exported(model, tmp_path / "onnx", calibration, ExportOptions("onnx", "int8"))
    stored = onnx.load(tmp_path / "onnx" / "model.onnx").graph.initializer
    quantised = sum(int(np.prod(one.dims)) for one in stored if one.data_type == onnx.TensorProto.INT8)
    assert quantised > 0.8 * model.parameters
    sizes = {}
    for quantize in (None, "int8", "bf16"):
        runtime = exported(model, tmp_path / str(quantize), calibration, ExportOptions("openvino", quantize))
        sizes[quantize] = (runtime.folder / "model.bin").stat().st_size
    assert sizes["int8"] < 0.5 * sizes[None]
    assert sizes["bf16"] < 0.6 * sizes[None]


@pytest.mark.parametrize(
    ("format", "quantize", "routing"),
    [*((*form, "top_k") for form in TOLERANCES), ("onnx", None, "mass"), ("openvino", None, "mass")],
)
def test_a_mixture_is_a_router_and_a_folder_per_expert(
    format, quantize, routing: str, make_model: Callable[..., Forecaster], calibration: Calibration, tmp_path: Path
):
    experts = {"first": make_model("chronos2", 1), "second": make_model("mixer", 2), "third": make_model("linear", 3)}
    settings = RouterSettings(routing=routing, top_k=2, mass=0.6, gate=0.4, context=48)
    mixture = Mixture(experts, settings, ModelSource("mixture", "here"), spread=1.1)
    torch.manual_seed(5)
    with torch.no_grad():
        mixture.router.network[-1].weight.normal_()
    mixture.freeze()
    mixture.calibrate_horizons = 3
    runtime = exported(mixture, tmp_path / "exported", calibration, ExportOptions(format, quantize))
    precisions = {Runtime(runtime.folder / "experts" / name).manifest.precision for name in experts}
    assert {runtime.manifest.precision} == precisions == {quantize or "fp32"}
    assert load_forecaster(runtime.folder).calibrate_horizons == 3
    weights = mixture.weights(mixture_windows(calibration))
    assert len({tuple(row) for row in (weights > 0).tolist()}) > 1, "the windows are routed differently"
    most = TOLERANCES[format, quantize]
    assert difference(mixture, runtime, calibration.contexts, 32) < most
    assert difference(mixture, runtime, calibration.contexts[3:4], 50) < 10 * most  # rolled out
    (found,) = quantiles_without_torch([runtime.folder], calibration.contexts[:3].tolist())
    np.testing.assert_allclose(found, runtime.predict(calibration.contexts[:3], 7).quantiles, rtol=1e-5)


def mixture_windows(calibration: Calibration):
    from potstill.types import Windows

    return Windows.of_context(torch.from_numpy(calibration.contexts).float(), 1)


def test_sparse_layers_are_refused(calibration: Calibration, tmp_path: Path):
    from potstill.families.registry import family

    one = family("chronos2")
    sizes = {"num_layers": 2, "d_model": 32, "d_ff": 64, "num_heads": 2, "d_kv": 16, "experts": 4, "expert_layers": [1]}
    model = one.build(one.design(None, sizes, 64, 32), dropout=0.0).freeze()
    with usage_error("export.sparse", "sparse layers"):
        exported(model, tmp_path / "exported", calibration, ExportOptions())


@pytest.mark.parametrize("reason", ["teacher", "negative binomial"])
def test_moirai_teachers_and_counts_are_refused(reason: str, calibration: Calibration, tmp_path: Path):
    from potstill.families.moirai.encoder_model import MoiraiForecaster
    from potstill.families.registry import family

    one = family("moirai")
    sizes = {"d_model": 64, "num_layers": 1, "negative_binomial": reason != "teacher"}
    model = one.build(one.design(None, sizes, 64, 32), dropout=0.0).freeze()
    if reason == "teacher":
        model = MoiraiForecaster(model.module, model.source, {})  # without the lengths of a student
    with usage_error("export.unsupported_model", "negative_binomial" if reason != "teacher" else "--student moirai"):
        exported(model, tmp_path / "exported", calibration, ExportOptions())


def test_a_teacher_without_a_graph_is_refused(tiny_bolt: Path, calibration: Calibration, tmp_path: Path):
    from potstill.families.load import load_forecaster

    with usage_error("export.unsupported_family", "bolt models cannot be exported"):
        exported(load_forecaster(tiny_bolt), tmp_path / "exported", calibration, ExportOptions())


@pytest.mark.parametrize("quantize", ["bf16", "int8-weights"])
def test_onnx_runtime_has_no_such_kernels(quantize):
    with usage_error("export.no_kernels", "--format openvino"):
        ExportOptions("onnx", quantize)
