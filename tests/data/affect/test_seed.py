"""SEED and SEED-IV: trials by the number of their variable, and only those labels that the sets have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.data.affect import seed
from biosig_mtl.data.manifest import load
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError
from tests.data.affect import writers_a as writers
from tests.data.affect.reading import assert_parts_join, labels, listed

CLASSES = [1, 0, -1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 0, 1, -1]


def trial(number: int) -> np.ndarray[Any, Any]:
    """Return a recording in which every sample tells the trial and the channel."""
    return (np.arange(62.0) + 100 * number)[:, None] + np.linspace(0, 0.5, 60 + number)


def written(root: Path, name: str, count: int = 15, prefix: str = "djc") -> None:
    """Write a file whose variables lie in the order of their names: eeg1, eeg10, eeg11 … eeg2."""
    names = sorted(f"{prefix}_eeg{n}" for n in range(1, count + 1))
    save = {name: trial(int(name.rpartition("eeg")[2])) for name in names}
    writers.save(root / f"{name}.mat", {"fs_note": np.ones((1, 1)), **save})


def seed_set(root: Path) -> Path:
    written(root / "Preprocessed_EEG", "1_20131030")
    written(root / "Preprocessed_EEG", "1_20131027")
    written(root / "Preprocessed_EEG", "10_20131130", prefix="ww")
    writers.save(root / "Preprocessed_EEG" / "label.mat", {"label": np.array([CLASSES], np.int16)})
    return root


def test_trials_are_taken_by_number(tmp_path: Path) -> None:
    found, rejected = listed("seed", seed_set(tmp_path))
    assert (len(found), rejected) == (45, {})
    assert list(found)[:2] == ["1/20131027/01", "1/20131027/02"]
    for number in (1, 2, 10, 15):
        record = open_source(found[f"1/20131027/{number:02d}"]).read()
        assert (record.subject, record.stimulus, record.session) == ("1", f"clip{number}", "1")
        assert list(record.channels) == list(seed.ELECTRODES)
        for column in (0, 23, 61):
            channel = record.channel(seed.ELECTRODES[column])
            np.testing.assert_array_equal(channel.samples, trial(number)[column].astype(np.float32))
            assert (channel.kind, channel.fs) == ("eeg", 200)
    assert found["1/20131030/01"].session == "2"
    assert found["10/20131130/01"].subject == "10"


def test_seed_labels_are_classes_of_valence_alone(tmp_path: Path) -> None:
    found, _ = listed("seed", seed_set(tmp_path))
    given = [labels(found[f"1/20131030/{n:02d}"]) for n in range(1, 16)]
    assert given == [{"valence": c} for c in CLASSES]
    assert found["1/20131030/01"].labels[0].unit == "-1..1"
    assert set(load("seed").labels) == {"valence"}


def test_seed_iv_names_emotions_and_nothing_else(tmp_path: Path) -> None:
    for session in (1, 2, 3):
        written(tmp_path / "eeg_raw_data" / str(session), f"2_2015091{session}", 24, "ha")
    found, rejected = listed("seed_iv", tmp_path)
    assert (len(found), rejected) == (72, {})
    entry = found["2/20150912/03"]
    assert (entry.session, entry.stimulus, labels(entry)) == ("2", "session2/clip3", {"emotion": 3.0})
    assert set(load("seed_iv").labels) == {"emotion"}
    for emotions in seed.SEED_IV:
        assert sorted(emotions) == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6


def test_parts_join_to_the_whole(tmp_path: Path) -> None:
    assert_parts_join(listed("seed", seed_set(tmp_path))[0]["1/20131027/15"], 0.155, 0.3)


def test_what_is_missing_or_of_another_shape_is_named(tmp_path: Path) -> None:
    root = seed_set(tmp_path) / "Preprocessed_EEG"
    written(root, "1_20131027", 14)
    writers.save(root / "10_20131130.mat", {"nothing": np.ones((1, 1))})
    writers.save(root / "1_20131030.mat", {f"djc_eeg{n}": np.ones((61, 9)) for n in range(1, 16)})
    found, rejected = listed("seed", tmp_path)
    assert "no variable of trial 15" in rejected["1/20131027/15"]
    assert "holds no trials" in rejected["10_20131130"]
    with pytest.raises(DataError, match=r"djc_eeg1 has shape \(61, 9\), need \(62, any\)"):
        open_source(found["1/20131030/01"])
    writers.save(root / "label.mat", {"label": np.array([[*CLASSES[:14], 2]])})
    assert "need 15 labels of -1, 0 or 1" in listed("seed", tmp_path)[1]["1_20131027"]
    (root / "label.mat").unlink()
    assert "no such file" in listed("seed", tmp_path)[1]["1_20131027"]
