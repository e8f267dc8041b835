"""The training state on disk, and chance that belongs to one run."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from biosig_mtl.training.prediction import device_of
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.types import DataError, Fold

STATE_FILE = "state.pt"


@contextmanager
def own_chance(model: nn.Module, seed: int) -> Iterator[None]:
    """Seed torch inside, and leave its generators as they were outside."""
    device = device_of(model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def fingerprint(settings: TrainingSettings, seed: int, fold: Fold) -> str:
    """Return the name of a run: the same settings, seed and rows give the same one."""
    text = repr((settings, seed)).encode()
    return hashlib.sha256(text + b"|" + fold.train.tobytes() + b"|" + fold.validation.tobytes()).hexdigest()


def write_state(folder: Path, name: str, state: dict[str, Any]) -> None:
    """Write the state of run ``name``, by rename: a kill leaves the old state or the new one, never half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{STATE_FILE}.part"
    with part.open("wb") as file:
        torch.save({"fingerprint": name, "state": state}, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / STATE_FILE)


def read_state(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the state of run ``name``, None where there is none; raise `DataError` where another run's lies there."""
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        content = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: not readable as a training state: remove it to start anew") from error
    if content["fingerprint"] != name:
        raise DataError(f"{path}: belongs to a run with other settings, seed or windows: remove it or choose another folder")
    state: dict[str, Any] = content["state"]
    return state
