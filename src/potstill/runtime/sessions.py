"""Execute a graph with ONNX Runtime or OpenVINO; safe to use from several threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .errors import ExportError

Inputs = Mapping[str, np.ndarray]
#: precisions whose other products, or all of them, are computed in bf16 by a processor that multiplies it
BF16 = ("bf16", "int8")


class Session(Protocol):
    """A graph that can be run; ``inputs`` are the names of its inputs."""

    inputs: list[str]

    def run(self, inputs: Inputs) -> np.ndarray:
        """The first output of the graph."""
        ...

    def fix_shapes(self, shapes: Mapping[str, list[int]]) -> None:
        """Prepare the graph for inputs of these shapes, which then take less time; others still work."""
        ...


class OnnxSession:
    """A graph in ONNX Runtime, on the CPU."""

    def __init__(self, graph: Path, threads: int | None, precision: str):
        try:
            import onnxruntime
        except ImportError as error:
            raise ExportError(
                f"{graph}: onnxruntime cannot be imported ({error}); run `pip install onnxruntime`."
            ) from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self._session.get_inputs()]

    def run(self, inputs: Inputs) -> np.ndarray:
        """See :class:`Session`."""
        values: Any = self._session.run(None, dict(inputs))[0]
        return values

    def fix_shapes(self, shapes: Mapping[str, list[int]]) -> None:
        """Nothing to prepare: ONNX Runtime plans the memory of each shape on its first run."""


class OpenVinoSession:
    """A graph in OpenVINO, on the CPU. Each thread has its own request, because a request is not safe to share."""

    def __init__(self, graph: Path, threads: int | None, precision: str):
        try:
            import openvino
        except ImportError:
            raise ExportError(
                f"{graph}: is an OpenVINO graph; run `pip install openvino`, or export to ONNX."
            ) from None
        self._core = openvino.Core()
        self._model = self._core.read_model(str(graph))
        self.inputs = [one.get_any_name() for one in self._model.inputs]
        self._options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision in BF16 else "f32",
        }
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._requests = _Requests(self._compiled(self._model))
        self._fixed: dict[tuple[tuple[int, ...], ...], _Requests] = {}

    def run(self, inputs: Inputs) -> np.ndarray:
        """See :class:`Session`."""
        requests = self._requests
        if self._fixed:
            requests = self._fixed.get(tuple(array.shape for array in inputs.values()), requests)
        # a copy: the next run of this request writes to the same memory
        return requests.mine().infer(dict(inputs))[0].copy()

    def fix_shapes(self, shapes: Mapping[str, list[int]]) -> None:
        """Compile the graph for inputs of these shapes."""
        model = self._model.clone()
        model.reshape(dict(shapes))
        self._fixed[tuple(map(tuple, shapes.values()))] = _Requests(self._compiled(model))

    def _compiled(self, model: Any) -> Any:
        return self._core.compile_model(model, "CPU", self._options)


class _Requests:
    """A request for each thread."""

    def __init__(self, compiled: Any):
        self._compiled, self._local = compiled, threading.local()

    def mine(self) -> Any:
        """The request of the calling thread."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        return self._local.request


KINDS = {"onnx": OnnxSession, "openvino": OpenVinoSession}


def open_session(graph: Path, backend: str, threads: int | None, precision: str, inputs: Sequence[str]) -> Session:
    """Load a graph that has these inputs.

    Raises
    ------
    ExportError
        If the library cannot read it, or it has other inputs.
    """
    try:
        session = KINDS[backend](graph, threads, precision)
    except ExportError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ExportError(
            f"{graph}: {backend} cannot load the graph ({first[:200]}); it may be damaged: export or copy it again."
        ) from None
    if set(session.inputs) != set(inputs):
        raise ExportError(
            f"{graph}: has the inputs {', '.join(session.inputs)}, and export.json describes a graph with the inputs"
            f" {', '.join(inputs)}; they are not of one export: export or copy the folder again."
        )
    return session
