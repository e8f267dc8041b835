"""A finished run on recordings it has never seen: whole (`predict_file`, `Predictor`), or while they are made (`Stream`)."""

from biosig_mtl.inference.files import NOTHING_TOLD, Told, predict_file
from biosig_mtl.inference.predictor import Predictor
from biosig_mtl.inference.stream import Stream
from biosig_mtl.inference.stream_answers import Answers, Panel
from biosig_mtl.inference.stream_fleet import Fleet
from biosig_mtl.inference.stream_words import EVENTS, Chunk, Estimate, Event, StreamSettings

__all__ = [
    "EVENTS",
    "NOTHING_TOLD",
    "Answers",
    "Chunk",
    "Estimate",
    "Event",
    "Fleet",
    "Panel",
    "Predictor",
    "Stream",
    "StreamSettings",
    "Told",
    "predict_file",
]
