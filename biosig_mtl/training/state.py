"""The training state on disk, and chance that belongs to one run.

Two states lie in the folder of a run: that of the last epoch and the one before. A new one is written whole beside them and put
in place by renames, so that a kill at any moment leaves one that is whole; a damaged one is passed over, with a warning, for
the one before. Either way training ends with the same bits, for an epoch that is trained again is the same epoch.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from biosig_mtl.training.packing import pack, unpack
from biosig_mtl.training.prediction import device_of
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.types import DataError, Fold

STATE_FILE, EARLIER_FILE = "state.safetensors", "state.earlier.safetensors"
PART = f"{STATE_FILE}.part"


class DamagedState(UserWarning):
    """A training state could not be read; the one before it was taken, or training began anew."""


@contextmanager
def own_chance(model: nn.Module, seed: int) -> Iterator[None]:
    """Seed torch inside, and leave its generators as they were outside."""
    device = device_of(model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def fingerprint(settings: TrainingSettings, seed: int, fold: Fold) -> str:
    """Return the name of a run: the same settings, seed and rows give the same one.

    Settings that say where and how fast, not what, have no part in it: a run may go on with other ones.
    """
    text = repr((replace(settings, parallel="auto", compile="off", prefetch="auto", device="auto"), seed)).encode()
    return hashlib.sha256(text + b"|" + fold.train.tobytes() + b"|" + fold.validation.tobytes()).hexdigest()


def write_state(folder: Path, name: str, state: dict[str, Any]) -> None:
    """Write the state of run ``name``: whole, on the disk, and the one before is kept.

    Raises
    ------
    DataError
        The folder cannot be written, or the disk is full; the states that were there stay.
    """
    part = folder / PART
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(pack({"fingerprint": name, "state": state}))
            file.flush()
            os.fsync(file.fileno())
        if (folder / STATE_FILE).is_file():
            (folder / STATE_FILE).replace(folder / EARLIER_FILE)
        part.replace(folder / STATE_FILE)
        _settle(folder)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise DataError(f"{folder}: the training state cannot be written: {error.strerror}") from error


def _settle(folder: Path) -> None:
    """Let the renames in a folder outlive a power cut, where the system knows how to."""
    with suppress(OSError):
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def read_state(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the last whole state of run ``name``, None where there is none.

    A damaged state is passed over with a `DamagedState` warning.

    Raises
    ------
    DataError
        Another run's state lies there, or one that this process may not read.
    """
    for path in (folder / STATE_FILE, folder / EARLIER_FILE):
        try:
            content = unpack(path.read_bytes())
            found, state = content["fingerprint"], content["state"]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataError(f"{path}: not readable as a training state: {error.strerror}") from error
        except (DataError, KeyError, TypeError):
            # An epoch is lost, not the run: what is trained again comes out the same.
            warnings.warn(f"{path}: damaged; training goes on from the epoch before", DamagedState, stacklevel=2)
            continue
        if found != name:
            raise DataError(
                f"{path}: belongs to a run with other settings, seed or windows: remove it or choose another folder"
            )
        if not isinstance(state, dict):
            raise DataError(f"{path}: not readable as a training state: remove it to start anew")
        return state
    return None


def clear_state(folder: Path) -> None:
    """Remove the states of a run that is done."""
    for name in (STATE_FILE, EARLIER_FILE, PART):
        (folder / name).unlink(missing_ok=True)
