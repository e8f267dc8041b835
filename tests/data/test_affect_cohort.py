"""Laws of the simulated cohort of film clips: real files, known truth, right signs, same bytes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from biosig_mtl.data import affect_cohort, manifest
from biosig_mtl.data.affect_cohort import AffectCohort, Session, simulate, truth, write
from biosig_mtl.data.affect_course import COURSE_HZ, course, moods, trials
from biosig_mtl.data.affect_eeg import MONTAGES, place
from biosig_mtl.data.listing import Listing
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.signal.beats import DetectBeats
from biosig_mtl.signal.filters import Bandpass
from biosig_mtl.tasks import AFFECT
from biosig_mtl.types import F64, Trail, Windows
from biosig_mtl.windows import Windowing, cut

SMALL = AffectCohort(n_subjects=2, n_stimuli=4, clip_s=8, rest_s=3)


@pytest.fixture(scope="module")
def crowd() -> list[Session]:
    """Return the sessions of some people on whom moods have three times their usual effect."""
    return [simulate(AffectCohort(n_stimuli=12, clip_s=30, effect=3.0), number) for number in range(8)]


@pytest.fixture(scope="module")
def unmoved() -> list[Session]:
    """Return the sessions of the same people on whom moods have no effect."""
    return [simulate(AffectCohort(n_stimuli=12, clip_s=30, effect=0.0), number) for number in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(SMALL, tmp_path_factory.mktemp("cohort") / "simulated_affect")


@pytest.fixture(scope="module")
def listing(folder: Path) -> Listing:
    return manifest.entries(manifest.load("simulated_affect"), folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ------------------------------------------------------------------------------------------------------------- settings
@pytest.mark.parametrize(
    ("nonsense", "words"),
    [
        ({"n_subjects": 0}, "n_subjects >= 1"),
        ({"n_stimuli": 0}, "n_stimuli >= 1"),
        ({"clip_s": 5}, "8 <= clip_s"),
        ({"rest_s": 0}, "2 <= rest_s"),
        ({"montage": "cap"}, "need montage emotiv or geneva"),
        ({"eeg_format": "fif"}, "edf, bdf or both"),
        ({"effect": -1}, "0 <= effect"),
        ({"seed": -1}, "seed >= 0"),
    ],
)
def test_nonsense_is_refused_at_birth(nonsense: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(AffectCohort(), **nonsense)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------- files
def test_the_same_settings_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    assert contents(write(SMALL, tmp_path / "again")) == contents(folder)
    other = contents(write(replace(SMALL, seed=1), tmp_path / "other"))
    assert other["sim01/session_e4.zip"] != contents(folder)["sim01/session_e4.zip"]


def test_a_second_call_does_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affect_cohort, "_write_all", lambda *_: pytest.fail("written again"))
    assert write(SMALL, folder) == folder


def test_a_person_does_not_depend_on_how_many_others_there_are() -> None:
    few, many = (simulate(replace(SMALL, n_subjects=n), 1) for n in (2, 9))
    assert_array_equal(few.eeg, many.eeg)
    assert_array_equal(few.wrist.streams["BVP"], many.wrist.streams["BVP"])


def test_every_trial_is_listed_with_its_ratings(folder: Path, listing: Listing) -> None:
    rows = {r["record"]: r for r in csv.DictReader((folder / "trials.csv").read_text().splitlines())}
    assert not listing.rejected
    assert len(listing) == 8 == len(rows)
    assert {e.path.suffix for e in listing.entries} == {".edf", ".bdf"}
    for entry in listing.entries:
        row = rows[entry.record]
        assert (entry.subject, entry.stimulus) == tuple(entry.record.split("/"))
        told = {label.name: (label.value, label.unit, label.source) for label in entry.labels}
        assert told == {name: (float(row[name]), "1..9", "self") for name in ("valence", "arousal")}
    assert set(truth(folder)) == set(rows)


@pytest.mark.parametrize("number", [0, 1])
def test_files_hold_what_was_simulated_at_its_time(listing: Listing, number: int) -> None:
    """Both devices are cut at the same instant, though each has a clock of its own; EDF and BDF in turn."""
    session = simulate(SMALL, number)
    for entry in listing.entries[4 * number : 4 * number + 4]:
        record = open_source(entry).read()
        k = [f"clip{n + 1:02d}" for n in session.trials.stimulus].index(entry.stimulus)
        start = session.trials.start_s[k] - SMALL.rest_s
        assert record.baseline_s == (0, SMALL.rest_s)
        assert record.duration_s == SMALL.rest_s + SMALL.clip_s
        for name, x in zip(session.channels, session.eeg, strict=True):
            first = round(start * 128)
            channel = record.channels[name]
            assert (channel.kind, channel.unit, channel.fs) == ("eeg", "uV", 128)
            assert_allclose(channel.samples, x[first : first + channel.samples.size], atol=0.0501)
        streams = {"ppg": "BVP", "eda": "EDA", "temp": "TEMP"}
        for name, stream in streams.items():
            channel = record.channels[name]
            first = round((start + session.early_s) * channel.fs)
            assert_allclose(channel.samples, session.wrist.streams[stream][first : first + channel.samples.size], atol=0.0051)
        assert_allclose(record.channels["acc_z"].samples[:5] * 64, np.rint(record.channels["acc_z"].samples[:5] * 64))


def test_the_wristband_alone_is_an_export(folder: Path) -> None:
    record = open_source(entry_for(folder / "sim01/session_e4.zip")).read()
    session = simulate(SMALL, 0)
    assert record.duration_s == session.trials.length_s + session.early_s
    rates = {name: (c.kind, c.unit, c.fs) for name, c in record.channels.items()}
    assert rates["ppg"] == ("ppg", "NU", 64)
    assert rates["eda"] == ("eda", "uS", 4)
    known = np.isfinite(record.channels["hr"].samples)
    assert not known[:10].any()
    assert known[10:-1].all()
    true = 60 / np.diff(session.wrist.beats_s).mean()
    assert record.channels["hr"].samples[known].mean() == pytest.approx(true, rel=0.05)


def test_thirty_two_electrodes_too(tmp_path: Path) -> None:
    cohort = replace(SMALL, n_subjects=1, montage="geneva", eeg_format="bdf")
    folder = write(cohort, tmp_path / "c")
    record = open_source(entry_for(folder / "sim01/session.bdf")).read()
    assert tuple(record.channels) == MONTAGES["geneva"]
    assert len(record.channels) == 32
    listed = manifest.entries(manifest.load("simulated_affect"), folder)
    kinds = [c.kind for c in open_source(listed.entries[0]).channels.values()]
    assert kinds.count("eeg") == 32


@pytest.mark.parametrize("montage", MONTAGES)
def test_electrodes_lie_left_right_front_and_back(montage: str) -> None:
    at = {name: place(name) for name in MONTAGES[montage]}
    assert len(set(at.values())) == len(at)
    for left, right in (("F3", "F4"), ("AF3", "AF4"), ("T7", "T8"), ("O1", "O2")):
        assert at[left][0] == -at[right][0] < 0
        assert at[left][1] == at[right][1]
    assert at["AF3"][1] > at["F3"][1] > at["T7"][1] > at["P7"][1] > at["O1"][1]


# ----------------------------------------------------------------------------------------------------------------- truth
def test_clips_lie_in_all_quadrants_and_all_see_them() -> None:
    valence, arousal = moods(np.random.default_rng(0), 12)
    quadrants = np.unique(2 * (valence > 0) + (arousal > 0), return_counts=True)[1]
    assert_array_equal(quadrants, [3, 3, 3, 3])
    seen = [simulate(SMALL, k).trials.stimulus for k in range(5)]
    assert {tuple(sorted(s)) for s in seen} == {(0, 1, 2, 3)}
    assert len({tuple(s) for s in seen}) > 1


def test_ratings_follow_what_is_felt_and_people_rate_in_their_own_way(crowd: list[Session]) -> None:
    for target in ("valence", "arousal"):
        felt = np.concatenate([getattr(s.trials, target) for s in crowd])
        rated = np.concatenate([getattr(s.trials, f"{target}_rating") for s in crowd])
        assert rated.min() >= 1
        assert rated.max() <= 9
        assert 0.9 < np.corrcoef(felt, rated)[0, 1] < 0.99
    slopes = [np.polyfit(s.trials.valence, s.trials.valence_rating, 1)[0] for s in crowd]
    assert max(slopes) - min(slopes) > 0.3


def test_rest_is_neutral_and_a_mood_comes_up_within_seconds() -> None:
    session = trials(np.random.default_rng(1), moods(np.random.default_rng(0), 8), 5.0, 30.0)
    felt = course(session)
    for k, start in enumerate(session.start_s):
        rest = (felt.t_s > start - 5) & (felt.t_s < start)
        shown = (felt.t_s > start + 15) & (felt.t_s < start + 30)
        assert np.abs(felt.valence[rest]).max() < 0.3
        assert_allclose(felt.valence[shown], session.valence[k], atol=0.05)
        assert (felt.trial[rest | shown] == k).all()


# --------------------------------------------------------------------------------------------------------------- effects
def per_trial(session: Session, values: F64, hz: float, ahead_s: float = 0.0) -> F64:
    """Return the mean of a course over the last 20 s of every clip, less the mean of its session."""
    at = np.round((session.trials.stop_s + ahead_s) * hz).astype(int)
    means = np.array([np.nanmean(values[stop - round(20 * hz) : stop]) for stop in at])
    return np.asarray(means - means.mean())


def band_power(session: Session, name: str, low: float, high: float) -> F64:
    """Return the logarithm of power in a band of one electrode over the last 20 s of every clip."""
    x = session.eeg[session.channels.index(name)]
    out = []
    for stop in np.round(session.trials.stop_s * 128).astype(int):
        part = x[stop - 20 * 128 : stop].astype(np.float64)
        power = np.abs(np.fft.rfft(part * np.hanning(part.size))) ** 2
        hz = np.fft.rfftfreq(part.size, 1 / 128)
        out.append(np.log(power[(hz >= low) & (hz < high)].sum()))
    return np.asarray(np.array(out) - np.mean(out))


def effects(session: Session) -> dict[str, tuple[F64, F64]]:
    """Return what each mood ought to move: felt, and what is seen, both by trial."""
    ahead, streams = session.early_s, session.wrist.streams
    t_s = np.arange(streams["EDA"].size) / 4
    frequent = np.bincount(np.floor(session.wrist.responses_s * 4).astype(int), minlength=t_s.size).astype(float)
    beats = session.wrist.beats_s
    pace = np.interp(t_s, beats[1:], 60 / np.diff(beats))
    beta_alpha = sum(band_power(session, n, 14, 31) - band_power(session, n, 8, 13) for n in ("O1", "O2", "P7", "P8"))
    valence, arousal = session.trials.valence, session.trials.arousal
    return {
        "asymmetry": (valence, band_power(session, "F4", 8, 13) - band_power(session, "F3", 8, 13)),
        "beta over alpha": (arousal, np.asarray(beta_alpha)),
        "responses": (arousal, per_trial(session, frequent, 4, ahead)),
        "rate": (arousal, per_trial(session, pace, 4, ahead)),
        "level": (arousal, per_trial(session, np.log(streams["EDA"].astype(float)), 4, ahead)),
    }


def correlation(pairs: list[tuple[F64, F64]]) -> float:
    """Return the correlation of the two members of all pairs, end to end."""
    felt, seen = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
    return float(np.corrcoef(felt, seen)[0, 1])


def test_moods_move_signals_in_the_direction_told(crowd: list[Session], unmoved: list[Session]) -> None:
    moved, still = [[effects(s) for s in group] for group in (crowd, unmoved)]
    for name in moved[0]:
        r, none = (correlation([e[name] for e in group]) for group in (moved, still))
        assert r > 0.5, name
        assert abs(none) < 0.3, name


def test_people_differ_by_more_than_moods_do() -> None:
    everyone = [simulate(AffectCohort(n_stimuli=4, clip_s=10), k) for k in range(12)]
    level = np.array([s.wrist.streams["EDA"].mean() for s in everyone])
    pace = np.array([60 / np.diff(s.wrist.beats_s).mean() for s in everyone])
    assert np.log(level).std() > 0.4
    assert pace.std() > 5


# ---------------------------------------------------------------------------------------------------------- what is found
def test_responses_of_the_skin_can_be_found() -> None:
    session = simulate(AffectCohort(n_stimuli=8, clip_s=40), 1)
    x = session.wrist.streams["EDA"]
    count = x.size // 240
    trail = Trail("eda", "eda", 4.0, x[: count * 240].reshape(count, 240), np.ones(count, np.float32))
    made = extract(windows_of(trail), FeatureSettings(("eda",)), AFFECT)
    found = made.values[:, made.names.index("eda.scr_per_min")]
    true = np.bincount((session.wrist.responses_s // 60).astype(int), minlength=count)[:count]
    # Responses that ride on others, and the smallest, are missed.
    assert 0.5 * true.sum() < found.sum() <= 1.1 * true.sum()
    assert np.corrcoef(true, found)[0, 1] > 0.6


def windows_of(trail: Trail) -> Windows:
    n = len(trail.signal)
    nothing = np.zeros((n, 1, 4), np.float32)
    none = np.full((n, 2), np.nan, np.float32)
    sqi = np.ones((n, 1), np.float32)
    onset = np.arange(n, dtype=np.float64)
    names = ("valence", "arousal")
    return Windows("r", "s", "1", 4.0, onset, nothing, ("AF3",), ("eeg",), sqi, none, names, trails={trail.channel: trail})


def test_the_pulse_has_the_beats_that_were_put_in(listing: Listing) -> None:
    steps = (
        Bandpass(channel="ppg", name="ppg_8hz", low_hz=0.5, high_hz=8),
        DetectBeats(channel="ppg_8hz"),
    )
    entry = listing.entries[0]
    wrist = replace(entry, path=entry.path.with_name("session_e4.zip"), format="e4", channels={"ppg": ("BVP",)}, options={})
    record = open_source(wrist).read()
    for step in steps:
        record = step(record)
    found = record.beats["ppg_8hz"].onset / 64
    true = simulate(SMALL, 0).wrist.beats_s
    true = true[(true > 5) & (true < record.duration_s - 5)]
    near = np.abs(found[:, None] - true).min(axis=0)
    assert (near < 0.08).mean() > 0.95


# ------------------------------------------------------------------------------------------- new people, and no shortcut
def told(cohort: AffectCohort, root: Path) -> tuple[F64, F64, F64]:
    """Return features of the EEG, ratings and number of the subject of every window."""
    names = MONTAGES[cohort.montage]
    settings = FeatureSettings(("eeg_de",), eeg=names)
    windowing = Windowing(4.0, channels=names, label="record")
    rows, ratings, who = [], [], []
    for entry in manifest.entries(manifest.load("simulated_affect"), write(cohort, root)).entries:
        eeg = replace(entry, channels={n: (n,) for n in names})
        windows = cut(open_source(eeg).read(), windowing, AFFECT)
        rows.append(extract(windows, settings, AFFECT).values.astype(np.float64))
        ratings.append(windows.targets.astype(np.float64))
        who.append(np.full(len(windows), float(entry.subject[3:])))
    return np.concatenate(rows), np.concatenate(ratings), np.concatenate(who)


def ccc_on_new_people(x: F64, y: F64, who: F64) -> F64:
    """Return Lin's concordance of a ridge regression for every target, each person told by the others."""
    made = np.empty_like(y)
    for person in np.unique(who):
        test = who == person
        level, spread = x[~test].mean(axis=0), x[~test].std(axis=0)
        z = (x - level) / spread
        mean = y[~test].mean(axis=0)
        weight = np.linalg.solve(z[~test].T @ z[~test] + 100 * np.eye(x.shape[1]), z[~test].T @ (y[~test] - mean))
        made[test] = z[test] @ weight + mean
    apart = (y.mean(axis=0) - made.mean(axis=0)) ** 2
    together = ((y - y.mean(axis=0)) * (made - made.mean(axis=0))).mean(axis=0)
    return np.asarray(2 * together / (y.var(axis=0) + made.var(axis=0) + apart))


def test_moods_of_new_people_can_be_told_but_not_where_there_is_no_effect(tmp_path: Path) -> None:
    """CCC of 0.4 and more by a straight line on one family of features; none without effect or with ratings shuffled."""
    cohort = AffectCohort(n_subjects=12, n_stimuli=8, clip_s=20, eeg_format="edf")
    x, y, who = told(cohort, tmp_path / "moved")
    assert (ccc_on_new_people(x, y, who) > 0.4).all()
    trial = np.unique(np.column_stack([who, y]), axis=0, return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(trial.max() + 1)
    first = np.array([np.flatnonzero(trial == k)[0] for k in range(trial.max() + 1)])
    assert (np.abs(ccc_on_new_people(x, y[first][order][trial], who)) < 0.15).all()
    still = told(replace(cohort, effect=0.0), tmp_path / "unmoved")
    assert (np.abs(ccc_on_new_people(*still)) < 0.15).all()


def test_the_course_is_fine_enough_for_all_rates() -> None:
    assert all((rate / COURSE_HZ).is_integer() or (COURSE_HZ / rate).is_integer() for rate in (128.0, 64.0, 32.0, 4.0, 1.0))
