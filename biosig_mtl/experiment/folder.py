"""The run folder: what is written, under which name, and nothing half-written."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl import store
from biosig_mtl.evaluation.scores import plain
from biosig_mtl.experiment import environment
from biosig_mtl.recipe import Recipe, dump
from biosig_mtl.types import F64, DataError, Fold, Predictions, WindowTable


def write(path: Path, content: str | bytes) -> None:
    """Write a whole file or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # a name that outlives the power with nothing in it would pass for a result
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error


def sweep(out: Path) -> None:
    """Remove what writers that were killed left half-written: nobody reads it, and it is no part of a run."""
    for leftover in (*out.glob(".*.tmp"), *out.glob("model/*.part")):
        leftover.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write JSON; NaN becomes null, for JSON has none."""
    write(path, json.dumps(plain(content), indent=1, ensure_ascii=False) + "\n")


def write_recipe(out: Path, recipe: Recipe) -> None:
    """Write ``recipe.yaml``: refuse to mix two recipes in one run folder."""
    text = dump(recipe.to_dict())
    path = out / "recipe.yaml"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise DataError(f"{out}: holds a run of another recipe; choose another --out or delete it")
    write(path, text)


def write_environment(out: Path, stores: Sequence[Path]) -> None:
    """Write the conditions of the run (`environment.describe`); nothing that names a machine or a person."""
    write_json(out / "environment.json", environment.describe(out / "recipe.yaml", stores))


def write_rejected(out: Path, stores: Sequence[Path]) -> None:
    """Write ``rejected.csv``: every window and record that was not used, with its reason."""
    rows = [row for folder in stores for row in store.read_rejected(folder)]
    write(out / "rejected.csv", store.rejected_csv(rows))


def write_history(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``history.csv``: one row an epoch of every network."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(out / "history.csv", text.getvalue())


def write_predictions(out: Path, table: WindowTable, predictions: Predictions, ends: tuple[F64, F64]) -> None:
    """Write ``predictions.parquet``: one row a window, target, fold and seed; ``ends`` (n, T) are those of the intervals."""
    import pandas as pd

    rows = predictions.row
    frames = []
    for j, name in enumerate(predictions.target_names):
        keys = ("subject", "session", "record", "stimulus", "onset_s")
        columns: dict[str, Any] = {key: table.index[key].to_numpy()[rows] for key in keys}
        columns |= {
            "fold": predictions.fold,
            "seed": predictions.seed,
            "target": np.full(rows.size, name),
            "y_true": predictions.y_true[:, j],
            "y_pred": predictions.y_pred[:, j],
            "lower": ends[0][:, j],
            "upper": ends[1][:, j],
            "sqi": table.index["sqi"].to_numpy()[rows],
            "role": np.full(rows.size, "test"),
        }
        if predictions.trial.size:
            columns["trial"] = predictions.trial
        for k, share in enumerate(predictions.probabilities.get(name, np.empty((rows.size, 0))).T):
            columns[f"p_{k}"] = share
        frames.append(pd.DataFrame(columns))
    write(out / "predictions.parquet", parquet(pd.concat(frames, ignore_index=True)))


def write_folds(out: Path, table: WindowTable, folds: Sequence[Fold]) -> None:
    """Write ``folds.parquet``: which window was in which part, so that the audit can be run again.

    A fold with a twin has two sets of rows; ``twin`` tells them apart.
    """
    import pandas as pd

    frames = []
    for fold, is_twin in [*((f, False) for f in folds), *((f.twin, True) for f in folds if f.twin is not None)]:
        for part, rows in fold.parts().items():
            keys = ("subject", "record", "onset_s", "window_id")
            columns: dict[str, Any] = {key: table.index[key].to_numpy()[rows] for key in keys}
            columns |= {"row": rows, "part": part, "fold": fold.number, "seed": fold.seed, "leaky": fold.leaky}
            frames.append(pd.DataFrame(columns | {"unit": fold.unit, "twin": is_twin}))
    write(out / "folds.parquet", parquet(pd.concat(frames, ignore_index=True)))


def read_folds(out: Path) -> list[Fold]:
    """Read the folds of a run."""
    import pandas as pd

    path = out / "folds.parquet"
    if not path.is_file():
        raise DataError(f"{out}: not a finished run folder: folds.parquet is missing")
    try:
        columns = ["row", "part", "fold", "seed", "leaky", "unit", "twin"]
        groups = list(pd.read_parquet(path, columns=columns).groupby(["seed", "fold", "twin"]))
    except (OSError, ValueError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path}: not readable, copy the run folder again: {why}") from error
    twins = {(f.seed, f.number): f for f in (_fold(group) for _, group in groups if group["twin"].iloc[0])}
    own = [_fold(group) for _, group in groups if not group["twin"].iloc[0]]
    return [replace(f, twin=twins.get((f.seed, f.number))) for f in own]


def _fold(group: Any) -> Fold:
    number, seed, leaky, unit = (group[key].iloc[0] for key in ("fold", "seed", "leaky", "unit"))
    parts = {name: np.sort(part["row"].to_numpy(np.int64)) for name, part in group.groupby("part")}
    empty = np.empty(0, np.int64)
    train, validation, test, calibration = (parts.get(name, empty) for name in ("train", "validation", "test", "calibration"))
    return Fold(train, validation, test, calibration, int(number), int(seed), leaky=bool(leaky), unit=str(unit))


def parquet(frame: Any) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    sink = io.BytesIO()
    frame.to_parquet(sink, index=False)
    return sink.getvalue()
