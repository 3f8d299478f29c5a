"""How fast are exported students, next to PyTorch, their teacher, a model of Chronos-2's size, and other libraries?

Students of four kinds are distilled from the embedded teacher on the suite, three of them are mixed, and all are
exported to every form; a finished student or export under ``--runs`` is not made again. All arms are timed in one
interleaved run, each on the same contexts, from arrays to quantiles in input units. A series at a time is timed twice:
``b1`` finds the processor's caches filled by the arm before it, as a call now and then does; ``b1_repeated`` is the
median of calls that follow each other. The loss of accuracy is that of the export's own comparison, on the suite's
validation windows.

Peers: chronos-forecasting's pipeline on the same student; a PatchTSMixer of transformers of about the size of IBM's TTM
in ONNX Runtime (untrained, one forecast per step, no quantiles); AutoETS and AutoTheta. ``export_peers.py`` tries the
export of darts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import torch
from inference_peers import patch_mixer, pipeline, statsforecast_arms

import potstill
from potstill.families.base import Forecaster
from potstill.families.load import load_forecaster
from potstill.families.registry import family
from potstill.runtime import Runtime

ROOT = Path(__file__).parents[1]
CONTEXT, HORIZON = 512, 96
BATCHES = (1, 32, 256)
REPEATS = 20  # calls of an arm that follow each other
STUDENTS = {
    "384/1536/3/6": "chronos2:num_layers=3,d_model=384,d_ff=1536,num_heads=6",
    "128/512/3/2": "chronos2:num_layers=3,d_model=128,d_ff=512,num_heads=2",
    "mixer": "mixer",
    "linear": "linear",
}
MIXED = ("128/512/3/2", "mixer", "linear")  # the experts of the mixture
MIXTURE = "mixture"
BASE = {"num_layers": 12, "d_model": 768, "d_ff": 3072, "num_heads": 12}  # the sizes of amazon/chronos-2
FORMS: dict[str, dict[str, Any]] = {
    "ONNX Runtime fp32": {"format": "onnx"},
    "ONNX Runtime int8": {"format": "onnx", "quantize": "int8"},
    "OpenVINO fp32": {"format": "openvino"},
    "OpenVINO bf16": {"format": "openvino", "quantize": "bf16"},
    "OpenVINO int8": {"format": "openvino", "quantize": "int8"},
}
Arm = Callable[[np.ndarray], Any]


def main() -> None:
    """Print the table as JSON."""
    options = _options()
    torch.set_num_threads(options.threads)
    names = ["128/512/3/2"] if options.quick else options.students
    teacher = load_forecaster("embedded")
    arms: dict[str, Arm] = {"teacher": _eager(teacher), "120 M, not trained": _eager(_base(teacher))}
    exports: dict[str, dict[str, Any]] = {}
    for name in names:
        run = _student(name, options)
        model = load_forecaster(run).freeze()
        arms[name] = _eager(model)
        if name != MIXTURE:
            arms[f"{name}, torch.compile"] = _compiled(model)
        if model.family == teacher.family:
            arms[f"{name}, chronos-forecasting"] = pipeline(run, HORIZON)
        for form, how in list(FORMS.items())[: 1 if options.quick else None]:
            folder = _exported(run, form, how, options)
            arms[f"{name}, {form}"] = _runtime(folder, options.threads)
            exports[f"{name}, {form}"] = _facts(folder)
    rounds = 2 if options.quick else options.rounds
    contexts = np.cumsum(np.random.default_rng(0).standard_normal((max(BATCHES), CONTEXT)), axis=1)
    arms["TTM-shaped, ONNX Runtime"] = patch_mixer(options.runs, options.threads, CONTEXT, HORIZON)
    arms |= {} if options.quick else statsforecast_arms(HORIZON)
    table = {name: {} for name in arms}
    for batch in BATCHES:
        slow = {"AutoETS", "AutoTheta"} if batch > 1 else set()  # one series after the other: nothing to gain
        calls = {name: (lambda arm=arm, b=batch: arm(contexts[:b])) for name, arm in arms.items() if name not in slow}
        times = harness.interleave(calls, rounds * (5 if batch == 1 else 1))
        _fill(table, f"b{batch}", times)
        if batch == 1:
            repeated = {name: call for name, call in calls.items() if name not in ("AutoETS", "AutoTheta")}
            _fill(table, "b1_repeated", {name: _repeated(call, rounds) for name, call in repeated.items()})
    harness.finish({"speed": table, "exports": exports}, options.output)


def _fill(table: dict[str, dict[str, Any]], column: str, times: dict[str, list[float]]) -> None:
    """Milliseconds of each arm, and its ratios."""
    for name, taken in times.items():
        ms = sorted(1e3 * one for one in taken)
        student = name.partition(",")[0]
        table[name][column] = {
            "ms": ms[len(ms) // 2],
            "ms_range": [ms[0], ms[-1]],
            "times_faster_than_teacher": harness.paired_ratio(times["teacher"], taken),
            "times_faster_than_120M": harness.paired_ratio(times["120 M, not trained"], taken),
            "times_faster_than_eager": harness.paired_ratio(times.get(student, taken), taken),
        }


def _repeated(call: Callable[[], Any], rounds: int) -> list[float]:
    """The median of calls that follow each other, in each round."""
    return [float(np.median([harness.seconds(call) for _ in range(REPEATS)])) for _ in range(rounds)]


def _options() -> Any:
    parser = harness.parser(__doc__)
    known = [*STUDENTS, MIXTURE]
    parser.add_argument("--students", nargs="+", default=known, choices=known)
    shared = Path(os.environ.get("POTSTILL_DATA", ROOT.parent / "shared/data"))
    parser.add_argument("--data", type=Path, default=shared / "suite", help="folder with CSV files")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "inference")
    parser.add_argument("--steps", type=int, default=1000, help="training steps of a student")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _student(name: str, options: Any) -> Path:
    run = options.runs / f"{name.replace('/', '-')}{'-quick' * options.quick}"
    if name == MIXTURE:
        return _mixture(run, options)
    if not (run / "metrics.json").exists():
        keys = {
            "teacher": "embedded",
            "student": STUDENTS[name],
            "data.paths": [str(file) for file in sorted(options.data.glob("*.csv"))],
            "data.split": "suite",
            "data.context_length": CONTEXT,
            "data.prediction_length": HORIZON,
            "training.max_steps": 5 if options.quick else options.steps,
            "training.eval_windows": 20 if options.quick else 256,
            "evaluation.max_windows": 2,
            "evaluation.baselines": [],
        }
        potstill.distill(potstill.Recipe.lay_over({}, keys), run, resume=run.exists())
    return run


def _mixture(run: Path, options: Any) -> Path:
    if not (run / "metrics.json").exists():
        experts = [f"{name.replace('/', '-')}={_student(name, options)}" for name in MIXED]
        keys = {
            "task": "mixture",
            "experts": experts,
            "data.paths": [str(file) for file in sorted(options.data.glob("*.csv"))],
            "data.split": "suite",
            "data.context_length": CONTEXT,
            "data.prediction_length": HORIZON,
            "data.distinct_windows": 2000,
            "training.max_steps": 200,
            "training.eval_windows": 256,
            "evaluation.max_windows": 2,
            "evaluation.baselines": [],
        }
        potstill.mix(potstill.Recipe.lay_over({}, keys), run, resume=run.exists())
    return run


def _exported(run: Path, form: str, how: dict[str, Any], options: Any) -> Path:
    folder = run.with_name(f"{run.name}-{form.replace(' ', '-').lower()}")
    if not (folder / "export.json").exists():
        potstill.export(run, folder, allow_loss=True, **how)
    return folder


def _facts(folder: Path) -> dict[str, Any]:
    manifest = Runtime(folder).manifest
    parity = manifest.parity
    kept = len(manifest.provenance.get("kept_in_fp32", []))
    return {
        "added_sql": parity["added_sql"],
        "bytes": parity["cost"]["exported"]["bytes"],
        "cold_start_seconds": parity["cost"]["cold_start_seconds"],
        "products_in_fp32": kept,
    }


def _base(teacher: Forecaster) -> Forecaster:
    """Weights are random: only the speed counts."""
    one = family("chronos2")
    return one.build(one.design(teacher, dict(BASE), CONTEXT, HORIZON), dropout=0.0).freeze()


def _eager(model: Forecaster) -> Arm:
    return lambda context: model.predict(context, HORIZON).quantiles


def _compiled(model: Forecaster) -> Arm:
    graph = family(model.family).graph(model)
    module = torch.compile(graph.module, dynamic=False)
    ahead = torch.zeros(-(-HORIZON // graph.horizon_multiple))
    inputs = () if graph.fixed else (ahead,)

    @torch.inference_mode()
    def run(context: np.ndarray) -> Any:
        mean, spread = context.mean(1, keepdims=True), context.std(1, keepdims=True)
        values = module(torch.from_numpy(np.arcsinh((context - mean) / spread)).float(), *inputs)
        return np.sort(np.sinh(values[..., :HORIZON].double().numpy()) * spread[:, :, None] + mean[:, :, None], axis=1)

    return run


def _runtime(folder: Path, threads: int) -> Arm:
    runtime = Runtime(folder, threads)
    for batch in BATCHES:
        runtime.fix_shapes(batch, CONTEXT, HORIZON)
    return lambda context: runtime.predict(context, HORIZON).quantiles


if __name__ == "__main__":
    main()
