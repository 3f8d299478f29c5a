"""Weights of 8 or 4 bits, in blocks of 32 with a scale and a zero point each; activations stay in fp32.

onnxruntime quantises (``MatMulNBitsQuantizer``). This module makes all weights visible to it and quantises the
embedding, which shares its bytes with the output layer where the two are tied.

Shapes: V tokens, D width, N outputs of a layer.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np

BLOCK = 32  # weights per scale; smaller blocks lose less, larger ones are smaller
CONTRIB = "com.microsoft"
_INT8_ARITHMETIC = 4  # accuracy level of MatMulNBits: products of blocks in int8, summed in fp32


class _Quantised(NamedTuple):
    """Names of the initializers of a quantised matrix ``[N, D]``: packed weights, scales, zero points."""

    weights: str
    scales: str
    zeros: str


def quantise(model: Any, bits: int) -> Any:
    """The graph of ``onnx_graph`` with quantised weights; ``model`` is changed.

    Parameters
    ----------
    model
        An ``onnx.ModelProto``.
    bits
        8 or 4.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)
    graph = model.graph
    _products_of_gemm(graph)
    tied = _fold_transposes(graph)
    quantizer = MatMulNBitsQuantizer(
        model, bits=bits, block_size=BLOCK, is_symmetric=False, accuracy_level=_INT8_ARITHMETIC
    )
    quantizer.process()
    made: Any = quantizer.model
    _quantise_embedding(made.model.graph, bits, tied)
    return made.model


def _products_of_gemm(graph: Any) -> None:
    """Replace x · W + b in one node (GPT-2's layers) by a product and a sum: only products are quantised."""
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0 and not attributes.get("transA", 0)
        if node.op_type != "Gemm" or not plain or node.input[1] not in weights:
            nodes.append(node)
            continue
        weight = node.input[1]
        if attributes.get("transB", 0):
            weight = f"{node.output[0]}_weight"
            turned = np.ascontiguousarray(numpy_helper.to_array(weights[node.input[1]]).T)
            graph.initializer.append(numpy_helper.from_array(turned, weight))
        product = f"{node.output[0]}_product" if len(node.input) > 2 else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], weight], [product], name=f"{node.name}_product"))
        if len(node.input) > 2:
            nodes.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}_sum"))
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)


def _fold_transposes(graph: Any) -> dict[str, str]:
    """Replace transposed weights by weights; returns the name of the new weight by that of the old one."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer}
    folded = {}
    for node in [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in weights]:
        matrix = numpy_helper.to_array(weights[node.input[0]])
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), list(range(matrix.ndim))[::-1])
        turned = np.ascontiguousarray(matrix.transpose(order))
        graph.initializer.append(numpy_helper.from_array(turned, node.output[0]))
        folded[node.input[0]] = node.output[0]
        graph.node.remove(node)
    _drop_unused(graph)
    return folded


def _quantise_embedding(graph: Any, bits: int, tied: dict[str, str]) -> None:
    """Look tokens up in a quantised table: the output layer's, if it is tied to the embedding, or one of its own."""
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer}
    lookup = _embedding_lookup(graph, weights)
    if lookup is None:
        return
    table = numpy_helper.to_array(weights[lookup.input[0]])
    count, width = table.shape
    if width % BLOCK:  # rows of a table cannot share a block
        return
    head = next((n for n in graph.node if n.op_type == "MatMulNBits" and _is_of(n, tied.get(lookup.input[0]))), None)
    found = _Quantised(*head.input[1:4]) if head is not None else _quantised_table(graph, table, bits)
    blocks = width // BLOCK
    names = {part: f"embedding_{part}" for part in _Quantised._fields}
    packed = width * bits // 8
    sizes = {"weights": (count, packed), "scales": (count, blocks), "zeros": (count, -(-blocks * bits // 8))}
    nodes = []
    for part, source in found._asdict().items():
        shape = numpy_helper.from_array(np.array(sizes[part], np.int64), f"{names[part]}_shape")
        graph.initializer.append(shape)
        nodes.append(helper.make_node("Reshape", [source, shape.name], [names[part]], name=names[part]))
    nodes.append(
        helper.make_node(
            "GatherBlockQuantized",
            [names["weights"], lookup.input[1], names["scales"], names["zeros"]],
            [lookup.output[0]],
            name="embedding",
            domain=CONTRIB,
            bits=bits,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )
    )
    at = list(graph.node).index(lookup)
    graph.node.remove(lookup)
    for place, node in enumerate(nodes):
        graph.node.insert(at + place, node)
    _drop_unused(graph)


def _embedding_lookup(graph: Any, weights: dict[str, Any]) -> Any:
    """The node that looks tokens up in a table of weights, or None."""
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in weights:
            index = node.input[1]
            while index in makers and makers[index].op_type in ("Reshape", "Cast", "Identity"):
                index = makers[index].input[0]
            if index == "input_ids":
                return node
    return None


def _is_of(node: Any, weight: str | None) -> bool:
    return weight is not None and node.input[1].startswith(f"{weight}_Q")


def _quantised_table(graph: Any, table: np.ndarray, bits: int) -> _Quantised:
    """An embedding of its own, quantised as the output layer would be."""
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    rows = np.ascontiguousarray(table.T)
    product = helper.make_node("MatMul", ["x", "table"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None]) for name in ("x", "y")]
    alone = helper.make_graph([product], "table", ends[:1], ends[1:], [numpy_helper.from_array(rows, "table")])
    model = helper.make_model(alone, opset_imports=[helper.make_opsetid("", 18)])
    quantizer = MatMulNBitsQuantizer(model, bits=bits, block_size=BLOCK, is_symmetric=False)
    quantizer.process()
    made: Any = quantizer.model
    (node,) = made.model.graph.node
    graph.initializer.extend(made.model.graph.initializer)
    return _Quantised(*node.input[1:4])


def _drop_unused(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
