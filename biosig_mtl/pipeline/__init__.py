"""Conductor 1: from recordings to a window store."""

from biosig_mtl.pipeline.preparing import Job, Piece, find_store, pieces, prepare, work, work_piece
from biosig_mtl.pipeline.streaming import QuickWindows, Rest, WindowStream
from biosig_mtl.pipeline.upstream import Preparation, check, check_labels, lost_bands, preparation, reasons, resolved

__all__ = [
    "Job",
    "Piece",
    "Preparation",
    "QuickWindows",
    "Rest",
    "WindowStream",
    "check",
    "check_labels",
    "find_store",
    "lost_bands",
    "pieces",
    "preparation",
    "prepare",
    "reasons",
    "resolved",
    "work",
    "work_piece",
]
