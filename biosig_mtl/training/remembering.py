"""Everything that a training run remembers, as plain values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from biosig_mtl.training.prediction import device_of
from biosig_mtl.types import DataError


def remembered(run: Any) -> dict[str, Any]:
    """Return everything that a resumed run needs to end with the same bits."""
    device = device_of(run.model)
    return {
        "model": run.model.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "weights": run.weights.state_dict(),
        "severity": run.severity.state_dict() if run.severity is not None else None,
        "term": run.term.state_dict() if run.term is not None else None,
        "descent": run.descent.state_dict() if run.descent is not None else None,
        "average": run.average,
        "best": run.best,
        "numbers": [run.epoch, run.step, run.best_epoch, run.best_score, run.bf16, run.forward.on],
        "history": run.history,
        "order": run.rng.get_state(),
        "chance": torch.get_rng_state(),
        "device_chance": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def take_up(run: Any, state: Mapping[str, Any]) -> None:
    """Put a run where `remembered` was made.

    Raises
    ------
    DataError
        The state is whole but that of another network or version.
    """
    try:
        _take_up(run, state)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"the training state does not fit the network ({why}): remove the folder 'work' of the run to start anew"
        ) from error


def _take_up(run: Any, state: Mapping[str, Any]) -> None:
    run.model.load_state_dict(state["model"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.weights.load_state_dict(state["weights"])
    if run.severity is not None:
        run.severity.load_state_dict(state["severity"])
    if state["term"] is not None:
        run.make_term(state["term"]["splits"], state["term"]["width"])
        run.term.load_state_dict(state["term"])
    if run.descent is not None:
        run.descent.load_state_dict(state["descent"])
    device = device_of(run.model)
    run.average = {k: v.to(device) for k, v in state["average"].items()}
    run.best, run.history = dict(state["best"]), list(state["history"])
    run.epoch, run.step, run.best_epoch, run.best_score, run.bf16, run.compiled = state["numbers"]
    run.rng.set_state(state["order"])
    torch.set_rng_state(state["chance"])
    if state["device_chance"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["device_chance"], device)
