"""Quantise a graph after training, and keep the layers in higher precision that would cost accuracy.

Two libraries: NNCF for OpenVINO (weights and activations, calibrated on validation windows), and ONNX Runtime's
dynamic quantisation for ONNX (weights before, activations while the graph runs).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from potstill.console import progress_bar
from potstill.exporting.packages import quiet

Inputs = dict[str, np.ndarray]
#: the loss of a graph, relative to that of the graph in fp32; 0.01 is one per cent more
RelativeLoss = Callable[[Any], float]


def openvino_int8(model: Any, calibration: Sequence[Inputs], loss: RelativeLoss, limit: float) -> tuple[Any, list[str]]:
    """An OpenVINO model with int8 matrix products.

    Parameters
    ----------
    model
        In fp32.
    calibration
        Batches of inputs.
    loss
        Of a candidate.
    limit
        The loss that is tolerated. Matrix products are kept in fp32, those first whose quantisation changes the
        forecasts most, until the loss is below.

    Returns
    -------
    tuple
        The quantised model, and the names of the operations that stayed in fp32.
    """
    import nncf

    def quantised(ignored: Sequence[str]) -> Any:
        with quiet():
            return nncf.quantize(
                model,
                nncf.Dataset(list(calibration)),
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(calibration),
                ignored_scope=nncf.IgnoredScope(names=list(ignored)) if ignored else None,
            )

    products = [op for op in model.get_ordered_ops() if op.get_type_name() == "MatMul" and _has_weights(op)]
    return _kept(quantised, [op.get_friendly_name() for op in products], loss, limit)


def openvino_weights(model: Any) -> Any:
    """An OpenVINO model whose weights are stored in int8 and multiplied in fp32."""
    import nncf

    with quiet():
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)


def onnx_int8(source: Path, target: Path, loss: RelativeLoss, limit: float) -> list[str]:
    """Write an ONNX graph with int8 weights, and activations that are quantised while it runs.

    Parameters and result as in :func:`openvino_int8`, with files instead of models.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def quantised(ignored: Sequence[str]) -> Path:
        with quiet():
            quantize_dynamic(
                copy.deepcopy(model),
                target,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=list(ignored),
            )
        return target

    model = onnx.load(str(source))
    del model.graph.value_info[:]  # weights of Gemm are transposed, and their old shapes would contradict the new
    stored = {tensor.name for tensor in model.graph.initializer}
    products = [
        node.name for node in model.graph.node if node.op_type in ("MatMul", "Gemm") and stored & set(node.input)
    ]
    return _kept(quantised, products, loss, limit)[1]


def _kept(
    quantised: Callable[[Sequence[str]], Any], products: Sequence[str], loss: RelativeLoss, limit: float
) -> tuple[Any, list[str]]:
    """The candidate with the fewest products in fp32 whose loss is within the limit, doubling their number each time.

    If none is, the last that was tried; the comparison with PyTorch then refuses it.
    """
    candidate, ignored = quantised([]), []
    if loss(candidate) <= limit or len(products) < 2:
        return candidate, ignored
    # the cost of a product: the loss that remains when it alone is not quantised
    cost: dict[str, float] = {}
    with progress_bar("Finding layers that cost accuracy", "layers") as progress:
        for done, name in enumerate(products, start=1):
            cost[name] = loss(quantised([name]))
            progress(done, len(products), "")
    order = sorted(products, key=lambda name: cost[name])
    count = 1
    while count < len(order):
        ignored = order[:count]
        candidate = quantised(ignored)
        if loss(candidate) <= limit:
            break
        count *= 2
    return candidate, ignored


def _has_weights(product: Any) -> bool:
    """Whether a matrix product has a constant factor, possibly behind a conversion."""
    sources = (product.input_value(place).get_node() for place in range(2))
    return any(
        node.get_type_name() == "Constant"
        or (node.get_input_size() and node.input_value(0).get_node().get_type_name() == "Constant")
        for node in sources
    )
