"""The methods of personal calibration by name."""

from __future__ import annotations

from biosig_mtl.training.calibration.difference import DifferenceMethod
from biosig_mtl.training.calibration.head import PersonHeadMethod
from biosig_mtl.training.calibration.known import Method
from biosig_mtl.training.calibration.last_split import LastSplitMethod
from biosig_mtl.training.calibration.offset import OffsetMethod
from biosig_mtl.training.calibration.shrink import ShrinkMethod

METHODS: dict[str, Method] = {
    "offset": OffsetMethod(),
    "share": OffsetMethod("share", fitted=True),
    "shrink": ShrinkMethod(),
    "difference": DifferenceMethod(),
    "person_head": PersonHeadMethod(),
    "last_split": LastSplitMethod(),
}
"""``offset`` needs no fit; ``share`` believes a fitted share of the estimated change; the others say it in their modules."""
