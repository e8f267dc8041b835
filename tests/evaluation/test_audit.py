"""The audit: an honest run passes, and each planted fault fails its own check."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.evaluation import audit, duplicates, promises
from biosig_mtl.evaluation.audit import Control, Evidence, Fitted, Inputs
from biosig_mtl.tasks import AFFECT, BLOOD_PRESSURE
from biosig_mtl.types import Check, Fold, Guarantee, Head, Predictions
from biosig_mtl.windows.identity import fingerprints

SUBJECTS, EACH, FOLDS = 12, 6, 3
N = SUBJECTS * EACH
SUBJECT = np.repeat([f"s{i:02d}" for i in range(SUBJECTS)], EACH)
WAVEFORM = np.cumsum(np.random.default_rng(0).normal(size=(N, 2, 400)), axis=2).astype(np.float32)


def folds(seed: int = 0) -> tuple[Fold, ...]:
    order = np.random.default_rng(seed).permutation(SUBJECTS)
    group = np.repeat(np.argsort(order) % FOLDS, EACH)
    rows = [np.nonzero(group == i)[0] for i in range(FOLDS)]
    return tuple(Fold(rows[(i + 2) % 3], rows[(i + 1) % 3], rows[i], number=i, seed=seed) for i in range(FOLDS))


def predict(given: tuple[Fold, ...], seeds: tuple[int, ...] = ()) -> Predictions:
    parts = [(fold.test, fold.number, s) for fold in given for s in seeds or (fold.seed,)]
    row = np.concatenate([rows for rows, _, _ in parts])
    return Predictions(
        row=row,
        fold=np.concatenate([np.full(rows.size, number) for rows, number, _ in parts]),
        seed=np.concatenate([np.full(rows.size, seed) for rows, _, seed in parts]),
        subject=SUBJECT[row], onset_s=row * 8.0, y_true=np.ones((row.size, 2)), y_pred=np.ones((row.size, 2)),
        target_names=("sbp", "dbp"),
    )  # fmt: skip


def honest(**words: Any) -> Evidence:
    given = words.pop("folds", folds())
    content: dict[str, Any] = {
        "window_id": np.array([f"w{i}" for i in range(N)]), "fingerprints": fingerprints(WAVEFORM[:, 0]), "waveform": WAVEFORM,
        "inputs": Inputs(("pulse.rise_s", "hr.mean_bpm", "person.age"), ("ppg_8hz", "ecg_40hz"), ("ppg", "ecg"), ("sbp_sd",)),
        "fitted": tuple(Fitted("scaler", f.train, f.number, f.seed) for f in given), "predictions": predict(given),
        "negative_control": {"sbp": Control(1.0, (0.97, 1.03)), "dbp": Control(0.99, (0.96, 1.02))},
        "mase": {"sbp": 0.9, "dbp": 0.95}, "floor": {"sbp": 0.6, "dbp": 0.6},
    }  # fmt: skip
    return Evidence(BLOOD_PRESSURE, given, SUBJECT, **{**content, **words})


def failed(evidence: Evidence) -> dict[str, str]:
    return {check.name: check.detail for check in audit.run(evidence, np.random.default_rng(0)) if not check.passed}


def test_an_honest_run_passes_every_check() -> None:
    checks = audit.run(honest(), np.random.default_rng(0))
    assert all(isinstance(check, Check) and check.passed for check in checks), [c for c in checks if not c.passed]
    assert [check.name for check in checks] == [
        "split_scheme", "subject_overlap", "subject_level", "equal_windows", "near_equal_windows", "near_equal_waveforms",
        "fitted_outside_training", "barred_inputs", "predictions_complete", "negative_control", "too_good",
    ]  # fmt: skip
    assert all("\n" not in check.detail for check in checks)


def test_several_splits_pass_too() -> None:
    assert failed(honest(folds=folds(0) + folds(1))) == {}


def test_what_was_not_handed_over_is_not_passed() -> None:
    bare = Evidence(BLOOD_PRESSURE, folds(), SUBJECT)
    assert set(failed(bare)) == {
        "equal_windows", "near_equal_windows", "near_equal_waveforms", "fitted_outside_training", "barred_inputs",
        "predictions_complete",
    }  # fmt: skip
    assert "negative_control" not in {check.name for check in audit.run(bare, np.random.default_rng(0))}


def test_a_random_split_is_a_labelled_leak() -> None:
    group = np.arange(N) % FOLDS
    rows = [np.nonzero(group == i)[0] for i in range(FOLDS)]
    leaky = tuple(Fold(rows[(i + 2) % 3], rows[(i + 1) % 3], rows[i], number=i, leaky=True) for i in range(FOLDS))
    found = failed(honest(folds=leaky))
    assert found["split_scheme"] == (
        "random-window split: windows of 12 of 12 subjects are in both train and test — a labelled leak demonstration"
    )
    assert found["subject_overlap"].startswith("12 of 12 subjects in two parts of one of 3 folds (first: s00, s01, s02 …)")


@pytest.mark.parametrize(("source", "into"), [("test", "train"), ("test", "validation"), ("validation", "train")])
def test_a_subject_in_two_parts_is_named(source: str, into: str) -> None:
    first, *rest = folds()
    moved = first.parts()[source][:1]
    parts = {**first.parts(), source: first.parts()[source][1:], into: np.append(first.parts()[into], moved)}
    bad = Fold(parts["train"], parts["validation"], parts["test"])
    detail = failed(honest(folds=(bad, *rest)))["subject_overlap"]
    assert detail.startswith("1 of 12 subjects")
    assert SUBJECT[moved[0]] in detail


def test_calibration_may_share_subjects_with_test_but_no_windows() -> None:
    first, *rest = folds()
    early, late = first.test[::EACH], np.setdiff1d(first.test, first.test[::EACH])
    good = (replace(first, calibration=early, test=late), *rest)
    assert failed(honest(folds=good)) == {}
    bad = (replace(first, calibration=early), *rest)
    assert "windows twice in a fold" in failed(honest(folds=bad))["subject_overlap"]
    worse = (replace(first, calibration=first.train[:1]), *rest)
    assert "subject_overlap" in failed(honest(folds=worse))


def test_records_instead_of_persons_need_the_recipes_word() -> None:
    assert "set data.allow_record_level" in failed(honest(subject_level="record"))["subject_level"]
    assert "unknown" in failed(honest(subject_level="unknown"))["subject_level"]
    accepted = honest(subject_level="record", allow_record_level=True)
    assert "stamped" in audit.subject_level(accepted).detail
    assert failed(accepted) == {}


def test_an_equal_window_in_another_part_is_found() -> None:
    ids = np.array([f"w{i}" for i in range(N)])
    same_subject = ids.copy()
    same_subject[1] = same_subject[0]
    assert failed(honest(window_id=same_subject)) == {}
    ids[-1] = ids[0]
    assert failed(honest(window_id=ids))["equal_windows"].startswith("2 windows have an identical copy")


def test_a_shifted_copy_is_found_by_its_fingerprints() -> None:
    raw = WAVEFORM[:, 0].copy()
    raw[-1, 60:] = raw[0, :-60]
    found = failed(honest(fingerprints=fingerprints(raw)))
    assert set(found) == {"near_equal_windows"}
    assert found["near_equal_windows"].startswith(f"2 of {N} windows share waveform")
    assert "s00, s11" in found["near_equal_windows"]


def test_a_test_pattern_of_the_device_is_no_leak_and_is_told() -> None:
    raw = WAVEFORM[:, 0].copy()
    raw[::EACH, 100:300] = np.cumsum(np.random.default_rng(9).normal(size=200)).astype(np.float32)
    check = audit.near_equal_windows(honest(fingerprints=fingerprints(raw)))
    assert check.passed
    assert "12 hold a pattern of three or more subjects" in check.detail


def test_windows_without_fingerprint_are_told() -> None:
    marks = fingerprints(WAVEFORM[:, 0])
    marks[:5] = 0
    assert audit.near_equal_windows(honest(fingerprints=marks)).detail.endswith("5 have no fingerprint")


def test_a_rescaled_copy_is_found_by_correlation() -> None:
    wave = WAVEFORM.copy()
    wave[-1, 0] = 3 * wave[0, 0] - 5
    found = failed(honest(waveform=wave))
    assert found["near_equal_waveforms"].startswith(
        "1 pairs in two parts of a fold correlate ≥ 0.999 (compared: all 72 windows)"
    )


def test_a_sample_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "LIMIT", 20)
    assert "a random 20 of 72 windows" in audit.near_equal_waveforms(honest(), np.random.default_rng(0)).detail


def test_fitting_on_a_test_window_is_found() -> None:
    first = folds()[0]
    bad = Fitted("label mean", np.append(first.train, first.test[0]), 0)
    assert "label mean saw 1 windows outside train of fold 0" in failed(honest(fitted=(bad,)))["fitted_outside_training"]
    late = Fitted("early stopping", np.append(first.train, first.validation), 0, parts=("train", "validation"))
    check = audit.fitted_outside_training(honest(fitted=(late,)))
    assert check.passed
    assert "(early stopping: and validation)" in check.detail
    assert "no fold 9" in failed(honest(fitted=(Fitted("scaler", first.train, 9),)))["fitted_outside_training"]
    with pytest.raises(ValueError, match="train and validation, got test"):
        Fitted("scaler", first.test, 0, parts=("test",))


@pytest.mark.parametrize(
    "name",
    [
        "abp.rise_s", "pulse.abp_ratio", "sbp", "x.map", "fact.lag", "pat.lag_samples", "ppg_abp_corr", "label_sd",
        "dbp_median", "sbp_sd", "q.n_beats",
    ],
)  # fmt: skip
def test_what_comes_from_the_reference_is_barred(name: str) -> None:
    inputs = Inputs(("pulse.rise_s", name), ("ppg_8hz",), ("ppg",), ("sbp_sd", "q.n_beats"))
    assert f"1 of 2 features and 1 channels come from the reference: {name}" in failed(honest(inputs=inputs))["barred_inputs"]


def test_reference_channels_are_barred_by_name_and_by_kind() -> None:
    inputs = Inputs(("pulse.map_like",), ("ppg_8hz", "abp_8hz", "art"), ("ppg", "abp"))
    assert failed(honest(inputs=inputs))["barred_inputs"].endswith("abp_8hz, kind abp")


@pytest.mark.parametrize(
    ("mase", "ci95", "passed"),
    [
        (1.0, (0.9, 1.1), True),
        (0.95, (0.93, 0.97), True),
        (0.94, (0.80, 1.08), True),
        (0.94, (0.90, 0.98), False),
        (0.5, (0.4, 0.6), False),
        (0.94, (float("nan"), float("nan")), False),
        (float("nan"), (0.9, 1.1), False),
    ],
)
def test_the_negative_control_fails_on_a_clear_gain_only(mase: float, ci95: tuple[float, float], *, passed: bool) -> None:
    control = {"sbp": Control(mase, ci95), "dbp": Control(1.0, (0.9, 1.1))}
    check = audit.negative_control(honest(negative_control=control))
    assert check.passed is passed
    assert ("leak into sbp" in check.detail) is (not passed and bool(np.isfinite(mase)))
    assert ("no figure tells it for sbp" in check.detail) is bool(np.isnan(mase))


def test_the_negative_control_must_speak_of_every_target() -> None:
    assert "not run for dbp" in failed(honest(negative_control={"sbp": Control(1.0, (0.9, 1.1))}))["negative_control"]


def test_too_good_warns_and_never_fails() -> None:
    check = audit.too_good(honest(mase={"sbp": 0.3, "dbp": 0.9}))
    assert check.passed
    assert check.detail.startswith("warning: sbp MASE 0.30 (floor 0.60)")
    assert "no floor is known" in audit.too_good(honest(floor={})).detail


def test_every_test_window_is_predicted_once() -> None:
    good = predict(folds())

    def told(**words: Any) -> str:
        return failed(honest(predictions=replace(good, **words)))["predictions_complete"]

    fields = ("row", "fold", "seed", "subject", "onset_s", "y_true", "y_pred")
    short = {name: getattr(good, name)[1:] for name in fields}
    assert "1 missing, 0 of windows outside their test part, 0 double" in told(**short)
    twice = {name: np.concatenate([getattr(good, name), getattr(good, name)[:2]]) for name in fields}
    assert "0 missing, 0 of windows outside their test part, 2 double" in told(**twice)
    moved = good.fold.copy()
    moved[0] = 1 - moved[0] if moved[0] < 2 else 0
    assert "1 missing, 1 of windows outside" in told(fold=moved)
    silent = good.y_pred.copy()
    silent[3, 1] = np.nan
    assert "1 not finite" in told(y_pred=silent)


def test_training_seeds_must_each_predict_every_fold() -> None:
    given = folds()
    assert failed(honest(predictions=predict(given, (5, 6)))) == {}
    parts = predict(given, (5, 6))
    keep = ~((parts.seed == 6) & (parts.fold == 2))
    fields = ("row", "fold", "seed", "subject", "onset_s", "y_true", "y_pred")
    lost = replace(parts, **{name: getattr(parts, name)[keep] for name in fields})
    assert f"{given[2].test.size} missing" in failed(honest(predictions=lost))["predictions_complete"]


# ---------------------------------------------------------------------------------------------------------- what is promised
NEW_PEOPLE = Guarantee(("subject", "trial", "window"), True, "nobody who is tested was learned from")
NEW_STIMULI = Guarantee(("stimulus", "trial", "window"), False, "people are shared, clips are not")
LATER = Guarantee(("window", "past"), False, "only what comes later is tested")
STIMULUS = np.tile(np.repeat(["clip0", "clip1", "clip2"], 2), SUBJECTS)
TRIAL = np.array([f"{a}/{b}" for a, b in zip(SUBJECT, STIMULUS, strict=True)])
SPANS = audit.Spans(SUBJECT, np.tile(np.arange(EACH) * 8.0, SUBJECTS), np.tile(np.arange(EACH) * 8.0 + 8.0, SUBJECTS))


def promised(guarantee: Guarantee, given: tuple[Fold, ...] = (), **words: Any) -> Evidence:
    """Return evidence of a run that says of every window which trial, stimulus and seconds it is."""
    facts = {"trial": TRIAL, "stimulus": STIMULUS, "spans": SPANS, **words}
    return honest(folds=given or folds(), guarantee=guarantee, **facts)


def by_clip() -> tuple[Fold, ...]:
    """Folds over clips: everybody is in all parts; the later part of the other clips chooses."""
    rows = [np.flatnonzero(f"clip{i}" == STIMULUS) for i in range(3)]
    return tuple(Fold(rows[(i + 2) % 3], rows[(i + 1) % 3], rows[i], number=i, unit="stimulus") for i in range(3))


def in_time() -> Fold:
    """Of every recording the first two windows teach, the third chooses, a gap, and the last two are tested."""
    turn = np.tile(np.arange(EACH), SUBJECTS)
    return Fold(np.flatnonzero(turn < 2), np.flatnonzero(turn == 2), np.flatnonzero(turn > 3), unit="time")


def test_a_kept_promise_is_told() -> None:
    checks = {c.name: c for c in audit.run(promised(NEW_PEOPLE), np.random.default_rng(0))}
    assert all(c.passed for c in checks.values()), [c for c in checks.values() if not c.passed]
    assert checks["protocol_guarantee"].detail == (
        "nobody who is tested was learned from (never on both sides: subject, trial, window; 3 folds looked at)"
    )
    assert checks["trial_overlap"].detail == "none of 36 trials is in two parts of one of 3 folds"
    assert failed(promised(NEW_STIMULI, by_clip())) == {}
    assert failed(promised(LATER, (in_time(),))) == {}


def test_a_protocol_that_tests_known_people_must_have_said_so() -> None:
    said = audit.subject_overlap(promised(NEW_STIMULI, by_clip()))
    assert said.passed
    assert said.detail.startswith("12 of 12 subjects in two parts")
    assert "not subject-independent: this protocol tests people it has learned from: people are shared" in said.detail
    unsaid = failed(honest(folds=by_clip()))
    assert "subject_overlap" in unsaid
    broken = failed(promised(NEW_PEOPLE, by_clip()))
    assert "subject_overlap" in broken
    assert "fold 0: subject 's00' is in train and in test" in broken["protocol_guarantee"]
    first, *rest = by_clip()
    doubled = (replace(first, calibration=first.test[:1]), *rest)
    assert "1 windows twice in a fold" in audit.subject_overlap(promised(NEW_STIMULI, doubled)).detail
    assert not audit.subject_overlap(promised(NEW_STIMULI, doubled)).passed


@pytest.mark.parametrize(("source", "into"), [("test", "train"), ("test", "validation"), ("validation", "train")])
def test_a_stimulus_on_both_sides_is_named(source: str, into: str) -> None:
    first, *rest = by_clip()
    moved = first.parts()[source][:2]
    parts = {**first.parts(), source: first.parts()[source][2:], into: np.append(first.parts()[into], moved)}
    bad = replace(first, train=parts["train"], validation=parts["validation"], test=parts["test"])
    detail = failed(promised(NEW_STIMULI, (bad, *rest)))["protocol_guarantee"]
    assert f"stimulus '{STIMULUS[moved[0]]}'" in detail


def test_a_trial_in_two_parts_fails_whatever_is_said_of_people() -> None:
    """Random windows of one trial on both sides: the leak that gives any score one likes."""
    group = np.arange(N) % FOLDS
    rows = [np.nonzero(group == i)[0] for i in range(FOLDS)]
    leaky = tuple(Fold(rows[(i + 2) % 3], rows[(i + 1) % 3], rows[i], number=i, leaky=True) for i in range(FOLDS))
    for guarantee in (NEW_PEOPLE, NEW_STIMULI, Guarantee((), False, "nothing is promised")):
        found = failed(promised(guarantee, leaky))
        assert (
            "windows belong to one of 36 trials that another part has; fold 0: trial 's00/clip1' is in train and in test"
            in found["trial_overlap"]
        )
        assert "split_scheme" in found
    assert "trial_overlap" in failed(honest(folds=leaky, trial=TRIAL))
    assert "protocol_guarantee" not in failed(honest(folds=leaky, trial=TRIAL))


def test_a_cut_through_a_trial_must_follow_time() -> None:
    good = in_time()
    check = audit.trial_overlap(promised(LATER, (good,), trial=SUBJECT))
    assert check.passed
    assert check.detail == "36 windows come later in a trial that was learned from; no sample is on both sides"
    late = replace(good, train=good.test, test=good.train)
    detail = failed(promised(LATER, (late,), trial=SUBJECT))["trial_overlap"]
    assert "break the order of time; fold 0: record 's00', the test window at 0 s lies before the end" in detail
    longer = replace(SPANS, end_s=SPANS.end_s + 16.0)
    shared = failed(promised(LATER, (good,), trial=SUBJECT, spans=longer))
    assert set(shared) == {"trial_overlap", "protocol_guarantee"}
    assert "nothing to look at" in failed(promised(LATER, (good,), trial=SUBJECT, spans=None))["trial_overlap"]


def test_a_shared_sample_is_found_in_both_directions() -> None:
    """Windows that overlap by half: neighbours in two parts share four seconds, whichever comes first."""
    half = audit.Spans(SUBJECT, SPANS.start_s / 2, SPANS.start_s / 2 + 8.0)
    first = folds()[0]
    assert "protocol_guarantee" not in failed(promised(NEW_PEOPLE, spans=half))
    for rows in (first.test[:1], first.test[EACH - 1 : EACH]):
        moved = replace(first, train=np.append(first.train, rows), test=np.setdiff1d(first.test, rows))
        guarantee = Guarantee(("window",), False, "no sample twice")
        detail = audit.protocol_guarantee(promised(guarantee, (moved,), spans=half)).detail
        assert "fold 0: a sample of record" in detail
        assert audit.protocol_guarantee(promised(guarantee, (moved,))).passed


def test_the_twin_of_a_fold_must_be_innocent() -> None:
    first = folds()[0]
    good = replace(in_time(), twin=first)
    assert audit.protocol_guarantee(promised(LATER, (good,))).passed
    bad = replace(first, train=np.append(first.train, first.test[0]))
    detail = failed(promised(LATER, (replace(good, twin=bad),)))["protocol_guarantee"]
    assert "the uncalibrated twin of fold 0: subject" in detail


def test_a_promise_that_nobody_could_check_is_not_kept() -> None:
    for word, unit in (("stimulus", "stimulus"), ("trial", "trial"), ("spans", "window")):
        check = audit.protocol_guarantee(promised(NEW_STIMULI, by_clip(), **{word: None}))
        assert not check.passed
        assert check.detail == f"nothing to look at: the run handed over no {unit}"
    assert not audit.protocol_guarantee(honest()).passed
    assert "handed over no trials" in audit.trial_overlap(promised(NEW_PEOPLE, trial=None)).detail
    unknown = Guarantee(("moon",), True, "the moon is another")
    assert "no moon" in audit.protocol_guarantee(promised(unknown)).detail
    nameless = np.where(STIMULUS == "clip1", "", STIMULUS)
    assert "without a stimulus" in failed(promised(NEW_STIMULI, by_clip(), stimulus=nameless))["protocol_guarantee"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_what_two_parts_share_is_what_a_look_at_every_pair_finds(seed: int) -> None:
    """Windows of uneven length in three recordings, some of them nested in others."""
    rng = np.random.default_rng(seed)
    n = 40
    start = rng.integers(0, 200, n) / 4
    spans = audit.Spans(rng.choice(["a", "b", "c"], n), start, start + rng.integers(1, 40, n) / 8)
    part = rng.integers(0, 5, n)
    rows = [np.flatnonzero(part == i) for i in range(4)]
    fold = Fold(rows[0], rows[1], rows[2], calibration=rows[3])
    unit = rng.choice([f"t{i}" for i in range(15)], n)
    shared: set[int] = set()
    same: set[int] = set()
    early: set[int] = set()
    pairs = [("train", "validation"), *((x, y) for x in ("train", "validation") for y in ("calibration", "test"))]
    for one, other in [*pairs, ("calibration", "test")]:
        for i in fold.parts()[one]:
            for j in fold.parts()[other]:
                if spans.record[i] == spans.record[j] and min(spans.end_s[i], spans.end_s[j]) > max(start[i], start[j]):
                    shared.add(j)
                if (one, other) in pairs and unit[i] == unit[j]:
                    same.add(j)
                if (one, other) in pairs[1:] and spans.record[i] == spans.record[j] and start[j] < spans.end_s[i]:
                    early.add(j)
    for found, expected in (
        (promises.same_samples(spans, [fold, fold]), shared),
        (promises.same_unit(unit, "trial", [fold, fold]), same),
        (promises.out_of_order(spans, [fold, fold]), early),
    ):
        assert (found.windows if found else 0) == 2 * len(expected)


def test_spans_come_from_the_table_and_tell_data_sets_apart() -> None:
    import pandas as pd

    from biosig_mtl.types import WindowTable

    columns = {"record": ["r", "r"], "dataset": ["one", "two"], "onset_s": [0.0, 4.0], "end_s": [8.0, 12.0]}
    none = np.empty((2, 0), np.float32)
    table = WindowTable(pd.DataFrame(columns), none, (), none[:, None], (), 1.0, none, ())
    spans = audit.spans_of(table)
    assert spans.record.tolist() == ["one/r", "two/r"]
    assert (spans.start_s.tolist(), spans.end_s.tolist()) == ([0, 4], [8, 12])
    del columns["dataset"]
    assert audit.spans_of(replace(table, index=pd.DataFrame(columns))).record.tolist() == ["r", "r"]


# ------------------------------------------------------------------------------------------------------------------ of affect
def test_windows_without_the_channel_are_counted_and_not_compared() -> None:
    wave = WAVEFORM.copy()
    wave[:6, 0] = np.nan
    assert (
        "(compared: all 72 windows, 6 of them without the channel)"
        in audit.near_equal_waveforms(honest(waveform=wave), np.random.default_rng(0)).detail
    )
    wave[-1, 0] = 3 * wave[20, 0] - 5
    assert failed(honest(waveform=wave))["near_equal_waveforms"].startswith("1 pairs")
    assert "nothing to look at" in failed(honest(waveform=np.full_like(wave, np.nan)))["near_equal_waveforms"]
    assert "nothing to look at" in failed(honest(waveform=None))["near_equal_waveforms"]
    # A recipe of features alone stores none.
    alone = audit.near_equal_waveforms(honest(waveform=wave[:, :0]), np.random.default_rng(0))
    assert alone.passed
    assert "see near_equal_windows" in alone.detail


def test_probabilities_must_add_up() -> None:
    good = replace(predict(folds()), target_names=("valence", "arousal"), heads=(Head(), Head("binary", (5.0,))))
    shares = np.tile([0.25, 0.75], (N, 1))
    assert audit.predictions_complete(honest(predictions=replace(good, probabilities={"arousal": shares}))).passed
    for wrong in (np.nan, 0.9, -0.25):
        bad = shares.copy()
        bad[3, 0] = wrong
        detail = failed(honest(predictions=replace(good, probabilities={"arousal": bad})))["predictions_complete"]
        assert detail.endswith("1 rows of probabilities that do not add up to 1")


def test_the_control_of_classes_and_of_ratings() -> None:
    chance = (Control(1.0, (0.9, 1.1)), Control(0.01, (-0.1, 0.1), "ccc", 0.0))
    classes = Control(0.5, (0.45, 0.55), "balanced_accuracy", 0.5)
    good = {"valence": chance, "arousal": (classes,)}
    given = replace(honest(), task=AFFECT, negative_control=good, predictions=None)
    check = audit.negative_control(given)
    assert check.passed
    assert check.detail.endswith(
        "valence MASE 1.000 (0.900–1.100), CCC 0.010 (-0.100–0.100), arousal balanced accuracy 0.500 (0.450–0.550); "
        "no better than chance"
    )
    leak = Control(0.8, (0.7, 0.9), "balanced_accuracy", 0.5)
    bad = audit.negative_control(replace(given, negative_control={"valence": chance, "arousal": leak}))
    assert not bad.passed
    assert bad.detail.endswith("the labels leak into arousal")
    assert not audit.negative_control(replace(given, negative_control={"valence": chance, "arousal": ()})).passed
    part = replace(predict(folds()), target_names=("valence",))
    assert audit.negative_control(replace(given, negative_control={"valence": chance}, predictions=part)).passed


def test_stimuli_that_were_drawn_by_trial_may_choose_and_teach_but_never_test() -> None:
    """Validation is drawn by trials of the same clips: what choosing shares with learning is no breach, what tests is."""
    first = by_clip()[0]
    half = np.flatnonzero(np.isin(SUBJECT, [f"s{i:02d}" for i in range(6)]))
    learned = np.concatenate([first.train, first.validation])
    mixed = replace(first, train=np.setdiff1d(learned, half), validation=np.intersect1d(learned, half), unit="trial")
    promise = Guarantee(("stimulus",), False, "clips are new")
    assert audit.protocol_guarantee(promised(promise, (mixed,))).passed
    assert not audit.protocol_guarantee(promised(promise, (replace(mixed, unit="stimulus"),))).passed
