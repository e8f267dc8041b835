"""Splits: who is learned from, who is chosen with, who is tested on; and the proof, fold by fold, of what was promised.

The unit of the main schemes is the subject: stratified-group K-fold on the classes of the subject's median targets (for blood
pressure 4 × 4 classes, SBP < 100, 100–140, 140–160, ≥ 160 and DBP < 60, 60–80, 80–100, ≥ 100 mmHg: those of bp-benchmark, whose
own stratifier is withheld). Validation units are drawn from the training side of each fold by the same rule, so model
selection never sees what is tested (nested). `PROTOCOLS` lists all schemes with their guarantees.
"""

from biosig_mtl.splits.drawing import inner as inner
from biosig_mtl.splits.groups import CLASS_EDGES as CLASS_EDGES
from biosig_mtl.splits.groups import assign as assign
from biosig_mtl.splits.proof import prove as prove
from biosig_mtl.splits.proof import prove_disjoint as prove_disjoint
from biosig_mtl.splits.protocol import Protocol as Protocol
from biosig_mtl.splits.protocols import PROTOCOLS as PROTOCOLS
from biosig_mtl.splits.protocols import Scheme as Scheme
from biosig_mtl.splits.protocols import describe as describe
from biosig_mtl.splits.protocols import left_out as left_out
from biosig_mtl.splits.protocols import make as make
