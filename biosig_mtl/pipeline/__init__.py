"""Conductor 1: from recordings to a window store."""

from biosig_mtl.pipeline.distant import staged
from biosig_mtl.pipeline.engines import chosen_engine
from biosig_mtl.pipeline.preparing import Way, find_store, pieces, prepare, prepare_by
from biosig_mtl.pipeline.shards import Shard
from biosig_mtl.pipeline.streaming import QuickWindows, Rest, WindowStream
from biosig_mtl.pipeline.summing import Prepared, Summary
from biosig_mtl.pipeline.upstream import Preparation, check, check_labels, lost_bands, preparation, reasons, resolved
from biosig_mtl.pipeline.working import Job, Piece, Worked, work, work_piece

__all__ = [
    "Job",
    "Piece",
    "Preparation",
    "Prepared",
    "QuickWindows",
    "Rest",
    "Shard",
    "Summary",
    "Way",
    "WindowStream",
    "Worked",
    "check",
    "check_labels",
    "chosen_engine",
    "find_store",
    "lost_bands",
    "pieces",
    "preparation",
    "prepare",
    "prepare_by",
    "reasons",
    "resolved",
    "staged",
    "work",
    "work_piece",
]
