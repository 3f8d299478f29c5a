"""Write a graph as an ONNX file, with torch's dynamo exporter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from potstill.errors import UserError
from potstill.exporting.packages import quiet
from potstill.families.base import Forecaster, Graph

OPSET = 20
_EXAMPLES = 3  # windows of the example that is traced: torch takes 1 for a constant


def write_forecaster(graph: Graph, model: Forecaster, path: Path) -> None:
    """Write a forecaster's graph; batch, context and horizon stay dynamic unless the graph fixes them.

    Raises
    ------
    UserError
        If torch cannot express the model as a graph.
    """
    length = model.max_context if graph.fixed else min(4 * graph.context_multiple, model.max_context)
    context = torch.randn(_EXAMPLES, length)
    context[0, : length // 2] = torch.nan
    dynamic = torch.export.Dim.DYNAMIC
    if graph.fixed:
        write(graph.module, {"context": context}, {"context": {0: dynamic}}, path, model.source.name)
        return
    ahead: dict[str, torch.Tensor] = {"patches": torch.zeros(2)}
    if graph.groups:
        future = torch.randn(_EXAMPLES, 2, graph.horizon_multiple)
        future[0] = torch.nan
        ahead = {"future": future, "group": torch.tensor([0, 0, 1])}
    if graph.scaling == "uni2ts":
        ahead = {"missing": torch.randn(_EXAMPLES, 1), **ahead}
    axes = {"context": (0, 1), "missing": (0,), "patches": (0,), "future": (0, 1), "group": (0,)}
    inputs = {"context": context, **ahead}
    shapes = {name: dict.fromkeys(axes[name], dynamic) for name in inputs}
    write(graph.module, inputs, shapes, path, model.source.name)


def write(
    module: nn.Module, inputs: dict[str, torch.Tensor], dynamic: Mapping[str, Mapping[int, Any]], path: Path, name: str
) -> None:
    """Write a module with one output as an ONNX file.

    Parameters
    ----------
    module, inputs
        The module and an example of its inputs, by the names that they get.
    dynamic
        The dynamic dimensions of each input.
    path, name
        The file, and the model's name in messages.
    """
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=["values"],
                dynamic_shapes=tuple(dynamic.values()),
                opset_version=OPSET,
                verbose=False,
                external_data=False,
            )
            assert program is not None
            program.save(str(path))
    except torch.onnx.OnnxExporterError as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise UserError(
            f"{name}: torch cannot express this model as an ONNX graph ({first[:200]}).", key="export.no_graph"
        ) from error
