"""The law of healing, from recordings on: delete what the message names, prepare again, and every byte is as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl import pipeline, store
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.recipe import load
from biosig_mtl.types import DataError

Contents = Callable[[Path], dict[str, bytes]]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(Cohort(n_subjects=2, records_per_subject=1, record_s=30, fault_share=0), tmp_path_factory.mktemp("d") / "c")


def use(folder: Path) -> None:
    """Ask for all that training asks for."""
    table = store.read(folder)
    np.asarray(table.waveform)
    store.read_fingerprints(folder)
    store.read_examples(folder)
    store.read_rejected(folder)


def test_the_advice_of_the_message_heals(cohort: Path, tmp_path: Path, contents: Contents) -> None:
    recipe = load("demo_bp")
    folder = pipeline.prepare(recipe, cohort, tmp_path)
    use(folder)
    before = contents(folder)
    for name in ("lots/00000.safetensors", "index.parquet", "rejected.csv", "lots/00000.json", "store.json"):
        changed = bytearray(before[name])
        changed[-20] ^= 2
        (folder / name).write_bytes(changed)
        with pytest.raises(DataError, match="delete it and run `biosig-mtl prepare` again") as error:
            use(folder)
        named = Path(str(error.value).partition(": ")[0])
        assert named == folder / name
        named.unlink()
        assert pipeline.prepare(recipe, cohort, tmp_path) == folder
        assert contents(folder) == before


def test_what_is_cut_short_or_gone_is_made_anew_by_itself(cohort: Path, tmp_path: Path, contents: Contents) -> None:
    recipe = load("demo_bp")
    folder = pipeline.prepare(recipe, cohort, tmp_path)
    before = contents(folder)
    for name in ("lots/00000.safetensors", "lots/00000.parquet", "lots/00000.json", "index.parquet"):
        (folder / name).write_bytes(before[name][: len(before[name]) // 2])
        pipeline.prepare(recipe, cohort, tmp_path)
        assert contents(folder) == before
    for path in sorted((folder / "lots").iterdir()):
        path.unlink()
    pipeline.prepare(recipe, cohort, tmp_path)
    assert contents(folder) == before
