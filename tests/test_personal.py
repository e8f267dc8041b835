"""Laws of a run made a person's own: a small file, read again to the bit, and refused where it cannot be right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from biosig_mtl import experiment, pipeline
from biosig_mtl.cli import personalise as verb
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.inference import Predictor, Told, personal_file
from biosig_mtl.inference import personal as personals
from biosig_mtl.inference.personal import Personal, Wish, load, personalise
from biosig_mtl.inference.personal_files import personalise_file, read_reading
from biosig_mtl.inference.personal_readings import Reading, windows_of
from biosig_mtl.recipe import load as recipe
from biosig_mtl.training.calibration import keeping
from biosig_mtl.training.calibration.head import PersonHead
from biosig_mtl.training.calibration.keeping import Fitted, Keeping, Standard
from biosig_mtl.training.calibration.known import Calibrator
from biosig_mtl.training.calibration.last_split import LastSplit
from biosig_mtl.training.calibration.offset import Offset
from biosig_mtl.training.calibration.shrink import Shrink
from biosig_mtl.types import DataError, RecipeError

TINY = ("split.folds=2", "training.epochs=1", "model.width=8", "model.heads=2", "split.negative_control=false")
READINGS = (Reading(4.0, {"sbp": 150.0, "dbp": 90.0}), Reading(20.0, {"sbp": 146.0}))
Make = Callable[..., Personal]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(Cohort(n_subjects=8, records_per_subject=2, record_s=40, fault_share=0), tmp_path_factory.mktemp("d") / "c")


@pytest.fixture(scope="module")
def run(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from biosig_mtl.models import baselines

    out = tmp_path_factory.mktemp("r") / "run"
    place = pipeline.prepare(recipe("demo_bp", TINY), cohort, tmp_path_factory.mktemp("s"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "BASELINES", {name: baselines.BASELINES[name] for name in ("train_mean", "train_median")})
        experiment.run(recipe("demo_bp", TINY), [place], out)
    spec = Predictor.load(out).ensemble.spec
    n, half = len(spec.features), np.array([9.0, 5.0])
    rng = np.random.default_rng(0)
    methods: dict[str, Calibrator] = {
        "shrink": Shrink(rng.uniform(0, 0.3, (2, 8))),
        "person_head": PersonHead(np.full((2, 3), 2.0), np.ones(2)),
        "last_split": LastSplit(0.3, 1, np.ones(2)),
        "offset": Offset(np.ones(2)),
    }
    fitted = tuple(Fitted(name, 1, each, half) for name, each in methods.items())
    kept = Keeping(spec.targets, Standard(spec.features, np.zeros(n), np.ones(n)), fitted, {1: "shrink"})
    keeping.save(out / keeping.FOLDER, kept, out / "model" / "model.json")
    return out


@pytest.fixture(scope="module")
def bare(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same run as it is before it was calibrated."""
    alone = tmp_path_factory.mktemp("b") / "run"
    shutil.copytree(run / "model", alone / "model")
    return alone


@pytest.fixture
def make(run: Path, cohort: Path) -> Make:
    def made(method: str | None = None, max_mb: float | None = None, readings: tuple[Reading, ...] = READINGS) -> Personal:
        entry = entry_for(recording(cohort))
        return personalise(run, open_source(entry), entry, readings, Wish(method, max_mb))

    return made


def recording(cohort: Path, number: int = 1) -> Path:
    return cohort / "s001" / f"s001_{number}.hea"


def estimates(made: Personal | Predictor, path: Path, **words: float) -> pd.DataFrame:
    entry = entry_for(path)
    frame, _, _ = made.predict(open_source(entry), entry, **words)  # type: ignore[arg-type]
    return frame


def test_a_person_has_estimates_of_their_own_and_the_run_keeps_its(make: Make, run: Path, cohort: Path) -> None:
    plain = estimates(Predictor.load(run), recording(cohort))
    own = estimates(make("offset"), recording(cohort))
    assert list(own) == list(plain)
    # The mean shift of both readings, for sbp; of the one that tells it, for dbp.
    second = plain.loc[plain["onset_s"] == 16.0, "sbp"].iloc[0]
    wrong = np.mean([150 - plain["sbp"].iloc[0], 146 - second])
    np.testing.assert_allclose(own["sbp"] - plain["sbp"], wrong, atol=1e-4)
    np.testing.assert_allclose(own["dbp"] - plain["dbp"], 90 - plain["dbp"].iloc[0], atol=1e-4)
    pd.testing.assert_frame_equal(plain, estimates(Predictor.load(run), recording(cohort)))


@pytest.mark.parametrize("method", ["offset", "shrink", "person_head", "last_split"])
def test_a_file_that_is_read_again_answers_the_same_to_the_bit(
    method: str, make: Make, run: Path, cohort: Path, tmp_path: Path
) -> None:
    made = make(method)
    made.save(tmp_path / "deep" / "a.personal")
    again = load(run, tmp_path / "deep" / "a.personal")
    assert again.method == method
    assert again.raw == made.raw
    for number in (1, 2):
        pd.testing.assert_frame_equal(
            estimates(made, recording(cohort, number)), estimates(again, recording(cohort, number)), check_exact=True
        )


def test_the_choice_of_calibrate_is_the_default_and_its_errors_are_the_intervals(make: Make, cohort: Path) -> None:
    made = make()
    assert made.method == "shrink"
    frame = estimates(made, recording(cohort))
    np.testing.assert_allclose(frame["sbp_upper"] - frame["sbp"], 9.0, atol=1e-6)
    np.testing.assert_allclose(frame["dbp"] - frame["dbp_lower"], 5.0, atol=1e-6)


def test_without_calibrate_offset_alone_works_and_says_so(bare: Path, cohort: Path, tmp_path: Path) -> None:
    lines = personalise_file(bare, recording(cohort), tmp_path / "a.personal", READINGS)
    assert "method offset" in lines[0]
    assert any("was not calibrated" in line for line in lines)
    frame = estimates(load(bare, tmp_path / "a.personal"), recording(cohort))
    assert frame["sbp"].notna().all()
    assert frame["sbp_lower"].isna().all()  # nobody has measured what calibrated errors are
    with pytest.raises(RecipeError, match="method 'shrink' was not fitted for this run; run calibrate"):
        personalise_file(bare, recording(cohort), tmp_path / "b.personal", READINGS, Wish("shrink"))


def test_another_time_is_told_from_the_recording_of_the_readings(make: Make, cohort: Path) -> None:
    made = make("shrink")
    same, other = (estimates(made, recording(cohort, number)) for number in (1, 2))
    told_same = estimates(made, recording(cohort), began_s=0.0)
    told_later = estimates(made, recording(cohort, 2), began_s=600.0)
    pd.testing.assert_frame_equal(same, told_same)
    assert not np.allclose(other["sbp"], told_later["sbp"])


@pytest.mark.parametrize("method", ["shrink", "person_head", "last_split"])
def test_windows_by_themselves_are_answered_as_in_the_whole(method: str, make: Make, cohort: Path) -> None:
    made = make(method)
    predictor = made.as_predictor(0.0)
    heard: list[Any] = []
    listener: Any = personals._Listener(predictor.ensemble, heard)
    entry = entry_for(recording(cohort, 2))
    replace(predictor, ensemble=listener).predict(open_source(entry), entry)
    table, found = heard[0]
    from biosig_mtl.inference.personal_ensemble import some

    alone = predictor.ensemble.predict(some(table, np.array([1]), waveform=True))
    np.testing.assert_allclose(alone, found.estimates[1:2], atol=1e-3)
    assert listener.spec == predictor.ensemble.spec
    assert predictor.ensemble.versions == made.predictor.ensemble.versions
    assert predictor.ensemble.recipe == made.predictor.ensemble.recipe
    assert predictor.ensemble.extra == made.predictor.ensemble.extra


# -------------------------------------------------------------------------------------------------------------- budget
@pytest.mark.parametrize("method", ["offset", "last_split"])
def test_a_budget_is_kept_and_the_smallest_that_would_do_does(method: str, make: Make) -> None:
    whole = make(method)
    with pytest.raises(RecipeError, match="too small") as error:
        make(method, 0.0005)
    words = str(error.value)
    least = float(words.split("need ")[1].split(" MB")[0] if "need " in words else words.split("takes ")[1].split(" MB")[0])
    small = make(method, least)
    assert len(small.raw) / 1e6 <= small.megabytes <= least
    assert len(small.content.own) <= len(whole.content.own)
    if method == "last_split":
        assert len(small.content.own) < len(whole.content.own)
        middle = make(method, 0.5 * (least + whole.megabytes))
        assert middle.megabytes <= 0.5 * (least + whole.megabytes)
        assert {name.partition("/")[2] for name in small.content.own} == {"heads.last.weight", "heads.last.bias"}


# -------------------------------------------------------------------------------------------------------------- refusals
def test_what_no_cuff_reads_is_refused() -> None:
    cases: list[tuple[float, dict[str, float], str]] = [
        (-1.0, {"sbp": 120}, "seconds from the start"),
        (1.0, {}, "tells no value"),
        (1.0, {"sbp": 300}, "sbp 300 mmHg is not plausible; need 60 to 220"),
        (1.0, {"sbp": 80, "dbp": 120}, "are they swapped"),
        (1.0, {"other": float("nan")}, "is no number"),
    ]
    for at, values, message in cases:
        with pytest.raises(RecipeError, match=message):
            Reading(at, values)


def test_readings_find_their_windows_or_are_refused() -> None:
    onset, end = np.array([0.0, 4.0, 8.0, 100.0]), np.array([8.0, 12.0, 16.0, 108.0])
    rows, ordered = windows_of([Reading(130, {"sbp": 120}), Reading(7, {"sbp": 121})], onset, end, "r")
    assert rows.tolist() == [1, 3]  # of two windows around 7 s, the one whose middle is nearer
    assert [one.at_s for one in ordered] == [7, 130]
    with pytest.raises(DataError, match="r: no usable window near the reading at 57 s; the nearest is 8 to 16 s, 41 s away"):
        windows_of([Reading(57, {"sbp": 120})], onset, end, "r")
    with pytest.raises(DataError, match=r"readings at 7 and 7\.5 s belong to the same window"):
        windows_of([Reading(7, {"sbp": 120}), Reading(7.5, {"sbp": 125})], onset, end, "r")


def test_wrong_words_are_refused(make: Make, run: Path, cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no reading is given"):
        make(readings=())
    with pytest.raises(RecipeError, match="'sbb'; did you mean 'sbp'"):
        make(readings=(Reading(1.0, {"sbb": 120.0}),))
    with pytest.raises(DataError, match="no usable window near the reading at 500 s"):
        make(readings=(Reading(500.0, {"sbp": 120.0}),))
    with pytest.raises(RecipeError, match="'shrunk'; did you mean 'shrink'"):
        Wish("shrunk")
    with pytest.raises(RecipeError, match="need max_mb > 0"):
        Wish(max_mb=0.0)
    with pytest.raises(RecipeError, match=r"'difference' was not fitted for this run; it has last_split, offset"):
        make("difference")
    with pytest.raises(DataError, match="holds no fitted methods"):
        personalise_file(run, recording(cohort), tmp_path / "a", READINGS, Wish(calibrated=tmp_path))
    for word in ("12", "a:sbp=1", "1:sbp", "1:=3", "1:sbp=x"):
        with pytest.raises(RecipeError, match="write it as SECONDS"):
            read_reading(word)
    with pytest.raises(RecipeError, match="tells a target twice"):
        read_reading("1:sbp=120,sbp=121")
    with pytest.raises(RecipeError, match="'age'"):
        personalise_file(run, recording(cohort), tmp_path / "a", READINGS, told=Told(demographics={"age": 3}))
    with pytest.raises(RecipeError, match="'pgp'"):
        personalise_file(run, recording(cohort), tmp_path / "a", READINGS, told=Told({"pgp": ("PLETH",)}))


def test_a_file_that_cannot_be_right_is_refused(make: Make, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.personal"
    with pytest.raises(DataError, match="write one with personalise"):
        load(run, path)
    made = make("shrink")
    made.save(path)
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(DataError, match="was altered"):
        load(run, path)
    for broken in (b"", raw[:40], b"\x00" * 64, raw.replace(b'"__metadata__"', b'"__metadatb__"')):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="not readable as a personal file"):
            load(run, path)
    path.write_bytes(raw.replace(b'\\"format\\": 1', b'\\"format\\": 7'))
    with pytest.raises(DataError, match="has format 7"):
        load(run, path)
    replace(made, content=replace(made.content, model_sha256="0" * 64)).save(path)
    with pytest.raises(DataError, match="made with another run"):
        load(run, path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        made.save(tmp_path / "file" / "a.personal")


BROKEN: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("anchors/truth", lambda x: np.full_like(x, 1e300)),
    ("anchors/truth", lambda x: np.full_like(x, np.inf)),
    ("anchors/truth", lambda x: np.full_like(x, np.nan)),
    ("anchors/truth", lambda x: x[:, :1]),
    ("anchors/estimate", lambda x: np.full_like(x, np.nan)),
    ("anchors/waveform", lambda x: np.zeros((*x.shape[:2], 3), np.float32)),
    ("half_width", lambda x: np.full_like(x, -5.0)),
    ("half_width", lambda _: np.ones(7)),
    ("standard/scale", lambda x: x[:3]),
    ("own/a", lambda _: np.full(3, np.nan, np.float32)),
)


def test_a_file_whose_digest_is_right_and_whose_numbers_are_not_is_refused(make: Make, run: Path) -> None:
    """Whoever writes the file can write its digest, too; so the numbers themselves are looked at."""
    from safetensors.numpy import load as arrays
    from safetensors.numpy import save

    raw, spec = make("shrink").raw, Predictor.load(run).ensemble.spec
    words = personal_file._header(raw)
    added: tuple[str, Callable[[Any], Any]] = ("nothing", lambda _: np.zeros(1))
    for name, broken in (added, *BROKEN):
        numbers = arrays(raw)
        numbers[name] = np.ascontiguousarray(broken(numbers.get(name)))
        told = {**words, "sha256": personal_file._digest(numbers)}
        altered = save(numbers, metadata={personal_file.WORDS: json.dumps(told)})
        if name == "nothing":
            assert personal_file.from_bytes(altered, spec, Path("x")).anchors.record == words["record"]
            continue
        with pytest.raises(DataError, match="not readable as a personal file"):
            personal_file.from_bytes(altered, spec, Path("x"))


def test_words_that_are_nested_without_end_are_refused(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep.personal"
    path.write_bytes((100_000).to_bytes(8, "little") + b"[" * 100_000)
    with pytest.raises(DataError, match="not readable as a personal file"):
        load(run, path)


def test_features_of_another_preparation_are_refused(run: Path, cohort: Path, tmp_path: Path) -> None:
    kept = keeping.load(run / keeping.FOLDER, run / "model" / "model.json")
    other = replace(kept, standard=Standard(("x",), np.zeros(1), np.ones(1)))
    keeping.save(tmp_path, other, run / "model" / "model.json")
    with pytest.raises(DataError, match="know other features"):
        personalise_file(run, recording(cohort), tmp_path / "a", READINGS, Wish(calibrated=tmp_path))


# ------------------------------------------------------------------------------------------------------------- the verb
def test_the_verb_writes_a_file_and_says_what_is_in_it(run: Path, cohort: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    verb.register(app)
    app.callback()(lambda: None)
    words = ["personalise", str(run), str(recording(cohort)), "--reading", "4:sbp=150,dbp=90", "--reading", "20:sbp=146"]
    out = tmp_path / "a.personal"
    facts = ["--person", "age_years=61", "--channel", "ppg=PLETH", "--channel", "ecg=II"]
    done = CliRunner().invoke(app, [*words, "--out", str(out), "--method", "last_split", *facts], catch_exceptions=False)
    assert done.exit_code == 0
    assert "2 readings of s001_1, method last_split" in done.output
    assert "window at 0 s: sbp 150 (network" in done.output
    assert "tuned" in done.output
    assert load(run, out).method == "last_split"
    for more, message in ((["--person", "age"], "NAME=VALUE"), (["--person", "age_years=x"], "not a number")):
        with pytest.raises(RecipeError, match=message):
            CliRunner().invoke(app, [*words, "--out", str(out), *more], catch_exceptions=False)
