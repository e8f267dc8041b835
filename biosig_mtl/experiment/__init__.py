"""Conductor 2: from a window store to a graded run."""

from biosig_mtl.experiment.rerun import audit_again
from biosig_mtl.experiment.running import run

__all__ = ["audit_again", "run"]
