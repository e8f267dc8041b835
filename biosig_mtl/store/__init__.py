"""The window store: one folder a digest, immutable shards, one writer each, committed by rename.

``STORE/<digest>/``
    ``plan.json``            what the store will hold: the upstream blocks and the lots
    ``lots/00007.safetensors``  arrays of one lot: values, waveform, targets, fingerprints
    ``lots/00007.parquet``   the same rows as a table
    ``lots/00007.json``  sha256 and bytes of both, sha256 of each array, records used, what was rejected; *written last*: a lot
    without it does not exist
    ``index.parquet rejected.csv``  merged when every lot is there
    ``store.json``           sha256 and bytes of everything; *written last*: a store without it is not finished

A killed writer leaves at most a ``.tmp`` file that nobody reads; a re-run writes the missing lots again, byte for byte. Nothing
here depends on time, on the machine or on the number of workers. A flipped bit is silent in safetensors and Parquet, so digests
are compared before any number is made of a file (`reading`, `shards`); sidecars and summary hold one of themselves (`files`).
No objects are ever loaded: numbers come from bytes with a told shape, from JSON, and from plain columns of Parquet.
"""

from biosig_mtl.store.exporting import export
from biosig_mtl.store.finishing import finish, rejected_csv
from biosig_mtl.store.reading import (
    is_finished,
    read,
    read_examples,
    read_fingerprints,
    read_rejected,
    summary,
    verify,
)
from biosig_mtl.store.writing import FORMAT, Lot, missing_lots, write_lot, write_plan

__all__ = [
    "FORMAT",
    "Lot",
    "export",
    "finish",
    "is_finished",
    "missing_lots",
    "read",
    "read_examples",
    "read_fingerprints",
    "read_rejected",
    "rejected_csv",
    "summary",
    "verify",
    "write_lot",
    "write_plan",
]
