"""Fitted methods of personal calibration on disk, beside a run: safetensors for numbers, JSON for words, no pickle.

`calibrate` fits them on all people of a run, each answered by networks that did not learn from them, and writes them with
`save`; to personalise a run for somebody new is to `load` them. What is altered, or belongs to another run, is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.training.calibration.known import Calibrator, Kept
from biosig_mtl.training.calibration.methods import METHODS
from biosig_mtl.training.scaling import CLIP, Scaler
from biosig_mtl.types import F64, DataError

FORMAT = 1
FOLDER, WORDS_FILE, NUMBERS_FILE = "personal", "calibrators.json", "calibrators.safetensors"
Numbers = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A method as fitted for ``count`` readings; ``half_width`` (T,) holds 90 % of a stranger's errors, NaN where unknown."""

    method: str
    count: int
    calibrator: Calibrator
    half_width: F64


@dataclass(frozen=True, eq=False)
class Standard:
    """Centre and spread (F,) of the features ``names``, as methods were shown them."""

    names: tuple[str, ...]
    center: F64
    scale: F64

    @classmethod
    def of(cls, names: tuple[str, ...], scaler: Scaler) -> Standard:
        """Return those of a scaler."""
        return cls(names, scaler.feature_center, scaler.feature_scale)

    def values(self, raw: NDArray[np.floating]) -> F64:
        """Return features (n, F) in standard deviations, as `Scaler.values` makes them: 0 where missing, cut at ±5."""
        missing = ~np.isfinite(raw) | (self.scale == 0)
        safe = np.where(self.scale > 0, self.scale, 1.0)
        scaled = np.clip((np.where(missing, 0.0, raw) - self.center) / safe, -CLIP, CLIP)
        return np.where(missing, 0.0, scaled).astype(np.float32).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Keeping:
    """All that `calibrate` leaves beside a run: fitted methods, how features were scaled, and which method is best.

    ``chosen`` is the method to use by number of readings; it was chosen on training people.
    """

    targets: tuple[str, ...]
    standard: Standard
    fitted: tuple[Fitted, ...]
    chosen: Mapping[int, str] = field(default_factory=dict)

    def find(self, method: str, count: int) -> Fitted | None:
        """Return a method as fitted for so many readings, else for fewer, else for the fewest there are; None without."""
        own = sorted((one for one in self.fitted if one.method == method), key=lambda one: one.count)
        fewer = [one for one in own if one.count <= count]
        return fewer[-1] if fewer else own[0] if own else None

    def best(self, count: int) -> str | None:
        """Return the chosen method for so many readings, or for the nearest smaller number; None where nothing was chosen."""
        fewer = [number for number in self.chosen if number <= count] or list(self.chosen)[:1]
        return self.chosen[max(fewer)] if fewer else None


def save(folder: Path, keeping: Keeping, model: Path) -> None:
    """Write fitted methods into a folder; words last.

    Parameters
    ----------
    folder
        Made where it is not there; what it held of this kind is replaced.
    keeping
        What to write.
    model
        ``model.json`` of the run that they are for.
    """
    from safetensors.numpy import save as bytes_of

    numbers: dict[str, NDArray[Any]] = {"center": keeping.standard.center, "scale": keeping.standard.scale}
    entries = []
    for i, one in enumerate(keeping.fitted):
        kept = one.calibrator.kept()
        numbers |= {f"{i}/{name}": np.ascontiguousarray(x) for name, x in kept.numbers.items()}
        half = [None if np.isnan(x) else float(x) for x in one.half_width]
        entries.append({"method": one.method, "readings": one.count, "words": dict(kept.words), "half_width": half})
    content = bytes_of(numbers)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / NUMBERS_FILE, content)
    told = {
        "format": FORMAT, "model_sha256": digest(model), "sha256": hashlib.sha256(content).hexdigest(),
        "targets": list(keeping.targets), "features": list(keeping.standard.names), "fitted": entries,
        "chosen": {str(count): method for count, method in keeping.chosen.items()},
    }  # fmt: skip
    _write(folder / WORDS_FILE, (json.dumps(told, indent=1, allow_nan=False) + "\n").encode())


def load(folder: Path, model: Path) -> Keeping:
    """Read fitted methods.

    Parameters
    ----------
    folder
        Written by `save`.
    model
        ``model.json`` of the run that they are to be used with.

    Raises
    ------
    DataError
        They are not there, of another run, of a newer version, or were altered.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as arrays_of

    told = _words(folder / WORDS_FILE)
    if told.get("format") != FORMAT:
        raise DataError(f"{folder / WORDS_FILE}: has format {told.get('format')}, this version reads {FORMAT}")
    if told.get("model_sha256") != digest(model):
        raise DataError(f"{folder}: was fitted for the networks of another run than {model.parent.parent}; calibrate this run")
    place = folder / NUMBERS_FILE
    try:
        content = place.read_bytes()
        if hashlib.sha256(content).hexdigest() != told["sha256"]:
            raise DataError(f"{place}: was altered after it was fitted (its sha256 differs): calibrate again")
        numbers = arrays_of(content)
        return _made(told, numbers)
    # A word of a calibrator that is infinite, a list that is too short, words nested a hundred thousand deep.
    except (
        OSError,
        SafetensorError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise DataError(f"{folder}: not readable as fitted methods: calibrate again") from error


def _made(told: Mapping[str, Any], numbers: Numbers) -> Keeping:
    fitted = []
    for i, entry in enumerate(told["fitted"]):
        kept = Kept(entry["words"], part_of(numbers, f"{i}/"))
        half = np.array([np.nan if x is None else x for x in entry["half_width"]], dtype=np.float64)
        fitted.append(Fitted(entry["method"], int(entry["readings"]), restored(entry["method"], kept), half))
    standard = Standard(tuple(told["features"]), numbers["center"], numbers["scale"])
    return Keeping(tuple(told["targets"]), standard, tuple(fitted), {int(k): str(v) for k, v in told["chosen"].items()})


def restored(method: str, kept: Kept) -> Calibrator:
    """Make a calibrator of what it was kept as; raise `DataError` where the method is unknown or the rest is not whole."""
    if method not in METHODS:
        raise DataError(f"was fitted with method '{method}', which this version does not have: calibrate again")
    return METHODS[method].restore(kept)


def part_of(numbers: Numbers, prefix: str) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): x for name, x in numbers.items() if name.startswith(prefix)}


def digest(model: Path) -> str:
    """Return the sha256 of a run's ``model.json``, which holds those of all its networks.

    Raises
    ------
    DataError
        It is not there.
    """
    try:
        return hashlib.sha256(model.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{model}: missing or not readable: is {model.parent.parent} a run folder?") from error


def _words(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: missing or not readable: run calibrate for this run first") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: calibrate again") from error
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
