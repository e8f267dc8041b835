"""The split report: what each split does, and the known ways in which a split network fails, as plain sentences."""

from biosig_mtl.training.diagnostics.report import Subjects, look_and_report, pooled_of, rounded, split_report
from biosig_mtl.training.diagnostics.seen import REPORT_ROWS, Part, Seen, SplittingNetwork, look
from biosig_mtl.training.diagnostics.sentences import history_warnings

__all__ = [
    "REPORT_ROWS",
    "Part",
    "Seen",
    "SplittingNetwork",
    "Subjects",
    "history_warnings",
    "look",
    "look_and_report",
    "pooled_of",
    "rounded",
    "split_report",
]
