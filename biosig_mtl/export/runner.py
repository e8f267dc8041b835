"""A folder that estimates by itself: ``pip install onnxruntime numpy scipy``, and ``python run.py``.

The modules of this package that prepare a recording are copied as they are: the same code, so nothing can drift. Where a
package would import more than they need (its ``__init__``), the folder has an empty one; where settings would need pydantic, it
has `biosig_mtl.export.bare_recipe` in place of `biosig_mtl.recipe`.
"""

from __future__ import annotations

from pathlib import Path

from biosig_mtl.export.exporting import Written
from biosig_mtl.inference.writing import put
from biosig_mtl.types import DataError

PACKAGE = Path(__file__).parents[1]
# Whole rooms, single modules, and what takes another's place.
ROOMS = ("signal", "windows", "features")
MODULES = (
    "errors.py", "recordings.py", "outcomes.py", "types.py", "montage.py", "tasks.py", "pipeline/upstream.py",
    "data/readers/channels.py", "training/person.py", "export/runtime.py",
)  # fmt: skip
INTERVALS = "training/conformal*.py"
EMPTY = ("__init__.py", "pipeline/__init__.py", "data/__init__.py", "data/readers/__init__.py", "training/__init__.py",
         "export/__init__.py")  # fmt: skip
IN_PLACE = {"recipe.py": "export/bare_recipe.py"}
NOTHING = '"""Nothing of its own: the folder holds what a recording is prepared with."""\n'

README = """# {name}: estimates without the toolkit

    pip install onnxruntime numpy scipy
    python run.py recording.csv --out estimates.csv
    python run.py samples.npy --fs 125 --names ppg,ecg --out estimates.csv

* `model.onnx`: {networks} networks in one graph; unscaled features (and waveforms) in, estimates of {targets} out.
* `model.recipe.json`: how a recording becomes features; the channels it needs: {needed}.
* `run.py`: reads, prepares, answers, writes a table with the columns of `biosig-mtl predict`.
* `biosig_mtl/`: the modules of the toolkit that prepare a recording, as they are.

{use}
"""


def write_runner(written: Written, folder: Path) -> Path:
    """Write the folder; return the path of its ``run.py``.

    Raises
    ------
    DataError
        The folder holds something else already, or cannot be written.
    """
    import json

    if folder.exists() and any(folder.iterdir()) and not (folder / "run.py").is_file():
        raise DataError(f"{folder}: holds something else; choose an empty folder for --runner")
    recipe = json.loads(written.recipe.read_text(encoding="utf-8"))
    for name, content in _files(bool(recipe["intervals"])).items():
        put(folder / "biosig_mtl" / name, content)
    # The sum of the file is known by its content, whatever it is called here.
    put(folder / "model.recipe.json", written.recipe.read_bytes())
    put(folder / "model.onnx", written.model.read_bytes())
    readme = README.format(
        name=recipe["name"],
        networks=len(recipe["networks"]),
        targets=", ".join(recipe["spec"]["targets"]),
        needed=", ".join(recipe["needed"]),
        use=recipe["use"],
    )
    put(folder / "README.md", readme.encode())
    run = folder / "run.py"
    put(run, (PACKAGE / "export" / "run_alone.py").read_bytes())
    return run


def _files(intervals: bool) -> dict[str, bytes]:  # noqa: FBT001 (private, one caller)
    found = dict.fromkeys(EMPTY, NOTHING.encode())
    for room in ROOMS:
        found |= {p.relative_to(PACKAGE).as_posix(): p.read_bytes() for p in sorted((PACKAGE / room).rglob("*.py"))}
    found |= {name: (PACKAGE / name).read_bytes() for name in MODULES}
    if intervals:
        found |= {p.relative_to(PACKAGE).as_posix(): p.read_bytes() for p in sorted(PACKAGE.glob(INTERVALS))}
    return found | {name: (PACKAGE / source).read_bytes() for name, source in IN_PLACE.items()}
