"""The same graph with whole numbers of 8 bits in its matrix products: smaller, and less exact.

Static quantisation of ONNX Runtime, with pairs of (de)quantising operations around each product. Ranges come
from windows of people that the networks learned from, never from those they are tested on. Scaling, the linear skip, the kernel
beside the networks and everything after the heads stay as they are: their numbers span too much for 8 bits.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.export.parity import Evidence, rows_of
from biosig_mtl.types import F32, I64, DataError

CALIBRATION_WINDOWS = 256
# What a name of a stacked weight says where it is kept as it is.
KEPT = ("beside", "skip", "feature_", "target_", "waveform_", "track_center", "track_scale")
PRODUCTS = ("MatMul", "Gemm", "Conv")


def rows_learned(evidence: Evidence, places: frozenset[tuple[int, int]]) -> I64:
    """Return up to 256 training windows, evenly spread, of the folds (seed, number) whose networks are exported."""
    found = [fold.train for fold in evidence.folds if (fold.seed, fold.number) in places]
    if not found:
        raise DataError("the run's folds are not those of its networks: copy the run folder again")
    rows = np.unique(np.concatenate(found))
    return np.asarray(rows[np.unique(np.linspace(0, rows.size - 1, min(rows.size, CALIBRATION_WINDOWS)).astype(int))])


def quantised(content: bytes, evidence: Evidence, rows: I64) -> bytes:
    """Return the graph in 8 bits where that is possible.

    Parameters
    ----------
    content
        The graph.
    evidence, rows
        Windows whose ranges are taken: of people that the networks learned from.

    Raises
    ------
    DataError
        Nothing in the graph can be quantised: it has no matrix product of its own.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    table = rows_of(evidence.table, rows)
    given: dict[str, F32] = {"features": table.values, "waveform": table.waveform}
    given |= {f"track_{name}": track.signal for name, track in table.tracks.items()}
    graph = onnx.load_from_string(content)
    names = [value.name for value in graph.graph.input]
    products = products_of(graph)
    if not products:
        raise DataError("--int8: the graph has no matrix product that could be quantised")
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "source.onnx"), Path(folder, "made.onnx")
        source.write_bytes(content)
        logging.disable(logging.WARNING)
        try:
            quantize_static(
                str(source),
                str(made),
                _Windows({name: np.asarray(given[name], np.float32) for name in names}),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=False,
                nodes_to_quantize=products,
                op_types_to_quantize=list(PRODUCTS),
                calibrate_method=CalibrationMethod.MinMax,
            )
        finally:
            logging.disable(logging.NOTSET)
        return made.read_bytes()


def products_of(graph: Any) -> list[str]:
    """Return the names of the matrix products with weights that may be quantised."""
    made_by = {name: node for node in graph.graph.node for name in node.output}
    weights = {value.name for value in graph.graph.initializer}
    found = []
    for node in graph.graph.node:
        if node.op_type not in PRODUCTS:
            continue
        origins = [_origin(name, made_by, weights) for name in node.input]
        own = [origin for origin in origins if origin is not None]
        if own and len(own) < len(node.input) and not any(word in origin for origin in own for word in KEPT):
            found.append(node.name)
    return found


def _origin(name: str, made_by: Mapping[str, Any], weights: set[str]) -> str | None:
    """Return the weight that a value is, or is a mere rearrangement of; None for what depends on the window."""
    while name not in weights:
        node = made_by.get(name)
        if node is None or node.op_type not in {"Transpose", "Reshape", "Unsqueeze", "Squeeze", "Expand", "Identity", "Cast"}:
            return None
        name = node.input[0]
    return name


class _Windows:
    """Feeds windows in parts to the calibration."""

    def __init__(self, given: Mapping[str, F32], size: int = 32) -> None:
        self._parts: Iterator[dict[str, F32]] = iter(
            [{name: x[a : a + size] for name, x in given.items()} for a in range(0, len(next(iter(given.values()))), size)]
        )

    def get_next(self) -> dict[str, F32] | None:
        """Return the next part, None after the last."""
        return next(self._parts, None)


__all__ = ["CALIBRATION_WINDOWS", "products_of", "quantised", "rows_learned"]
