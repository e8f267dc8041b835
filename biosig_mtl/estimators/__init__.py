"""The grammar of scikit-learn: estimators on feature tables and waveforms, and features as a transformer."""

from biosig_mtl.estimators.classifier import SplitMergeClassifier
from biosig_mtl.estimators.extractor import FeatureExtractor
from biosig_mtl.estimators.regressor import SplitMergeRegressor
from biosig_mtl.estimators.tables import beside

__all__ = ["FeatureExtractor", "SplitMergeClassifier", "SplitMergeRegressor", "beside"]
