"""Conductor 2: from a window store to a graded run, or to a contest of many models."""

from biosig_mtl.experiment.comparing import Crew, Terms, compare, fitting
from biosig_mtl.experiment.entrants import Choice, read_variants
from biosig_mtl.experiment.rerun import audit_again
from biosig_mtl.experiment.running import run

__all__ = ["Choice", "Crew", "Terms", "audit_again", "compare", "fitting", "read_variants", "run"]
