"""One small file that makes a run a person's own: safetensors with words in its header, no pickle.

It holds the person's readings, the features of the windows during which they were taken (and the waveforms, where the networks
look at them), the fitted method, and the person's own tensors where the method has some: health data, to be kept as such.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.inference.personal_ensemble import Anchors
from biosig_mtl.inference.personal_readings import KNOWN
from biosig_mtl.training.calibration.keeping import Fitted, Standard, part_of, restored
from biosig_mtl.training.calibration.known import Kept
from biosig_mtl.types import F64, DataError, InputSpec, Track, TrackSpec, WindowTable

FORMAT = 1
WORDS = "personal"
Numbers = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds; ``own`` are tensors as ``<network>/<tensor>``, empty where the method has none."""

    model_sha256: str
    fitted: Fitted
    standard: Standard | None
    anchors: Anchors
    own: Mapping[str, NDArray[np.float32]]


def to_bytes(content: Content, spec: InputSpec) -> bytes:
    """Return the file as bytes; the same content gives the same bytes."""
    from safetensors.numpy import save

    kept, anchors = content.fitted.calibrator.kept(), content.anchors
    numbers: dict[str, NDArray[Any]] = {
        "anchors/onset_s": anchors.onset_s, "anchors/sqi": anchors.sqi, "anchors/truth": anchors.truth,
        "anchors/estimate": anchors.estimate, "anchors/values": np.asarray(anchors.table.values, np.float32),
        "half_width": content.fitted.half_width,
    }  # fmt: skip
    if anchors.table.waveform.any():
        numbers["anchors/waveform"] = np.asarray(anchors.table.waveform)
    numbers |= {f"track/{name}": track.signal for name, track in anchors.table.tracks.items()}
    numbers |= {f"method/{name}": x for name, x in kept.numbers.items()}
    numbers |= {f"own/{name}": x for name, x in content.own.items()}
    if content.standard is not None:
        numbers |= {"standard/center": content.standard.center, "standard/scale": content.standard.scale}
    numbers = {name: np.ascontiguousarray(x) for name, x in sorted(numbers.items())}
    words = {
        "format": FORMAT, "model_sha256": content.model_sha256, "sha256": _digest(numbers), "record": anchors.record,
        "method": content.fitted.method, "readings": content.fitted.count, "words": dict(kept.words),
        "targets": list(spec.targets), "fs": anchors.table.fs,
    }  # fmt: skip
    return save(numbers, metadata={WORDS: json.dumps(words, sort_keys=True, allow_nan=False)})


def from_bytes(raw: bytes, spec: InputSpec, path: Path) -> Content:
    """Read what `to_bytes` made; raise `DataError`, naming the path, where it is not whole or for other inputs."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        words, numbers = _header(raw), load(raw)
        if words["format"] != FORMAT:
            raise DataError(f"{path}: has format {words['format']}, this version reads {FORMAT}")
        if words["sha256"] != _digest(numbers):
            raise DataError(f"{path}: was altered after it was written: personalise again")
        if words["targets"] != list(spec.targets) or numbers["anchors/values"].shape[1] != len(spec.features):
            raise DataError(f"{path}: was made for other targets or features than this run has: personalise with this run")
        return _content(words, numbers, spec)
    # Words that are nested a hundred thousand deep end in a RecursionError.
    except (SafetensorError, AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise DataError(f"{path}: not readable as a personal file: personalise again") from error


def _content(words: Mapping[str, Any], numbers: Numbers, spec: InputSpec) -> Content:
    kept = Kept(words["words"], part_of(numbers, "method/"))
    fitted = Fitted(words["method"], int(words["readings"]), restored(words["method"], kept), _column(numbers, "half_width"))
    standard = None
    if "standard/center" in numbers:
        standard = Standard(spec.features, _column(numbers, "standard/center"), _column(numbers, "standard/scale"))
    own = {name: np.asarray(x, np.float32) for name, x in part_of(numbers, "own/").items()}
    _check(fitted, standard, own, spec)
    return Content(words["model_sha256"], fitted, standard, _anchors(words, numbers, spec), own)


def _check(fitted: Fitted, standard: Standard | None, own: Numbers, spec: InputSpec) -> None:
    """Raise `ValueError` where numbers have another shape than the run needs, or would make every answer nonsense."""
    sides = () if standard is None else (standard.center, standard.scale)
    # Half-widths may be NaN: nobody has measured them.
    if fitted.half_width.shape != (len(spec.targets),) or (fitted.half_width < 0).any():
        raise ValueError("half-widths")
    if any(x.shape != (len(spec.features),) or not np.isfinite(x).all() for x in sides):
        raise ValueError("scales")
    if not all(np.isfinite(x).all() for x in own.values()):
        raise ValueError("tensors")


def _anchors(words: Mapping[str, Any], numbers: Numbers, spec: InputSpec) -> Anchors:
    import pandas as pd

    values = np.asarray(numbers["anchors/values"], np.float32)
    k = len(values)
    empty = np.zeros((k, len(spec.waveform_channels), spec.samples), np.float32)
    table = WindowTable(
        index=pd.DataFrame({"subject": np.full(k, "")}),
        values=values,
        names=spec.features,
        waveform=np.asarray(numbers.get("anchors/waveform", empty), np.float32),
        waveform_channels=spec.waveform_channels,
        fs=float(words["fs"]),
        targets=np.full((k, len(spec.targets)), np.nan, np.float32),
        target_names=spec.targets,
        tracks={track.name: _track(track, numbers) for track in spec.tracks},
        heads=spec.heads,
    )
    onset, sqi = _column(numbers, "anchors/onset_s"), _column(numbers, "anchors/sqi")
    truth, estimate = (np.asarray(numbers[f"anchors/{name}"], np.float64) for name in ("truth", "estimate"))
    wide = (k, len(spec.targets))
    if not k or onset.shape != (k,) or sqi.shape != (k,) or truth.shape != wide or estimate.shape != wide:
        raise ValueError("columns of unlike length")
    if table.waveform.shape != empty.shape:
        raise ValueError("waveforms of another shape")
    if not (np.isfinite(onset).all() and np.isfinite(estimate).all()):
        raise ValueError("windows that are no numbers")
    _check_readings(truth, spec)
    return Anchors(str(words["record"]), table, onset, sqi, truth, estimate)


def _check_readings(truth: F64, spec: InputSpec) -> None:
    """Raise `ValueError` for readings (k, T) that `personalise` would have refused; NaN is a target that was not told."""
    if np.isnan(truth).all(axis=1).any() or np.isinf(truth).any():
        raise ValueError("readings that are no numbers")
    for name, told in zip(spec.targets, truth.T, strict=True):
        if name in KNOWN and ((told < KNOWN[name].low) | (told > KNOWN[name].high)).any():
            raise ValueError("readings that no cuff makes")


def _track(track: TrackSpec, numbers: Numbers) -> Track:
    return Track(track.channels, track.fs, np.asarray(numbers[f"track/{track.name}"], np.float32))


def _column(numbers: Numbers, name: str) -> F64:
    return np.asarray(numbers[name], dtype=np.float64)


def _header(raw: bytes) -> dict[str, Any]:
    """Return the words of a file; the length of the header is told by its first eight bytes."""
    size = int.from_bytes(raw[:8], "little")
    if not 2 <= size <= len(raw) - 8:
        raise ValueError("no header")
    told = json.loads(raw[8 : 8 + size])["__metadata__"][WORDS]
    words = json.loads(told)
    return {**words} if math.isfinite(words["fs"]) else {}


def _digest(numbers: Numbers) -> str:
    made = hashlib.sha256()
    for name, x in sorted(numbers.items()):
        made.update(f"{name}|{x.dtype}|{x.shape}|".encode())
        made.update(np.ascontiguousarray(x).tobytes())
    return made.hexdigest()
