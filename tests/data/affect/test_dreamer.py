"""DREAMER: clips with the neutral clip before them, two rates on one clock, ratings and names from the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.data.affect.dreamer import ELECTRODES
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError
from tests.data.affect import writers_a as writers
from tests.data.affect.reading import assert_parts_join, labels, listed


def written(root: Path, content: dict[str, Any] | None = None) -> dict[str, Any]:
    content = writers.dreamer() if content is None else content
    writers.save(root / "DREAMER.mat", content)
    person: dict[str, Any] = content["DREAMER"]["Data"][0, 1]
    return person


def test_a_clip_follows_its_neutral_clip_with_a_seam_between(tmp_path: Path) -> None:
    person = written(tmp_path)
    found, rejected = listed("dreamer", tmp_path)
    assert (len(found), rejected) == (36, {})
    entry = found["S02/03"]
    assert (entry.subject, entry.stimulus) == ("S02", "3")
    assert entry.demographics == {"age_years": 23.0, "sex_male": 0.0}
    record = open_source(entry).read()
    assert (record.duration_s, record.baseline_s, record.seams_s.tolist()) == (7.0, (0.0, 2.0), [2.0])
    for column, name in enumerate(ELECTRODES):
        both = np.concatenate([person["EEG"][phase][2, 0][:, column] for phase in ("baseline", "stimuli")])
        np.testing.assert_array_equal(record.channel(name).samples, both.astype(np.float32))
        assert (record.channel(name).kind, record.channel(name).fs) == ("eeg", 128)
    both = np.concatenate([person["ECG"][phase][2, 0][:, 1] for phase in ("baseline", "stimuli")])
    np.testing.assert_array_equal(record.channel("ecg_2").samples, both.astype(np.float32))
    assert (record.channel("ecg").kind, record.channel("ecg").fs) == ("ecg", 256)


def test_each_score_is_read_from_its_own_field(tmp_path: Path) -> None:
    content = writers.dreamer()
    written(tmp_path, content)
    entry = listed("dreamer", tmp_path)[0]["S01/02"]
    assert labels(entry) == {"valence": 2.0, "arousal": 4.0, "dominance": 3.0}
    assert {label.unit for label in entry.labels} == {"1..5"}
    person = content["DREAMER"]["Data"][0, 0]
    person["ScoreValence"], person["ScoreArousal"] = person["ScoreArousal"], person["ScoreValence"]
    written(tmp_path, content)
    assert labels(listed("dreamer", tmp_path)[0]["S01/02"])["valence"] == 4.0


def test_channels_are_named_by_the_file(tmp_path: Path) -> None:
    content = writers.dreamer()
    content["DREAMER"]["EEG_Electrodes"] = writers.cells(ELECTRODES[::-1], row=True)
    person = written(tmp_path, content)
    record = open_source(listed("dreamer", tmp_path)[0]["S02/01"]).read(2, 3)
    np.testing.assert_array_equal(record.channel("AF4").samples, person["EEG"]["stimuli"][0, 0][:128, 0].astype(np.float32))
    content["DREAMER"]["EEG_Electrodes"] = writers.cells(ELECTRODES[:13], row=True)
    written(tmp_path, content)
    with pytest.raises(DataError, match=r"EEG_Electrodes are AF3, .*; need AF3"):
        open_source(listed("dreamer", tmp_path)[0]["S02/01"])


def test_parts_join_to_the_whole(tmp_path: Path) -> None:
    written(tmp_path)
    assert_parts_join(listed("dreamer", tmp_path)[0]["S01/03"], 1 + 1 / 128, 6.5)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "'nan'"), (0.0, "'0.0'"), (6.0, "'6.0'")])
def test_scores_off_the_scale_are_named(tmp_path: Path, value: float, said: str) -> None:
    content = writers.dreamer()
    content["DREAMER"]["Data"][0, 0]["ScoreArousal"][4, 0] = value
    written(tmp_path, content)
    found, rejected = listed("dreamer", tmp_path)
    assert len(found) == 35
    assert rejected == {
        "S01/05": f"{tmp_path / 'DREAMER.mat'}, subject 1, clip 5: arousal is {said}; its scale is 1 to 5",
    }


def test_scores_of_another_number_cost_that_person(tmp_path: Path) -> None:
    content = writers.dreamer()
    content["DREAMER"]["Data"][0, 0]["ScoreValence"] = np.ones((17, 1))
    written(tmp_path, content)
    found, rejected = listed("dreamer", tmp_path)
    assert len(found) == 18
    assert "DREAMER.Data{1}.ScoreValence has shape (17, 1), need 18 scores" in rejected["S01"]


def test_signals_that_do_not_fit_are_refused_when_opened(tmp_path: Path) -> None:
    content = writers.dreamer()
    first = content["DREAMER"]["Data"][0, 0]
    first["ECG"]["stimuli"][0, 0] = np.zeros((10 * 256, 2))
    first["EEG"]["stimuli"][1, 0] = np.zeros((128, 13))
    first["EEG"]["baseline"][2, 0] = np.zeros((0, 14))
    written(tmp_path, content)
    found, _ = listed("dreamer", tmp_path)
    with pytest.raises(DataError, match=r"subject 1, clip 1: EEG of stimuli lasts 3\.0 s, its ECG 10\.0 s"):
        open_source(found["S01/01"])
    with pytest.raises(DataError, match=r"clip 2: EEG and ECG of stimuli have shapes \(128, 13\) and"):
        open_source(found["S01/02"])
    with pytest.raises(DataError, match=r"clip 3: EEG and ECG of baseline have shapes \(0, "):
        open_source(found["S01/03"])


def test_another_rate_or_layout_costs_one_line(tmp_path: Path) -> None:
    content = writers.dreamer()
    content["DREAMER"]["ECG_SamplingRate"] = 250
    written(tmp_path, content)
    assert "ECG_SamplingRate is [[250]], need 256" in listed("dreamer", tmp_path)[1]["DREAMER"]
    writers.save(tmp_path / "DREAMER.mat", {"DREAMER": {"Data": np.ones((1, 3))}})
    assert "no single 'EEG_SamplingRate' in DREAMER; it has Data" in listed("dreamer", tmp_path)[1]["DREAMER"]
    raw = (tmp_path / "DREAMER.mat").read_bytes()
    (tmp_path / "DREAMER.mat").write_bytes(raw[:-9])
    assert "ends at byte" in listed("dreamer", tmp_path)[1]["DREAMER"]
