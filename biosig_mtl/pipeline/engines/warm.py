"""What every worker needs, imported once: processes that are split off from one which holds it start in some milliseconds.

Nothing is computed here, and no thread is started: what is split off would get half of it.
"""

from importlib import import_module

NEEDED = (
    "pandas",
    "pyarrow.parquet",
    "safetensors.numpy",
    "scipy.ndimage",
    "scipy.signal",
    "pydantic",
    "wfdb",
    "biosig_mtl.pipeline",
)

for _name in NEEDED:
    import_module(_name)
