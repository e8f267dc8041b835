"""From a record to its windows: grid, labels, identity, and what is refused."""

from biosig_mtl.windows.cutting import Windowing, cut, cut_rest
from biosig_mtl.windows.labels import ReferenceRules

__all__ = ["ReferenceRules", "Windowing", "cut", "cut_rest"]
