"""A finished run on recordings it has never seen: whole (`predict_file`, `Predictor`)."""

from biosig_mtl.inference.files import NOTHING_TOLD, Told, predict_file
from biosig_mtl.inference.predictor import Predictor

__all__ = ["NOTHING_TOLD", "Predictor", "Told", "predict_file"]
