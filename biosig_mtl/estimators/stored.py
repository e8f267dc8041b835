"""Fitted estimators as files: safetensors for numbers, JSON for words, no pickle."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from biosig_mtl import models
from biosig_mtl.estimators.tables import Answers, Fitted, Layout
from biosig_mtl.training import checkpoint
from biosig_mtl.types import DataError

WORD = "estimator"


E = TypeVar("E")


def save(estimator: Any, folder: Path) -> Path:
    """Write an estimator; the networks' files are written by rename, and the last of them makes the folder whole."""
    kept: Fitted = estimator.fitted_
    content = {
        WORD: type(estimator).__name__,
        "params": {name: _plain(name, value) for name, value in estimator.get_params(deep=False).items()},
        "layout": asdict(kept.layout),
        "flat": kept.answers.flat,
        "n_features_in": int(estimator.n_features_in_),
        "feature_names_in": [str(name) for name in getattr(estimator, "feature_names_in_", ())],
        "history": [_finite(row) for row in estimator.history_],
        "warnings": list(estimator.warnings_),
        "errors": [[_number(x) for x in row] for row in kept.errors],
        "units": kept.unit.tolist(),
        "classes": [_words(found) for found in _classes(estimator)],
    }
    with tempfile.TemporaryDirectory() as scratch:
        places = {member.name: Path(scratch) / member.name for member in estimator.members_}
        for member in estimator.members_:
            checkpoint.save(places[member.name], estimator.model, member.model, member.scaler)
        checkpoint.collect(folder, places, {}, content)
    return folder


def load(kind: type[E], folder: Path) -> E:
    """Return the estimator in a folder; raise `DataError` where it holds none of this kind."""
    found = checkpoint.load(folder, models.rebuild)
    content = found.extra
    if content.get(WORD) != kind.__name__:
        raise DataError(f"{folder}: holds {content.get(WORD) or 'the model of a run'}, not a {kind.__name__}")
    params = dict(content["params"])
    shape = params.get("waveform_shape")
    made: Any = cast("Any", kind)().set_params(**params | {"waveform_shape": None if shape is None else tuple(shape)})
    told = content["layout"]
    made.members_ = found.members
    made.history_ = [{k: math.nan if v is None else v for k, v in row.items()} for row in content["history"]]
    made.warnings_ = tuple(content["warnings"])
    made.target_names_ = found.spec.targets
    made.n_outputs_, made.n_features_in_ = len(found.spec.targets), content["n_features_in"]
    if content["feature_names_in"]:
        made.feature_names_in_ = np.array(content["feature_names_in"], dtype=object)
    plan = Layout(**told | {"features": tuple(told["features"]), "channels": tuple(told["channels"])})
    answers = Answers(np.empty((0, made.n_outputs_)), found.spec.targets, found.spec.heads, content["flat"])
    errors = np.array(content["errors"], np.float64).reshape(-1, made.n_outputs_)
    made.fitted_ = Fitted(plan, answers, errors, np.array(content["units"], np.int64))
    classes = [np.array(each["values"], dtype=each["dtype"]) for each in content["classes"]]
    if classes:
        made.classes_ = classes[0] if answers.flat else classes
    fitted: E = made
    return fitted


def _classes(estimator: Any) -> list[NDArray[Any]]:
    found = getattr(estimator, "classes_", [])
    return list(found) if isinstance(found, list) else [found]


def _words(classes: NDArray[Any]) -> dict[str, Any]:
    return {"dtype": classes.dtype.str if classes.dtype.kind != "O" else "O", "values": classes.tolist()}


def _plain(name: str, value: Any) -> Any:
    """Return a parameter as JSON can hold it; chance that is a generator is not kept."""
    if name == "random_state" and not isinstance(value, int | np.integer):
        return None
    made = value.item() if isinstance(value, np.generic) else value
    try:
        return json.loads(json.dumps(made, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"parameter '{name}' is no plain word, number or mapping: it cannot be saved") from error


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _finite(row: dict[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in row.items()}
