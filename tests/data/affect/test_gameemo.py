"""GAMEEMO: channels by name, and no rating made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.data import manifest
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError
from tests.data.affect import writers_b as write

NAMES = ["AF3", "AF4", "F3", "F4", "F7", "F8", "FC5", "FC6", "O1", "O2", "P7", "P8", "T7", "T8"]


def test_games_are_listed_and_channels_are_those_of_the_heading(tmp_path: Path) -> None:
    values = {g: write.gameemo(tmp_path, game=g) for g in (4, 1)}
    write.gameemo(tmp_path, game=2, raw=True)
    described = manifest.load("gameemo")
    listing = manifest.entries(described, tmp_path)
    assert [(e.record, e.subject, e.stimulus) for e in listing.entries] == [
        ("S01/G1", "S01", "G1_boring"),
        ("S01/G4", "S01", "G4_funny"),
    ]
    source = open_source(listing.entries[1])
    record = source.read()
    for number, name in enumerate(NAMES):
        np.testing.assert_allclose(record.channel(name).samples, values[4][:, number].astype(np.float32), rtol=1e-6)
    assert {(c.kind, c.unit, c.fs) for c in record.channels.values()} == {("eeg", "uV", 128.0)}
    parts = [source.read(a, b).channel("O1").samples for a, b in ((0, 2.31), (2.31, 9))]
    np.testing.assert_array_equal(np.concatenate(parts), record.channel("O1").samples)
    raw = manifest.entries(replace(described, options={"variant": "raw"}), tmp_path)
    assert [e.record for e in raw.entries] == ["S01/G2"]


def test_there_is_no_rating(tmp_path: Path) -> None:
    write.gameemo(tmp_path)
    described = manifest.load("gameemo")
    assert dict(described.labels) == {}
    assert any("scanned" in defect for defect in described.defects)
    entry = manifest.entries(described, tmp_path).entries[0]
    assert entry.labels == ()
    assert not [c for c in open_source(entry).channels.values() if c.kind == "label"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [("AF3,AF4", "A,B", None), ("\n", "\nx", "'x.*' in column 'AF3' is no number"), ("AF3,AF4", "AF3,AF3", None)],
)
def test_damaged_texts_are_one_line(old: str, new: str, says: str | None, tmp_path: Path) -> None:
    write.gameemo(tmp_path)
    entry = manifest.entries(manifest.load("gameemo"), tmp_path).entries[0]
    entry.path.write_text(entry.path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    if says is None:
        # The other channels are there: what is missing is seen by whoever asks for it.
        assert len(open_source(entry).channels) in {12, 13}
        return
    with pytest.raises(DataError, match=rf"S01G1AllChannels\.csv, line 2: {says}"):
        open_source(entry)


def test_a_folder_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no text S<number>G<game>AllChannels"):
        manifest.entries(manifest.load("gameemo"), tmp_path)
