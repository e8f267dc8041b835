"""Named numbers and waveforms of a window; the table `FEATURES` names them."""

from biosig_mtl.features.extraction import FEATURES, Family, extract, plan, required_channels
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.settings import FeatureSettings

__all__ = ["FEATURES", "Family", "FeatureSettings", "Inputs", "extract", "plan", "required_channels"]
