"""AMIGOS: videos by name, arousal first in self-assessments, valence first from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.data.affect.amigos import ELECTRODES
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError, RecipeError
from tests.data.affect import writers_a as writers
from tests.data.affect.reading import assert_parts_join, labels, listed

NAME = "Data_Preprocessed_P01"


def written(root: Path, content: dict[str, Any] | None = None, name: str = NAME) -> dict[str, Any]:
    content = writers.amigos() if content is None else content
    writers.save(root / f"{name}.mat", content)
    return content


@pytest.mark.parametrize("folder", ["", f"{NAME}/", f"Data_Preprocessed/{NAME}/"])
def test_videos_are_found_by_name_in_either_layout(tmp_path: Path, folder: str) -> None:
    content = writers.amigos(videos=writers.VIDEOS[::-1])
    written(tmp_path, content, folder + NAME)
    found, rejected = listed("amigos", tmp_path)
    assert (len(found), rejected) == (20, {})
    record = open_source(found["P01/138"]).read()
    assert (record.subject, record.stimulus, record.baseline_s, record.duration_s) == ("P01", "138", (0.0, 5.0), 52.0)
    table = content["joined_data"][0, writers.VIDEOS[::-1].index("138")]
    for column, name in enumerate((*ELECTRODES, "ecg", "ecg_2", "eda")):
        np.testing.assert_array_equal(record.channel(name).samples, table[:, column].astype(np.float32))
    assert [record.channel(n).kind for n in ("AF3", "ecg", "eda")] == ["eeg", "ecg", "eda"]


def test_people_rate_arousal_first(tmp_path: Path) -> None:
    content = written(tmp_path)
    entry = listed("amigos", tmp_path)[0]["P01/10"]
    assert labels(entry) == {"arousal": 2.0, "valence": 8.0, "dominance": 5.5, "liking": 6.5}
    assert {label.unit for label in entry.labels} == {"1..9"}
    content["labels_selfassessment"][0, 0] = content["labels_selfassessment"][0, 0][:, [1, 0, *range(2, 12)]]
    written(tmp_path, content)
    assert labels(listed("amigos", tmp_path)[0]["P01/10"])["arousal"] != 2.0


def test_annotators_rate_valence_first(tmp_path: Path) -> None:
    """52 s: 5 s of rest, 47 s of video; segments 0 (0–20 s), 1 (5–25 s), 2 (25–45 s) and the last (32–52 s)."""
    content = written(tmp_path)
    entry = listed("amigos", tmp_path, labels="external")[0]["P01/10"]
    assert entry.labels == ()
    record = open_source(entry).read()
    valence, arousal = record.channel("valence"), record.channel("arousal")
    assert [(c.kind, c.unit) for c in (valence, arousal)] == [("label", "-1..1")] * 2
    at = [0, 4, 6, 20, 26, 44, 46, 51]
    np.testing.assert_allclose(valence.samples[np.array(at) * 128], [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4], atol=1e-6)
    np.testing.assert_allclose(arousal.samples[np.array(at) * 128], [-0.4, -0.4, -0.3, -0.3, -0.2, -0.2, -0.1, -0.1], atol=1e-6)
    assert not np.isnan(valence.samples).any()
    content["labels_ext_annotation"][0, 0] = content["labels_ext_annotation"][0, 0][:, [0, 2, 1]]
    written(tmp_path, content)
    swapped = open_source(listed("amigos", tmp_path, labels="external")[0]["P01/10"]).read()
    assert swapped.channel("valence").samples[0] < 0
    assert "valence" not in open_source(listed("amigos", tmp_path)[0]["P01/10"]).channels


@pytest.mark.parametrize("which", ["self", "external"])
def test_parts_join_to_the_whole(tmp_path: Path, which: str) -> None:
    written(tmp_path)
    assert_parts_join(listed("amigos", tmp_path, labels=which)[0]["P01/138"], 20.5, 52)


def test_long_videos_that_were_not_seen_are_told(tmp_path: Path) -> None:
    written(tmp_path, writers.amigos(long=False))
    found, rejected = listed("amigos", tmp_path)
    assert len(found) == 16
    where = tmp_path / f"{NAME}.mat"
    assert rejected == {f"P01/{v}": f"{where}, video {v}: has no data" for v in ("N1", "P1", "B1", "U1")}


def test_videos_without_annotations_are_told(tmp_path: Path) -> None:
    content = writers.amigos()
    content["labels_ext_annotation"][0, 2] = np.empty((0, 0))
    written(tmp_path, content)
    assert len(listed("amigos", tmp_path)[0]) == 20
    found, rejected = listed("amigos", tmp_path, labels="external")
    assert len(found) == 19
    assert rejected == {"P01/138": f"{tmp_path / f'{NAME}.mat'}, video 138: has no annotations from outside"}


def test_channels_without_a_number_are_told(tmp_path: Path) -> None:
    content = writers.amigos()
    content["joined_data"][0, 0][:, [2, 16]] = np.nan
    content["joined_data"][0, 1][:] = np.nan
    written(tmp_path, content)
    found, _ = listed("amigos", tmp_path)
    assert open_source(found["P01/10"]).read(0, 1).notes == ("P01/10: NaN throughout: F3, GSR",)
    with pytest.raises(DataError, match=r"Data_Preprocessed_P01\.mat, P01/13: all channels are NaN throughout"):
        open_source(found["P01/13"])


@pytest.mark.parametrize(("column", "name"), [(0, "arousal"), (1, "valence")])
@pytest.mark.parametrize(("value", "said"), [(np.nan, "'nan'"), (0.5, "'0.5'"), (10.0, "'10.0'")])
def test_ratings_off_the_scale_are_named(tmp_path: Path, column: int, name: str, value: float, said: str) -> None:
    content = writers.amigos()
    content["labels_selfassessment"][0, 3] = content["labels_selfassessment"][0, 3].copy()
    content["labels_selfassessment"][0, 3][0, column] = value
    content["labels_selfassessment"][0, 4] = np.ones((1, 5))
    written(tmp_path, content)
    _, rejected = listed("amigos", tmp_path)
    where = tmp_path / f"{NAME}.mat"
    assert rejected == {
        "P01/18": f"{where}, video 18: {name} is {said}; its scale is 1 to 9",
        "P01/19": f"{where}, video 19: has no self-assessment (shape (1, 5), need (1, 12))",
    }


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (np.array([[0, 0.1, 0.2], [1, 1.5, 0.2]]), "valence is 1.5; its scale is -1 to 1"),
        (np.array([[0, 0.1, 0.2], [2, 0.5, 0.2]]), "segments are numbered"),
        (np.array([[0, 0.1], [1, 0.5]]), "need rows of segment, valence and arousal"),
        (np.array([[0, np.nan, 0.1]]), "valence is nan"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(tmp_path: Path, table: Any, said: str) -> None:
    content = writers.amigos()
    content["labels_ext_annotation"][0, 0] = table
    written(tmp_path, content)
    with pytest.raises(DataError, match=rf"labels_ext_annotation\{{1\}}.*{said}"):
        open_source(listed("amigos", tmp_path, labels="external")[0]["P01/10"])


def test_files_of_another_layout_cost_one_line(tmp_path: Path) -> None:
    content = writers.amigos(videos=("10", "10", *writers.VIDEOS[2:]))
    written(tmp_path, content)
    assert "VideoIDs are 10, 10, 138" in listed("amigos", tmp_path)[1]["P01"]
    written(tmp_path, {"joined_data": content["joined_data"]})
    assert "no variable 'VideoIDs'; it has joined_data" in listed("amigos", tmp_path)[1]["P01"]
    content = writers.amigos()
    content["joined_data"][0, 0] = np.zeros((52 * 128, 16))
    written(tmp_path, content)
    with pytest.raises(DataError, match=r"joined_data\{1\} has shape \(6656, 16\)"):
        open_source(listed("amigos", tmp_path)[0]["P01/10"])
    with pytest.raises(RecipeError, match="labels of AMIGOS"):
        listed("amigos", tmp_path, labels="outer")
