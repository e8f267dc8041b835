"""Manifests of data sets of emotion: every one can be listed, and says what can be asked of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from biosig_mtl.data import manifest
from biosig_mtl.data.affect.ratings import scale_of
from biosig_mtl.data.readers import LISTERS, READERS
from biosig_mtl.data.readers.channels import LABELS
from biosig_mtl.types import DataError

KINDS = {"eeg", "ecg", "ppg", "eda", "resp", "temp", "emg", "eog", "acc", "label", "other"}
RATED = {
    "dasps": {"valence", "arousal"},
    "stress_predict": {"stress"},
    "kemocon": {"valence", "arousal"},
    "case": {"valence", "arousal"},
    "mahnob_hci": {"valence", "arousal"},
    "gameemo": set(),
    "empatica_e4": set(),
}


@pytest.mark.parametrize("name", RATED)
def test_a_manifest_says_what_is_rated_and_how_to_obtain_it(name: str) -> None:
    made = manifest.load(name)
    assert made.format in READERS
    assert made.format in LISTERS
    assert set(made.labels) == RATED[name]
    assert made.access.url.startswith("https://")
    assert made.citation
    assert made.defects
    assert {c.kind for c in made.channel_infos().values()} <= KINDS


@pytest.mark.parametrize("name", RATED)
def test_channels_are_named_by_their_kind_and_labels_have_a_scale(name: str) -> None:
    for info in manifest.load(name).channel_infos().values():
        assert info.kind != "other" or info.name.startswith("hr"), info
        assert (info.name in LABELS) == (info.kind == "label")
        if info.kind == "label":
            assert scale_of(info.unit)
        else:
            assert re.fullmatch(r"uV|mV|uS|NU|degC|g|bpm|%", info.unit), info


@pytest.mark.parametrize("name", RATED)
def test_an_empty_folder_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        manifest.entries(manifest.load(name), tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
