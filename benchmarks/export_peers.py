"""Can other libraries export a student of Chronos-2's form? Tries darts: its Chronos2Model, to ONNX, in ONNX Runtime.

    pip install darts pytorch-lightning      # in an environment of its own
    python benchmarks/export_peers.py RUN/student

Prints what happens: the shapes of the graph's inputs, or the error, and the time of a forecast.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import pandas as pd

CONTEXT, HORIZON, CALLS = 512, 96, 20
LEVELS = [0.1, 0.5, 0.9]


def main() -> None:
    """Export, load, forecast; print the figures."""
    parser = harness.parser(__doc__)
    parser.add_argument("student", type=Path, help="folder of a student of the family chronos2")
    given = parser.parse_args()
    figures: dict[str, Any] = {"quick": given.quick, "darts": _darts(given.student)}
    harness.finish(figures, given.output)


def _darts(student: Path) -> dict[str, Any]:
    import darts  # pyright: ignore[reportMissingImports]
    import onnxruntime
    from darts import TimeSeries  # pyright: ignore[reportMissingImports]
    from darts.models.forecasting.chronos2_model import Chronos2Model  # pyright: ignore[reportMissingImports]
    from darts.utils.likelihood_models.torch import QuantileRegression  # pyright: ignore[reportMissingImports]
    from darts.utils.onnx.inference import run_onnx_prediction  # pyright: ignore[reportMissingImports]

    values = np.cumsum(np.random.default_rng(0).standard_normal(CONTEXT + HORIZON)).astype("f")
    series = TimeSeries.from_times_and_values(pd.date_range("2024", periods=len(values), freq="h"), values)
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    model = Chronos2Model(
        CONTEXT, HORIZON, local_dir=student, likelihood=QuantileRegression(LEVELS), pl_trainer_kwargs=quiet
    )
    model.fit(series)  # trains nothing: the weights are those of the folder
    found: dict[str, Any] = {"version": darts.__version__, "onnxruntime": onnxruntime.__version__}
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "model.onnx")
        model.to_onnx(file)
        try:
            session = onnxruntime.InferenceSession(file)
        except Exception as error:
            return {**found, "loads": False, "error": str(error).replace(file, "model.onnx")[:300]}
        times = []
        for _ in range(CALLS):
            began = time.perf_counter()
            run_onnx_prediction(n=HORIZON, session=session, series=series, predict_likelihood_parameters=True)
            times.append(time.perf_counter() - began)
    inputs = {one.name: one.shape for one in session.get_inputs()}
    return {**found, "loads": True, "inputs": inputs, "ms_b1": 1e3 * harness.median(times)}


if __name__ == "__main__":
    main()
