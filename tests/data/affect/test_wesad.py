"""WESAD: two devices at their own rates, stress from the protocol, valence and arousal from the questionnaire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError
from tests.data.affect import writers_a as writers
from tests.data.affect.reading import assert_parts_join, listed

# Seconds of each state: between them the protocol is in transition.
ORDER = ((0, 3), (1, 5), (0, 2), (3, 4), (5, 1), (4, 4), (0, 2), (2, 6), (4, 5), (7, 3), (0, 5))
QUEST = """# Subj;S2;;;;;;;
# ORDER;Base;Fun;Medi 1;TSST;Medi 2;sRead;fRead;;
# START;7.08;39.55;70.19;81.25;93.38;54.42;89.51;;
# END;26.32;50.3;77.1;87.47;100.15;56.07;91.15;;
;;;;
# PANAS;1;2;3
# STAI;1;2
# DIM;7;2;;
# DIM;8;3;;
# DIM;6;1;;
# DIM;3;8;;
# DIM;5;4;;
# SSSQ;1;2
"""
README = "### Personal information ###\nAge: 27\nHeight (cm): 175\nWeight (kg): 80\nGender: male\nDominant hand: right\n"


def states(order: tuple[tuple[int, int], ...] = ORDER) -> NDArray[np.int32]:
    return np.concatenate([np.full(seconds * 700, state, np.int32) for state, seconds in order])


def written(root: Path, content: dict[str, Any] | None = None, quest: str | None = QUEST) -> dict[str, Any]:
    content = writers.wesad(states=states()) if content is None else content
    folder = root / "S2"
    folder.mkdir(exist_ok=True)
    (folder / "S2.pkl").write_bytes(writers.Python2().dump(content))
    (folder / "S2_readme.txt").write_text(README)
    if quest is not None:
        (folder / "S2_quest.csv").write_text(quest)
    return content


def test_every_stream_keeps_its_rate_and_place(tmp_path: Path) -> None:
    content = written(tmp_path)
    found, rejected = listed("wesad", tmp_path)
    assert (list(found), rejected) == (["S2"], {})
    assert found["S2"].demographics == {"age_years": 27, "height_cm": 175, "weight_kg": 80, "sex_male": 1}
    record = open_source(found["S2"]).read()
    assert (record.duration_s, record.notes) == (40.0, ())
    chest, wrist = content["signal"]["chest"], content["signal"]["wrist"]
    expected: dict[str, tuple[float, str, NDArray[Any]]] = {
        "ppg": (64, "ppg", wrist["BVP"][:, 0]),
        "eda": (4, "eda", wrist["EDA"][:, 0]),
        "temp": (4, "temp", wrist["TEMP"][:, 0]),
        "acc_y": (32, "acc", wrist["ACC"][:, 1] / 64),
        "ecg": (700, "ecg", chest["ECG"][:, 0]),
        "eda_chest": (700, "eda", chest["EDA"][:, 0]),
        "emg": (700, "emg", chest["EMG"][:, 0]),
        "resp": (700, "resp", chest["Resp"][:, 0]),
        "temp_chest": (700, "temp", chest["Temp"][:, 0]),
        "acc_chest_z": (700, "acc", chest["ACC"][:, 2]),
    }
    for name, (fs, kind, samples) in expected.items():
        channel = record.channel(name)
        assert (channel.fs, channel.kind) == (fs, kind)
        np.testing.assert_array_equal(channel.samples, samples.astype(np.float32))


def test_stress_is_the_stress_test_and_calm_is_every_other_state(tmp_path: Path) -> None:
    written(tmp_path)
    stress = open_source(listed("wesad", tmp_path)[0]["S2"]).read().channel("stress")
    assert (stress.kind, stress.unit, stress.fs) == ("label", "0..1", 4)
    expected = {0: np.nan, 1: 0.0, 2: 1.0, 3: 0.0, 4: 0.0, 5: np.nan, 7: np.nan}
    np.testing.assert_array_equal(stress.samples, np.concatenate([np.full(4 * s, expected[k]) for k, s in ORDER]))


def test_ratings_hold_for_their_state_in_the_order_of_the_questionnaire(tmp_path: Path) -> None:
    written(tmp_path)
    record = open_source(listed("wesad", tmp_path)[0]["S2"]).read()
    # Base 7/2, Fun 8/3, Medi 1 6/1, TSST 3/8, Medi 2 5/4: rows of the questionnaire, in the order of its conditions.
    rated = {1: [(7, 2)], 3: [(8, 3)], 4: [(6, 1), (5, 4)], 2: [(3, 8)]}
    for column, name in enumerate(("valence", "arousal")):
        left = {state: list(pairs) for state, pairs in rated.items()}
        parts = [np.full(4 * s, left[k].pop(0)[column] if left.get(k) else np.nan) for k, s in ORDER]
        channel = record.channel(name)
        np.testing.assert_array_equal(channel.samples, np.concatenate(parts))
        assert (channel.kind, channel.unit) == ("label", "1..9")
    swapped = QUEST.replace("# DIM;7;2", "# DIM;2;7")
    written(tmp_path, quest=swapped)
    again = open_source(listed("wesad", tmp_path)[0]["S2"]).read()
    assert np.nanmax(np.abs(again.channel("valence").samples - record.channel("valence").samples)) == 5


@pytest.mark.parametrize(
    ("quest", "said"),
    [
        (None, "no valence and arousal: S2_quest.csv is missing"),
        (QUEST.replace("# DIM;5;4;;\n", ""), "S2_quest.csv holds 4 rows '# DIM' for 5 conditions"),
        (QUEST.replace("# DIM;8;3", "# DIM;8;12"), "S2_quest.csv, line 9: arousal is 12; its scale is 1..9"),
        (QUEST.replace("# DIM;8;3", "# DIM;x;3"), "S2_quest.csv, line 9: need valence and arousal, found '# DIM;x;3;;'"),
        (QUEST.replace("# DIM;8;3", "# DIM;nan;3"), "valence is nan"),
    ],
)
def test_without_ratings_there_is_stress_alone_and_a_note(tmp_path: Path, quest: str | None, said: str) -> None:
    written(tmp_path, quest=quest)
    record = open_source(listed("wesad", tmp_path)[0]["S2"]).read(0, 5)
    assert "valence" not in record.channels
    assert "stress" in record.channels
    assert len(record.notes) == 1
    assert said in record.notes[0]


def test_a_state_that_is_not_there_as_often_is_not_rated(tmp_path: Path) -> None:
    order = tuple((0 if n == 5 else state, seconds) for n, (state, seconds) in enumerate(ORDER))
    written(tmp_path, writers.wesad(states=states(order)))
    record = open_source(listed("wesad", tmp_path)[0]["S2"]).read()
    assert [note.split(": ")[1] for note in record.notes] == ["'Medi 1' is not used", "'Medi 2' is not used"]
    assert np.nanmax(record.channel("arousal").samples) == 8
    assert set(np.unique(record.channel("valence").samples[~np.isnan(record.channel("valence").samples)])) == {7, 8, 3}


def test_parts_join_to_the_whole(tmp_path: Path) -> None:
    written(tmp_path)
    assert_parts_join(listed("wesad", tmp_path)[0]["S2"], 13, 37)


def test_streams_of_other_lengths_are_refused(tmp_path: Path) -> None:
    content = writers.wesad(states=states())
    content["signal"]["wrist"]["BVP"] = content["signal"]["wrist"]["BVP"][: 37 * 64]
    written(tmp_path, content)
    with pytest.raises(DataError, match=r"S2\.pkl: wrist BVP lasts 37\.0 s but chest ECG 40\.0 s"):
        open_source(listed("wesad", tmp_path)[0]["S2"])
    content["signal"]["wrist"]["BVP"] = writers.wesad()["signal"]["wrist"]["BVP"][: 39 * 64 + 32]
    written(tmp_path, content)
    record = open_source(listed("wesad", tmp_path)[0]["S2"]).read()
    assert (record.duration_s, record.notes) == (39.0, ("S2.pkl: the last 1.00 s, which not all streams have, are left out",))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["signal"]["chest"].pop("Temp"), "chest: missing 'Temp'; it has ECG"),
        (lambda c: c["signal"].pop("wrist"), "missing 'wrist'; it has chest"),
        (lambda c: c.pop("signal"), "missing 'signal'; it has label, subject"),
        (lambda c: c["signal"]["wrist"].update(EDA="x"), r"wrist EDA: need an array of shape \(any, 1\), found str"),
        (lambda c: c["signal"]["wrist"].update(ACC=np.ones((40 * 32, 1))), r"wrist ACC: .* found \(1280, 1\)"),
        (lambda c: c.update(label=np.full(40 * 700, 9, np.int32)), "label: sample 0 is 9; states are 0 to 7"),
    ],
)
def test_files_of_another_layout_are_named(tmp_path: Path, change: Any, said: str) -> None:
    content = writers.wesad(states=states())
    change(content)
    written(tmp_path, content)
    with pytest.raises(DataError, match=said):
        open_source(listed("wesad", tmp_path)[0]["S2"])
