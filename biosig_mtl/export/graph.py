"""From a module to a graph of ONNX with a free number of windows."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from biosig_mtl.export.whole import Whole, inputs_of
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.types import F64, DataError, InputSpec, RecipeError

OPSET = 20
OPSETS = (18, 23)
WINDOWS = "windows"
ASSERT = torch.ops.aten._assert_tensor_metadata.default  # noqa: SLF001 (its only name)


def check_opset(opset: int) -> None:
    """Raise `RecipeError` for a version of the operators that cannot be written."""
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise RecipeError(f"--opset {opset}: need {OPSETS[0]} to {OPSETS[1]}, the versions that the exporter writes")


def need(*packages: str) -> None:
    """Raise `DataError` that says what to install where a package of the extra ``onnx`` is not there."""
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise DataError(f"'{package}' is not installed, which an export needs: pip install 'biosig-mtl[onnx]'")


def graph_of(members: Sequence[Member], spec: InputSpec, half_width: F64, opset: int = OPSET) -> tuple[Any, Whole]:
    """Return the graph (a ``ModelProto``) of some networks of a run, and the module that it is of.

    Networks of one form are stacked; where that cannot be done they are written one beside the other.

    Raises
    ------
    RecipeError
        An operator version that cannot be written.
    DataError
        The extra ``onnx`` is not installed, or the exporter cannot write these networks.
    """
    check_opset(opset)
    need("onnx", "onnxscript", "onnxruntime")
    errors = []
    for stacked in (True, False):
        whole = Whole(members, spec, half_width, stacked=stacked).eval()
        try:
            return _written(whole, inputs_of(members, spec), opset), whole
        except Exception as error:  # noqa: BLE001 (torch's exporter raises whatever its parts raise)
            errors.append(error)
    why = " ".join(str(errors[-1]).split())[:200]
    raise DataError(f"these networks cannot be written as a graph: {why}") from errors[-1]


def _written(whole: Whole, shapes: Mapping[str, tuple[int, ...]], opset: int) -> Any:
    torch.manual_seed(0)
    # Neither 0 nor 1 windows: the exporter takes these for fixed.
    example = tuple(torch.zeros(3, *shape) for shape in shapes.values())
    windows = torch.export.Dim(WINDOWS, min=1, max=1 << 20)
    with _quiet(), torch.no_grad():
        program = torch.export.export(whole, example, dynamic_shapes=(({0: windows},) * len(example),), strict=False)
        for part in program.graph_module.modules():
            if isinstance(part, torch.fx.GraphModule):
                _forget_asserts(part)
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            verbose=False,
            input_names=list(shapes),
            output_names=list(whole.outputs),
        )
    assert made is not None
    proto = made.model_proto
    if any(given.type.tensor_type.shape.dim[0].HasField("dim_value") for given in proto.graph.input):
        raise ValueError("the number of windows came out fixed")
    _name_windows(proto)
    _forget_places(proto)
    return proto


def _forget_asserts(part: torch.fx.GraphModule) -> None:
    """Drop what only checks kinds of numbers: it cannot be run on stacked values."""
    for node in list(part.graph.nodes):
        if node.op == "call_function" and node.target == ASSERT:
            part.graph.erase_node(node)
    part.recompile()


def _name_windows(proto: Any) -> None:
    """Call the free axis by its name wherever it stands."""
    symbol = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in [*proto.graph.input, *proto.graph.output, *proto.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == symbol:
                dim.dim_param = WINDOWS


def _forget_places(proto: Any) -> None:
    """Drop the exporter's notes on where in which file of this machine each operation was written."""
    graph = proto.graph
    del proto.metadata_props[:], graph.metadata_props[:]
    for part in [*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer]:
        del part.metadata_props[:]
        part.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter quiet: it talks, and warns of what it uses itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.onnx._internal.exporter._registration", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
