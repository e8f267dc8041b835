"""What a preparation of a whole data set will take, from a few of its lots that are worked here and thrown away."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from biosig_mtl import store
from biosig_mtl.pipeline import lots, preparing
from biosig_mtl.pipeline.projection import DataSize, Rates
from biosig_mtl.pipeline.upstream import preparation
from biosig_mtl.pipeline.working import RECORD_ERRORS, work, work_piece
from biosig_mtl.recipe import Recipe
from biosig_mtl.types import DataError


def measure(recipe: Recipe, root: Path | str | None, sample: int = 3, dataset: str | None = None) -> tuple[DataSize, Rates]:
    """Return the size of a data set, and what one worker of this machine does of it in a second.

    Parameters
    ----------
    recipe, root, dataset
        As of `biosig_mtl.pipeline.prepare`.
    sample
        How many lots are worked, spread evenly over the set. What a record costs beside its bytes is in what a byte costs.

    Raises
    ------
    DataError
        There is no record, or none of the lots that were tried has any content.
    """
    with tempfile.TemporaryDirectory(prefix="biosig-project-") as into:
        planned = preparing.plan_of(recipe, root, into, dataset)
        sizes, paths = lots.Sizes(), [piece.entry.path for lot in planned.lots for piece in lot]
        shares = {path: sum(sizes.of(path)) / count for path, count in Counter(paths).items()}
        weights = [sum(shares[piece.entry.path] for piece in lot) for lot in planned.lots]
        numbers = sorted({int(k) for k in np.linspace(0, len(weights) - 1, min(sample, len(weights)))})
        store.write_plan(planned.folder, planned.content)
        with contextlib.suppress(*RECORD_ERRORS):  # imports are made once in a worker, however much it works
            work_piece(preparation(recipe), planned.lots[0][0])
        began = time.process_time()
        for job in preparing.jobs_of(planned, recipe, numbers, None):
            work(job)
        spent_s = time.process_time() - began
        worked = sum(weights[k] for k in numbers)
        made = sum(path.stat().st_size for path in (planned.folder / "lots").iterdir())
    if not worked or not spent_s:
        raise DataError(f"{planned.root}: the lots that were tried are empty; nothing can be projected")
    whole = DataSize(sum(weights), len(set(paths)), sum(weights) / len(weights))
    return whole, Rates(spent_s / (worked / 1e6), 0.0, made / worked)
