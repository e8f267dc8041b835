"""A finished run, once more from its recipe, and how far the two lie apart.

A run folder says all that it was made from: the resolved recipe with its seeds, the digests of its window stores and the
conditions under which it was made. `reproduce` trains and grades that recipe again in a folder of its own and compares. On one
machine with one set of versions the two must be equal to the last bit; elsewhere they must agree within `Tolerance`. What
differs in the environment is told beside it, so that a reader sees why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from biosig_mtl import experiment, store
from biosig_mtl import recipe as recipes
from biosig_mtl.experiment import folder
from biosig_mtl.lifecycle.reproduce_compare import compare
from biosig_mtl.lifecycle.reproduce_folder import Finished, open_finished, read_json, refuse_begun
from biosig_mtl.lifecycle.reproduce_tolerance import Tolerance, tolerance_for
from biosig_mtl.types import AuditError, DataError

FILE = "reproduction.json"
SCHEMA = 1
UNKNOWN = "not told"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Work:
    """How to run again: training processes, what hears of the progress, and the manifest facts of the data sets.

    With ``anyway`` stores that are not those of the run are trained on all the same.
    """

    workers: int = 1
    progress: Progress | None = None
    facts: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    anyway: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.workers < 1:
            raise ValueError(f"need workers >= 1, got {self.workers}")


def recipe_of(run: Path) -> recipes.Recipe:
    """Return the recipe of a finished run that can be run again.

    Raises
    ------
    DataError
        The folder is no finished run.
    RecipeError
        Its networks began from pre-trained ones, or the recipe is not one of this version.
    """
    open_finished(run)
    recipe = recipes.load(run / "recipe.yaml")
    refuse_begun(recipe.title, run)
    return recipe


def stores_of(run: Path, root: Path) -> list[Path]:
    """Return the folders of the stores that a run was made from, below ``root``.

    Raises
    ------
    DataError
        One is not there, or not finished.
    """
    found = [root / name for name in open_finished(run).stores]
    for place in found:
        if not store.is_finished(place):
            raise DataError(
                f"{place}: the store that {run} was made from is not there; give its folder with --store, or the "
                "recordings with --data to prepare it again"
            )
    return found


def reproduce(
    run: Path, stores: Sequence[Path], out: Path, work: Work | None = None, tolerance: Tolerance | None = None
) -> dict[str, Any]:
    """Train and grade the recipe of a finished run again, compare, and write ``reproduction.json``; return what it holds.

    Parameters
    ----------
    run
        The finished run; nothing in it is changed.
    stores
        Prepared again, or those that it was made from.
    out
        Folder of the new run. One that was killed goes on from what is there; one that is finished is only compared.
    work
        See `Work`.
    tolerance
        Differences that are no other result. None: those for another machine, or for other versions where some differ.

    Raises
    ------
    DataError
        ``run`` is no finished run or damaged, or ``out`` lies in it or holds another recipe.
    RecipeError
        The run was not made from its recipe alone.
    AuditError
        The stores are not those of the run: other data, or another preparation.
    """
    work = work or Work()
    old = open_finished(run)
    recipe = recipe_of(run)
    _refuse_inside(run, out)
    kept = compare_stores(old, stores)
    if (lost := [row for row in kept if not row["same_digest"]]) and not work.anyway:
        names = ", ".join(f"{row['again']} where the run has {row['run']}" for row in lost)
        raise AuditError(
            f"{run}: not reproduced: the data or their preparation are not those of the run (store {names}); compare the "
            "data set, the recipe and the version, or train on it all the same with --anyway"
        )
    if trained := not _is_finished(out):
        experiment.run(recipe, stores, out, workers=work.workers, progress=work.progress, facts=work.facts)
    elif (out / "recipe.yaml").read_bytes() != (run / "recipe.yaml").read_bytes():
        raise DataError(f"{out}: holds a run of another recipe; choose another --out or delete it")
    new = open_finished(out)
    apart = differences(old.environment, new.environment)
    tolerance = tolerance or tolerance_for(row["what"] for row in apart)
    told = compare(old, new, tolerance)
    verdict = told.pop("verdict")
    content = {
        "schema": SCHEMA,
        "verdict": "differs" if lost else verdict,
        "run": run.resolve().name,
        "trained": trained,
        "tolerance": asdict(tolerance),
        "stores": kept,
        **told,
        "environment": apart,
    }
    folder.write_json(out / FILE, content)
    # What was written is what is told: JSON has no infinity.
    return read_json(out / FILE)


def _is_finished(out: Path) -> bool:
    """Whether a run stands there whole; its scores are what is written last."""
    return (out / "scores.json").is_file()


def _refuse_inside(run: Path, out: Path) -> None:
    one, other = run.resolve(), out.resolve()
    if one == other or one in other.parents:
        raise DataError(f"{out}: is the run itself or lies in it; choose another --out")


def compare_stores(old: Finished, stores: Sequence[Path]) -> list[dict[str, Any]]:
    """Return for every store whether its digest (recipe and data) and its content (bytes of every file) are the run's.

    ``same_content`` is None where the run does not tell its own.
    """
    if len(stores) != len(old.stores):
        raise DataError(f"{old.folder}: was made from {len(old.stores)} window stores, got {len(stores)}")
    from biosig_mtl.experiment.environment import sha256

    rows = []
    for name, place in zip(old.stores, stores, strict=True):
        known = old.store_sha256.get(name)
        same = None if known is None else known == sha256(place / "store.json")
        rows.append({"run": name, "again": place.name, "same_digest": name == place.name, "same_content": same})
    return rows


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is not the same in two environments, one row a fact, by name.

    Stores are left out: they are compared by themselves.
    """
    one, other = (_flat({k: v for k, v in told.items() if not k.startswith("store")}) for told in (old, new))
    names = [*one, *(name for name in other if name not in one)]
    told = ({"what": n, "run": one.get(n, UNKNOWN), "again": other.get(n, UNKNOWN)} for n in names)
    return [row for row in told if row["run"] != row["again"]]


def _flat(content: Mapping[str, Any], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in content.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            found |= _flat(value, f"{name}.")
        else:
            found[name] = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return found
