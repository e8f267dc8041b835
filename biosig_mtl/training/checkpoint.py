"""Model files: safetensors for numbers, JSON for words, no pickle. What is altered is refused.

Each trained network is saved in a folder of its own (`save`); `collect` puts the networks of a run (folds, seeds, ensemble
members) into one folder with the recipe; `load` reads that folder on any machine. ``model.json`` is written last and holds
the sha256 of every weight file, so a half-written folder is not a model.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from biosig_mtl.training.checkpoint_bounds import (
    MOST_WORDS,
    Bounded,
    check_heads,
    check_numbers,
    check_scales,
    plain_name,
    read_whole,
    refused,
)
from biosig_mtl.training.prediction import Predicted, mean_of, predict_full
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.types import F64, DataError, Head, InputSpec, TrackSpec, WindowTable

FORMAT = 1
MEMBER_FILE, MODEL_FILE = "member.json", "model.json"
WEIGHTS_FILE = "weights.safetensors"
FITTED_ROWS = "scaler.fitted_rows"
SCALES = ("feature_center", "feature_scale", "waveform_center", "waveform_scale", "target_mean", "target_scale")

Make = Callable[[str, Mapping[str, Any], InputSpec], nn.Module]


@dataclass(frozen=True)
class Member:
    """One trained network with the scaler of its training part."""

    name: str
    model: nn.Module
    scaler: Scaler


@dataclass(frozen=True)
class Ensemble:
    """The networks of a run. ``recipe`` re-creates the preprocessing; ``extra`` is what the conductor added."""

    members: tuple[Member, ...]
    spec: InputSpec
    recipe: Mapping[str, Any]
    extra: Mapping[str, Any]
    versions: Mapping[str, str]

    def predict(self, table: WindowTable) -> F64:
        """Return the mean prediction of all members for every window of a table, (n, T), in the unit of the target."""
        return self.predict_full(table).estimates

    def predict_full(self, table: WindowTable, without: tuple[str, ...] = ()) -> Predicted:
        """Return the mean of all members with probabilities and weights, see `biosig_mtl.training.prediction`."""
        rows = np.arange(len(table), dtype=np.int64)
        return mean_of([predict_full(m.model, table, rows, m.scaler, without) for m in self.members])


def save(folder: Path, name: str, model: nn.Module, scaler: Scaler) -> None:
    """Save one network of `biosig_mtl.models` under its name in ``MODELS``; weights first, words last."""
    from safetensors.torch import save as packed

    net: Any = model
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    tensors[FITTED_ROWS] = torch.from_numpy(scaler.fitted_rows)
    _write(folder / WEIGHTS_FILE, packed(tensors))
    content = {
        "format": FORMAT,
        "model": name,
        "settings": asdict(net.settings),
        "spec": asdict(net.spec),
        "scaler": {key: getattr(scaler, key).tolist() for key in SCALES}
        | {"tracks": {name: scales.tolist() for name, scales in scaler.tracks.items()}},
        "sha256": _sha256(folder / WEIGHTS_FILE),
    }
    _write_json(folder / MEMBER_FILE, content)


def collect(folder: Path, saved: Mapping[str, Path], recipe: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    """Put saved networks, by name, into one folder that carries the recipe and the versions of what made them.

    Raises
    ------
    DataError
        A saved network is missing or altered, or the networks were made for different inputs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members: dict[str, Any] = {}
    for name, place in saved.items():
        content = _read_json(place / MEMBER_FILE)
        with refused(place / MEMBER_FILE):
            weights = _verified(place / WEIGHTS_FILE, content["sha256"])
        _write(folder / f"{name}.safetensors", weights)
        members[name] = content
    specs = {json.dumps(m.pop("spec"), sort_keys=True) for m in members.values()}
    if len(specs) != 1:
        raise DataError(f"{folder}: needs networks made for the same inputs, got {len(specs)} kinds of inputs")
    content = {"format": FORMAT, "spec": json.loads(specs.pop()), "recipe": recipe, "extra": extra, "versions": _versions()}
    _write_json(folder / MODEL_FILE, content | {"members": members})


def load(folder: Path, make: Make) -> Ensemble:
    """Load the networks of a run.

    Parameters
    ----------
    folder
        Written by `collect`.
    make
        Builds an untrained network from name, settings and inputs: `biosig_mtl.models.rebuild`.

    Raises
    ------
    DataError
        The folder is no model, was written by a newer version, or a file was altered.
    """
    path = folder / MODEL_FILE
    content = _read_json(path)
    if content.get("format") != FORMAT:
        raise DataError(f"{path}: has format {content.get('format')}, this version reads {FORMAT}")
    with refused(path):
        check_numbers(content["spec"])
        spec = _spec(content["spec"])
        members = tuple(_member(folder, name, told, spec, make) for name, told in content["members"].items())
        words = [dict(content[key]) for key in ("recipe", "extra", "versions")]
        return Ensemble(members, spec, *words)


def _spec(told: Mapping[str, Any]) -> InputSpec:
    """Read the inputs; models of before there were tracks and heads have none."""
    tracks = tuple(
        TrackSpec(track["name"], tuple(track["channels"]), int(track["samples"]), float(track["fs"]))
        for track in told.get("tracks", ())
    )
    heads = tuple(Head(**{**head, "edges": tuple(head["edges"])}) for head in told.get("heads", ()))
    names = (tuple(told[key]) for key in ("waveform_channels", "features", "targets"))
    waveform, features, targets = names
    check_heads(heads, len(targets))
    return InputSpec(waveform, int(told["samples"]), features, targets, tracks, heads)


def _member(folder: Path, name: str, told: Mapping[str, Any], spec: InputSpec, make: Make) -> Member:
    from safetensors.torch import load as load_tensors

    path = folder / plain_name(f"{name}.safetensors")
    tensors: dict[str, Tensor] = load_tensors(_verified(path, told["sha256"]))
    fitted = tensors.pop(FITTED_ROWS).numpy()
    check_numbers(told["settings"])
    with torch.random.fork_rng(devices=[]), Bounded(tensors):
        model = make(told["model"], told["settings"], spec)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(f"{path}: does not hold the weights of a {told['model']} with the settings in {MODEL_FILE}") from error
    model.eval()
    scales = {key: np.array(told["scaler"][key], dtype=np.float64) for key in SCALES}
    tracks = {track: np.array(pair, dtype=np.float64) for track, pair in told["scaler"].get("tracks", {}).items()}
    check_scales(scales, spec)
    return Member(name, model, Scaler(**scales, fitted_rows=fitted, tracks=tracks, heads=spec.heads))


def _verified(path: Path, sha256: str) -> bytes:
    """Return the content of a file whose sum is known; the bytes that were summed are the bytes that are used."""
    try:
        content = read_whole(path)
    except OSError as error:
        raise DataError(f"{path}: missing or not readable: copy the whole model folder") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{path}: was altered after training (its sha256 differs): restore the file or train again")
    return content


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(read_whole(path, MOST_WORDS))
    except OSError as error:
        raise DataError(f"{path}: missing or not readable: is {path.parent} a model folder?") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: the model folder is damaged") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not readable as JSON: needs an object, got {type(content).__name__}")
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    _write(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    """Write a whole file or none, and see it on the disk before it has its name."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error


def _versions() -> dict[str, str]:
    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    packages: Sequence[str] = ("biosig-mtl", "torch", "numpy", "safetensors")
    return {"python": platform.python_version(), **{package: of(package) for package in packages}}
