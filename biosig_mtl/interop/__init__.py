"""Recordings and tables from and to the objects of other libraries: mne, wfdb, pandas, xarray, plain arrays."""

from biosig_mtl.interop.arrays import from_arrays
from biosig_mtl.interop.mne_in import Signals, from_mne
from biosig_mtl.interop.mne_out import to_mne
from biosig_mtl.interop.source import RecordSource, opened
from biosig_mtl.interop.tables import to_pandas, to_xarray
from biosig_mtl.interop.wfdb_in import from_wfdb

__all__ = ["RecordSource", "Signals", "from_arrays", "from_mne", "from_wfdb", "opened", "to_mne", "to_pandas", "to_xarray"]
