"""Networks as graphs of ONNX, for tests: what a `Batch` holds becomes a row of tensors."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biosig_mtl.types import Batch, InputSpec

Run = Callable[[Batch], NDArray[np.float32]]


def inputs_of(batch: Batch, spec: InputSpec) -> dict[str, Tensor]:
    """Return what a network looks at, by name: values and flags, the waveform and each track where there are such."""
    found = {"values": batch.values, "missing": batch.missing} if spec.features else {}
    found |= {"waveform": batch.waveform} if spec.samples else {}
    for track in spec.tracks:
        found |= {f"tracks_{track.name}": batch.tracks[track.name], f"present_{track.name}": batch.present[track.name]}
    return found


class Plain(nn.Module):
    """A network that takes tensors, in the order of `inputs_of`, and returns predictions."""

    def __init__(self, model: nn.Module, spec: InputSpec, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.spec, self.names = model, spec, names

    def forward(self, *given: Tensor) -> Tensor:
        """Put a batch together and answer it."""
        told = dict(zip(self.names, given, strict=True))
        n = given[0].shape[0]
        bare = given[0].new_zeros((n, 0), dtype=torch.float32)
        batch = Batch(
            told.get("waveform", bare[:, None]),
            told.get("values", bare),
            told.get("missing", bare.bool()),
            given[0].new_zeros((n, len(self.spec.targets)), dtype=torch.float32),
            given[0].new_zeros((n,), dtype=torch.float32),
            {track.name: told[f"tracks_{track.name}"] for track in self.spec.tracks},
            {track.name: told[f"present_{track.name}"] for track in self.spec.tracks},
        )
        predictions: Tensor = self.model(batch).predictions
        return predictions


def exported(model: nn.Module, spec: InputSpec, batch: Batch) -> Run:
    """Export a network for any number of windows; return what runs the graph on a batch and gives predictions (B, T)."""
    import onnxruntime

    given = inputs_of(batch, spec)
    plain = Plain(model, spec, tuple(given)).eval()
    windows = torch.export.Dim("windows", min=1)
    # The exporter talks, and warns of what it uses itself.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            plain,
            tuple(given.values()),
            dynamo=True,
            dynamic_shapes=(({0: windows},) * len(given),),
            input_names=list(given),
            verbose=False,
        )
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    wanted = {part.name for part in session.get_inputs()}

    def run(other: Batch) -> NDArray[np.float32]:
        tensors = inputs_of(other, spec)
        made: NDArray[np.float32] = session.run(None, {name: tensors[name].numpy() for name in wanted})[0]
        return made

    return run
