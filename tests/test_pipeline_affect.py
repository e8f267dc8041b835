"""Laws of preparing several modalities: the same store however it is worked, and in parts what there is in the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import cli, pipeline, store
from biosig_mtl.data import manifest
from biosig_mtl.data.affect_cohort import AffectCohort, write
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.models import baselines
from biosig_mtl.pipeline import lots, preparing, working
from biosig_mtl.recipe import Recipe, dump, load
from biosig_mtl.types import F32, ChannelInfo, DataError, Entry, Features, RecipeError, Record, Windows
from tests.data.affect import writers_b

TINY = ("windows.trails={ppg_8hz: 20, eda: 20, temp: 20}",)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(AffectCohort(n_subjects=4, n_stimuli=4, clip_s=12, rest_s=4), tmp_path_factory.mktemp("d") / "c")


@pytest.fixture(scope="module")
def place(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.prepare(load("demo_affect", TINY), cohort, tmp_path_factory.mktemp("s"))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_two_workers_write_what_one_writes(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "LOT_RECORDS", 6)
    one = pipeline.prepare(load("demo_affect", TINY), cohort, tmp_path / "one", workers=1)
    two = pipeline.prepare(load("demo_affect", TINY), cohort, tmp_path / "two", workers=2)
    assert one.name == two.name
    assert len(list((one / "lots").glob("*.json"))) == 3
    assert contents(one) == contents(two)


def test_a_store_of_several_modalities_is_whole(place: Path) -> None:
    assert store.verify(place) == []
    table = store.read(place)
    assert len(table) == 4 * 4 * 3
    seconds = {name: (t.signal.shape[1], t.signal.shape[2] / t.fs) for name, t in table.tracks.items()}
    assert seconds == {"eeg": (14, 4.0), "ppg": (1, 20.0), "eda": (1, 20.0)}
    assert set(table.index["label_source"]) == {"self"}
    assert table.index["stimulus"].nunique() == 4


def test_a_limit_and_records_that_are_left_out(cohort: Path, place: Path, tmp_path: Path) -> None:
    few = pipeline.prepare(load("demo_affect", [*TINY, "data.limit=3"]), cohort, tmp_path)
    assert store.read(few).index["record"].unique().tolist() == ["sim01/clip01", "sim01/clip02", "sim01/clip03"]
    recipe = load("demo_affect", TINY)
    given = replace(recipe, data=replace(recipe.data, exclude={"sim02/clip03": "the cap fell off"}))
    less = pipeline.prepare(given, cohort, tmp_path)
    assert set(store.read(place).index["record"]) - set(store.read(less).index["record"]) == {"sim02/clip03"}
    assert ("sim02/clip03", "", "left out by the recipe: the cap fell off") in store.read_rejected(less)
    assert len({few.name, less.name, place.name}) == 3
    with pytest.raises(RecipeError, match="simulated_affect has no record 'sim99'"):
        pipeline.prepare(replace(recipe, data=replace(recipe.data, exclude={"sim99": "?"})), cohort, tmp_path)


def test_a_leak_on_purpose_ends_with_exit_code_4(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {name: baselines.BASELINES[name] for name in ("train_mean", "train_median")}
    monkeypatch.setattr(baselines, "BASELINES", few)
    tiny = ("split.scheme=random_window", "split.folds=2", "split.negative_control=false", "training.epochs=1", "model.width=8")
    path = tmp_path / "leak.yaml"
    path.write_text(dump(load("demo_affect", [*TINY, *tiny, "model.heads=2"]).to_dict()))
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", str(path), "--out", str(tmp_path / "run"), "--data", str(cohort), "--workers", "1"])
    assert ended.value.code == 4
    said = capsys.readouterr().err
    assert "audit failed: " in said
    assert "random-window split: windows of 4 of 4 subjects are in both" in said
    with pytest.raises(SystemExit) as again:
        cli.main(["audit", str(tmp_path / "run")])
    assert again.value.code == 4


# --------------------------------------------------------------------------------------------------------------- without data
def infos() -> dict[str, ChannelInfo]:
    return dict(manifest.load("simulated_affect").channel_infos())


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "windows.trails={ppg_8hz: 20, eda: 20, temp: 20, spo2: 9}",
            r"windows\.trails: there is no channel 'spo2'; there are AF3",
        ),
        (
            "windows.trails={ppg_8hz: 20, temp: 20}",
            "features: 'eda' does not go with the windows; add it to windows.trails with",
        ),
        ("features.tracks={acc: {channels: [acc_x]}}", r"features\.tracks: 'acc_x' does not go with the windows"),
        ("features.eeg=[F3, F4, Cz]", "features: 'Cz' is not carried by the windows; add it to windows.channels"),
    ],
)
def test_what_does_not_go_with_the_windows_is_named(override: str, expected: str) -> None:
    with pytest.raises(RecipeError, match=expected):
        pipeline.check(load("demo_affect", [override]), infos())


def test_a_label_is_no_track_under_any_name() -> None:
    given = load("demo_affect", ["windows.trails={ppg_8hz: 20, eda: 20, temp: 20, mood: 20}"])
    leak = replace(given, features={**given.features, "tracks": {"mood": {"channels": ["mood"]}}})
    with pytest.raises(RecipeError, match=r"features\.tracks: 'mood' is the reference of affect: it is barred"):
        pipeline.check(leak, infos() | {"mood": ChannelInfo("mood", "label", "1..9", 4.0)})


def test_targets_that_a_set_does_not_have_are_not_invented() -> None:
    recipe = load("demo_affect", ["model.answers={valence: {}, arousal: {}}"])
    pipeline.check_labels(recipe, "set", {"valence": "a rating", "arousal": "a rating"})
    with pytest.raises(RecipeError, match=r"set has no arousal \(valence: a rating\); answer valence alone \(model\.answers\)"):
        pipeline.check_labels(recipe, "set", {"valence": "a rating"})
    with pytest.raises(RecipeError, match=r"set has no valence \(no labels at all\); choose another data set"):
        pipeline.check_labels(recipe, "set", {})
    alone = load("demo_affect", ["model.answers={valence: {}}"])
    one = replace(alone, model={**alone.model, "answers": {"valence": {}}})
    pipeline.check_labels(one, "set", {"valence": "a rating"})


def test_bands_that_a_filter_took_away_are_told_and_no_others() -> None:
    low_cut = load("demo_affect")
    first = {**low_cut.signal[0], "low_hz": 8, "high_hz": 25}
    cut = replace(low_cut, signal=(first, *low_cut.signal[1:]))
    assert {"theta"} <= set(pipeline.lost_bands(cut, None)) <= {"theta", "beta", "gamma"}
    assert set(pipeline.lost_bands(low_cut, None)) <= set(pipeline.lost_bands(low_cut, (8.0, 13.0)))
    assert "alpha" not in pipeline.lost_bands(low_cut, (7.0, 15.0))
    assert pipeline.lost_bands(load("stress_predict"), (1.0, 2.0)) == ()


def test_features_that_cannot_be_known_have_their_reason_before_any_data_is_read() -> None:
    short = load("demo_affect", ["windows.trails={ppg_8hz: 4, eda: 20, temp: 20}"])
    told = pipeline.reasons(short, infos())
    assert told
    assert all(name.startswith("ppg_prv.") for name in told if not name.startswith("eeg"))
    names, _ = pipeline.check(short, infos())
    # Every reason belongs to a feature that the recipe makes.
    assert all(any(name == key or name.startswith(f"{key}.") for name in names) for key in told)


# ------------------------------------------------------------------------------------------------------------- long recordings
SECONDS = 150
RATES = {"Fz": 64.0, "ppg": 64.0, "eda": 4.0, "valence": 2.0}
KINDS = {"Fz": ("eeg", "uV"), "ppg": ("ppg", "NU"), "eda": ("eda", "uS"), "valence": ("label", "0.5..9.5")}


def samples(seconds: int) -> dict[str, F32]:
    """Return a recording with breaks: the EEG has a gap, the wristband is off for a while, the rating begins late."""
    rng = np.random.default_rng(8)
    time = {name: np.arange(round(seconds * fs)) / fs for name, fs in RATES.items()}
    beat = np.sin(2 * np.pi * 1.1 * time["ppg"]) + 0.4 * np.sin(2 * np.pi * 2.2 * time["ppg"] + 0.5)
    made = {
        "Fz": 20 * rng.normal(size=time["Fz"].size),
        "ppg": beat + 0.02 * rng.normal(size=beat.size),
        "eda": 2 + 0.02 * time["eda"] + 0.05 * rng.normal(size=time["eda"].size),
        "valence": np.round(4 + 3 * np.sin(time["valence"] / 9), 1),
    }
    made["Fz"][64 * 71 : 64 * 71 + 9] = np.nan
    made["eda"][4 * 90 : 4 * 97] = np.nan
    made["valence"][: 2 * 21] = np.nan
    return {name: x.astype(np.float32) for name, x in made.items()}


ENTRY = Entry("long", "long", "p1", "1", Path("long.bin"), "none")


def long_source(baseline_s: tuple[float, float] | None = None, seconds: int = SECONDS) -> LazySource:
    given = samples(seconds)

    def fetch(first: int, stop: int) -> Mapping[str, F32]:
        return {name: x[round(first * RATES[name]) : round(stop * RATES[name])] for name, x in given.items()}

    infos = {name: ChannelInfo(name, *KINDS[name], RATES[name]) for name in given}
    return LazySource(ENTRY, infos, {name: name for name in given}, 1.0, seconds, fetch, baseline_s=baseline_s)


def long_recipe(**features: Any) -> Recipe:
    recipe = load("demo_affect")
    wanted: dict[str, Any] = {
        "families": ["eeg_de", "ppg_prv", "eda", "eda_change"],
        "eeg": ["Fz"],
        "tracks": {"eeg": {"channels": ["Fz"]}, "ppg": {"channels": ["ppg_8hz"], "hz": 16}, "eda": {"channels": ["eda"]}},
        "prv": "ppg_8hz",
    }
    return replace(
        recipe,
        signal=(
            {"step": "eeg_filter", "low_hz": 2.0, "high_hz": 25.0},
            {"step": "bandpass", "channel": "ppg", "name": "ppg_8hz", "low_hz": 0.5, "high_hz": 8.0},
            {"step": "detect_beats", "channel": "ppg_8hz"},
        ),
        windows={
            "length_s": 4,
            "stride_s": 2,
            "channels": ["Fz"],
            "label": "track",
            "trails": {"ppg_8hz": 30, "eda": 40},
        },
        features=wanted | features,
    )


def worked(made: pipeline.Preparation, source: LazySource, piece_s: float, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(working, "open_source", lambda _: source)
    monkeypatch.setattr(preparing, "PIECE_S", piece_s)
    return [pipeline.work_piece(made, piece) for piece in pipeline.pieces(source, source.entry)]


def same(parts: list[tuple[Windows, Features]], whole: tuple[Windows, Features]) -> None:
    windows, features = whole
    np.testing.assert_array_equal(np.concatenate([w.onset_s for w, _ in parts]), windows.onset_s)
    np.testing.assert_array_equal(np.concatenate([w.targets for w, _ in parts]), windows.targets)
    for name, trail in windows.trails.items():
        joined = np.concatenate([w.trails[name].signal for w, _ in parts])
        np.testing.assert_array_equal(np.isnan(joined), np.isnan(trail.signal))
        np.testing.assert_allclose(joined, trail.signal, atol=2e-4)
    np.testing.assert_allclose(np.concatenate([f.values for _, f in parts]), features.values, atol=2e-3, rtol=2e-3)
    for name, track in features.tracks.items():
        joined = np.concatenate([f.tracks[name].signal for _, f in parts])
        np.testing.assert_allclose(joined, track.signal, atol=2e-3)


@pytest.mark.parametrize(("rest", "baseline"), [(None, "none"), ((30.0, 40.0), "subtract"), ((30.0, 40.0), "torcheeg")])
def test_a_long_recording_in_pieces_gives_the_trails_targets_and_features_of_the_whole(
    rest: tuple[float, float] | None, baseline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, source = pipeline.preparation(long_recipe(baseline=baseline)), long_source(rest)
    ((_, *whole),) = worked(made, source, 1000.0, monkeypatch)
    pieces = worked(made, source, 37.0, monkeypatch)
    assert len(pieces) == 5
    # Nothing is compared with nothing: most is known, and something is not.
    assert len(whole[0]) > 30
    assert 0.5 < np.isfinite(whole[1].values).mean() < 1
    assert np.isfinite(whole[0].targets[:, 0]).all()
    same([(w, f) for _, w, f in pieces], (whole[0], whole[1]))
    refused = {(r.onset_s, r.reason) for r in whole[0].rejected}
    assert {(r.onset_s, r.reason) for _, w, _ in pieces for r in w.rejected} == refused
    assert refused


def test_a_recording_that_arrives_part_by_part_gives_the_trails_of_the_whole() -> None:
    made = pipeline.preparation(long_recipe())
    seconds = round(made.reach_s) + 120
    source = long_source(seconds=seconds)
    _, windows, features = made.apply(source.read())
    stream = pipeline.WindowStream(made, hop_s=10.0)
    cuts = [0.0, 3.0, 40.0, 41.0, 80.0, *range(133, seconds - 5, 17), float(seconds)]
    records: list[Record] = [source.read(a, b) for a, b in pairwise(cuts)]
    found = [given for record in records if (given := stream.push(record)) is not None]
    if (last := stream.finish()) is not None:
        found.append(last)
    assert len(found) > 2
    same(found, (windows, features))


def test_a_set_of_which_nothing_can_be_used_tells_why(tmp_path: Path) -> None:
    """A pickle that calls something is told as the reason, not hidden behind an empty folder."""
    (tmp_path / "s01.dat").write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match=r"no record of deap can be used; 1 refused: s01: .*blocked 'posix\.system'"):
        pipeline.prepare(load("deap_affect"), tmp_path, tmp_path / "stores")


def test_a_corrected_file_in_a_folder_makes_another_store(tmp_path: Path) -> None:
    """A record may be a folder of files (an unpacked export of a wristband): each of them counts."""
    texts = writers_b.e4_texts(writers_b.e4_streams(30))
    before = lots.Sizes().of(writers_b.folder(tmp_path / "P01", texts))
    writers_b.folder(tmp_path / "P01", {**texts, "EDA.csv": texts["EDA.csv"] + "0.5\n"})
    after = lots.Sizes().of(tmp_path / "P01")
    assert len(before) == len(after) == len(texts)
    assert before != after
