"""A finished run folder as it is compared: read, checked, and with an error of one line where something is missing."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biosig_mtl.types import DataError, RecipeError

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("recipe.yaml", "scores.json", "environment.json", "predictions.parquet", "folds.parquet", "model/model.json")
# What a run that began with pre-trained networks says in its title (`pretrain.run_from`).
_BEGUN = re.compile(r"\(networks start from (?P<name>.+), [0-9a-f]{12}\)$")


@dataclass(frozen=True)
class Finished:
    """A finished run: its folder, scores and environment."""

    folder: Path
    scores: dict[str, Any]
    environment: dict[str, Any]

    @property
    def stores(self) -> tuple[str, ...]:
        """Names of the window stores that it was made from."""
        return tuple(str(name) for name in self.environment["stores"])

    @property
    def store_sha256(self) -> dict[str, str | None]:
        """Digests of the content of its stores, by name; empty where an older version did not tell them."""
        return dict(self.environment.get("store_sha256") or {})

    @property
    def networks(self) -> dict[str, dict[str, Any]]:
        """What ``model.json`` tells of every network, by name: settings, scaler, sha256 of its weights."""
        path = self.folder / "model" / "model.json"
        found = read_json(path).get("members")
        if not isinstance(found, dict) or not all(isinstance(told, dict) and "sha256" in told for told in found.values()):
            raise DataError(f"{path}: damaged; copy the run folder again")
        return found

    def table(self, name: str) -> pd.DataFrame:
        """Return a Parquet file of the folder."""
        import pandas as pd

        path = self.folder / name
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(f"{path}: not readable, copy the run folder again: {why}") from error

    def tensors(self, name: str, sha256: str) -> dict[str, Any]:
        """Return the weights of a network, as numpy arrays by name; refuse a file that was altered after training."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self.folder / "model" / f"{name}.safetensors"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: missing or not readable; copy the run folder again") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DataError(f"{path}: was altered after training (its sha256 differs): restore the file or train again")
        try:
            return dict(load(content))
        except SafetensorError as error:
            raise DataError(f"{path}: not readable, copy the run folder again: {error}") from error


def open_finished(folder: Path) -> Finished:
    """Open a finished run.

    Raises
    ------
    DataError
        The folder is none, or a file is damaged.
    RecipeError
        Its networks began from pre-trained ones: a recipe alone does not make them again.
    """
    for name in NEEDED:
        if not (folder / name).is_file():
            raise DataError(f"{folder}: not a finished run folder: {name} is missing")
    scores, environment = read_json(folder / "scores.json"), read_json(folder / "environment.json")
    if not isinstance(scores.get("targets"), dict) or not isinstance(environment.get("stores"), list):
        raise DataError(f"{folder}: scores.json or environment.json is damaged; copy the run folder again")
    return Finished(folder, scores, environment)


def refuse_begun(title: str, run: Path) -> None:
    """Refuse a run whose networks were not made from its recipe alone, by the title that it bears."""
    if found := _BEGUN.search(title):
        raise RecipeError(
            f"{run}: its networks started from {found['name']}, which no recipe makes again; reproduce by hand: pre-train, "
            "then train from that file"
        )


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: missing or not readable; copy the run folder again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: damaged; copy the run folder again")
    return content
