"""Training: batches, losses, the loop, diagnostics and checkpoints."""

from __future__ import annotations

from biosig_mtl.training.batches import NO_AUGMENTATION, Augmentation, Scaler, spec_of, subject_weights, to_batch
from biosig_mtl.training.loop import FitResult, TrainingData, fit
from biosig_mtl.training.prediction import Predicted, predict, predict_full
from biosig_mtl.training.settings import TrainingSettings

__all__ = [
    "NO_AUGMENTATION",
    "Augmentation",
    "FitResult",
    "Predicted",
    "Scaler",
    "TrainingData",
    "TrainingSettings",
    "fit",
    "predict",
    "predict_full",
    "spec_of",
    "subject_weights",
    "to_batch",
]
