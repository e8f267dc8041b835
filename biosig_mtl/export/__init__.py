"""A finished run as one file that other programs run: `export` writes it, `Exported` answers windows with it."""

from biosig_mtl.export.exporting import ExportSettings, Written, export
from biosig_mtl.export.parity import Evidence
from biosig_mtl.export.runtime import Answered, Exported

__all__ = ["Answered", "Evidence", "ExportSettings", "Exported", "Written", "export"]
