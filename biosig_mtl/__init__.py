"""Honest joint estimates from clinical and wearable recordings.

The front door: every public name, imported when it is first used. Nothing inside the package may come in through here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from biosig_mtl.data.affect_cohort import AffectCohort
    from biosig_mtl.data.affect_cohort import write as write_affect_cohort
    from biosig_mtl.data.manifest import load as load_manifest
    from biosig_mtl.data.readers import entry_for, open_source
    from biosig_mtl.data.synthetic import Cohort
    from biosig_mtl.data.synthetic import write as write_cohort
    from biosig_mtl.estimators import FeatureExtractor, SplitMergeClassifier, SplitMergeRegressor
    from biosig_mtl.experiment import run as run_experiment
    from biosig_mtl.export import export as export_run
    from biosig_mtl.inference import Chunk, Predictor, Stream
    from biosig_mtl.inference.personal import personalise
    from biosig_mtl.inference.personal_readings import Reading
    from biosig_mtl.lifecycle.calibrate import CalibrateSettings, calibrate
    from biosig_mtl.looking import look
    from biosig_mtl.looking_browse import browse
    from biosig_mtl.pipeline import check as check_recipe
    from biosig_mtl.pipeline import preparation, prepare
    from biosig_mtl.recipe import load as load_recipe
    from biosig_mtl.report import render as render_report
    from biosig_mtl.store import read as read_store
    from biosig_mtl.types import BiosigError, Channel, Record, Scores, Windows, WindowTable

__version__ = "0.1.0"

# Public name -> (module, name there).
_DOORS = {
    "AffectCohort": ("data.affect_cohort", "AffectCohort"),
    "BiosigError": ("types", "BiosigError"),
    "CalibrateSettings": ("lifecycle.calibrate", "CalibrateSettings"),
    "Channel": ("types", "Channel"),
    "Chunk": ("inference", "Chunk"),
    "Cohort": ("data.synthetic", "Cohort"),
    "FeatureExtractor": ("estimators", "FeatureExtractor"),
    "Predictor": ("inference", "Predictor"),
    "Reading": ("inference.personal_readings", "Reading"),
    "Record": ("types", "Record"),
    "Scores": ("types", "Scores"),
    "SplitMergeClassifier": ("estimators", "SplitMergeClassifier"),
    "SplitMergeRegressor": ("estimators", "SplitMergeRegressor"),
    "Stream": ("inference", "Stream"),
    "WindowTable": ("types", "WindowTable"),
    "Windows": ("types", "Windows"),
    "browse": ("looking_browse", "browse"),
    "calibrate": ("lifecycle.calibrate", "calibrate"),
    "check_recipe": ("pipeline", "check"),
    "entry_for": ("data.readers", "entry_for"),
    "export_run": ("export", "export"),
    "load_manifest": ("data.manifest", "load"),
    "load_recipe": ("recipe", "load"),
    "look": ("looking", "look"),
    "open_source": ("data.readers", "open_source"),
    "personalise": ("inference.personal", "personalise"),
    "preparation": ("pipeline", "preparation"),
    "prepare": ("pipeline", "prepare"),
    "read_store": ("store", "read"),
    "render_report": ("report", "render"),
    "run_experiment": ("experiment", "run"),
    "write_affect_cohort": ("data.affect_cohort", "write"),
    "write_cohort": ("data.synthetic", "write"),
}

__all__ = [
    "AffectCohort",
    "BiosigError",
    "CalibrateSettings",
    "Channel",
    "Chunk",
    "Cohort",
    "FeatureExtractor",
    "Predictor",
    "Reading",
    "Record",
    "Scores",
    "SplitMergeClassifier",
    "SplitMergeRegressor",
    "Stream",
    "WindowTable",
    "Windows",
    "__version__",
    "browse",
    "calibrate",
    "check_recipe",
    "entry_for",
    "export_run",
    "load_manifest",
    "load_recipe",
    "look",
    "open_source",
    "personalise",
    "preparation",
    "prepare",
    "read_store",
    "render_report",
    "run_experiment",
    "write_affect_cohort",
    "write_cohort",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _DOORS:
        raise AttributeError(f"module 'biosig_mtl' has no attribute '{name}'")
    module, there = _DOORS[name]
    value = getattr(import_module(f"biosig_mtl.{module}"), there)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
