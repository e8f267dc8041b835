"""Laws of the simulated cohort: known truth, right signs, same bytes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.data import cohort_folder, manifest, synthetic
from biosig_mtl.data.physiology import Circulation, circulate, ecg_wave, pulse_wave, volume_shape
from biosig_mtl.data.synthetic import COMMENT, FAULTS, MARKER, Cohort, SimulatedRecord, faults, people, simulate, site, write
from biosig_mtl.types import DataError

SMALL = Cohort(n_subjects=3, records_per_subject=2, record_s=12, fault_share=0)


@pytest.fixture(scope="module")
def sound() -> list[SimulatedRecord]:
    """One record without fault of each of 40 people."""
    cohort = Cohort(n_subjects=40, records_per_subject=1, record_s=120, fault_share=0)
    return [record for number in range(40) for record in simulate(cohort, number)]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


# ------------------------------------------------------------------------------------------------------------- settings
@pytest.mark.parametrize(
    ("nonsense", "words"),
    [
        ({"n_subjects": 0}, "n_subjects >= 1"),
        ({"records_per_subject": 0}, "records_per_subject >= 1"),
        ({"record_s": 5}, "10 <= record_s"),
        ({"fs_hz": 20}, "50 <= fs_hz"),
        ({"seed": -1}, "seed >= 0"),
        ({"fault_share": 1.5}, "shares between 0 and 1"),
        ({"second_site_share": -0.1}, "shares between 0 and 1"),
    ],
)
def test_nonsense_is_refused_at_birth(nonsense: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(Cohort(), **nonsense)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------- physiology
def test_the_population_has_the_declared_spread() -> None:
    crowd = people(Cohort(n_subjects=2000))
    sbp, dbp, age = (np.array([getattr(p, name) for p in crowd]) for name in ("sbp_mmhg", "dbp_mmhg", "age_years"))
    assert sbp.mean() == pytest.approx(125, abs=2)
    assert sbp.std() == pytest.approx(20, abs=2)
    assert dbp.mean() == pytest.approx(70, abs=1.5)
    assert dbp.std() == pytest.approx(11, abs=1.5)
    assert 0.25 < np.corrcoef(age, sbp)[0, 1] < 0.6
    assert 0.4 < np.corrcoef(sbp, dbp)[0, 1] < 0.7
    assert (sbp - dbp).min() >= 25


def test_arrival_time_falls_as_pressure_rises_within_a_person_and_says_less_across_people(sound: list[SimulatedRecord]) -> None:
    pat = [r.truth.pat_s for r in sound]
    sbp = [r.truth.sbp_mmhg for r in sound]
    within = np.corrcoef(np.concatenate([x - x.mean() for x in pat]), np.concatenate([x - x.mean() for x in sbp]))[0, 1]
    across = np.corrcoef([x.mean() for x in pat], [x.mean() for x in sbp])[0, 1]
    assert within < -0.5
    assert abs(across) < abs(within) - 0.2


def test_pressure_moves_within_a_record_but_stays_plausible(sound: list[SimulatedRecord]) -> None:
    spread = [np.ptp(r.truth.sbp_mmhg) for r in sound]
    assert 12 < np.median(spread) < 40
    for record in sound:
        assert record.truth.sbp_mmhg.max() < 220
        assert record.truth.dbp_mmhg.min() > 30
        assert (record.truth.sbp_mmhg - record.truth.dbp_mmhg).min() > 10


def test_the_pressure_channel_shows_the_true_pressures(sound: list[SimulatedRecord]) -> None:
    for record in sound[:10]:
        abp, truth = record.channels["ABP"], record.truth
        for foot_s, end_s, sbp, dbp in zip(truth.foot_s, truth.end_s, truth.sbp_mmhg, truth.dbp_mmhg, strict=True):
            beat = abp[round(foot_s * 125) : round(end_s * 125)]
            assert beat.max() == pytest.approx(sbp, abs=0.01)
            assert beat[:3].min() == pytest.approx(dbp, abs=1.0)


def test_beats_follow_each_other_and_the_wave_comes_after_its_r_peak(sound: list[SimulatedRecord]) -> None:
    for record in sound:
        truth = record.truth
        np.testing.assert_allclose(truth.end_s[:-1], truth.foot_s[1:])
        assert (truth.r_s < truth.foot_s).all()
        assert (truth.foot_s < truth.ppg_foot_s).all()
        assert 0.15 < truth.pat_s.mean() < 0.45


def test_the_r_peak_is_the_highest_point_of_the_electrocardiogram_around(sound: list[SimulatedRecord]) -> None:
    tall = [r for r, who in zip(sound, people(Cohort(fault_share=0)), strict=True) if who.ecg_mv[2] > 3 * who.ecg_mv[4]]
    assert len(tall) > 10
    for record in tall:
        ecg, at = record.channels["II"], np.round(record.truth.r_s[1:-1] * 125).astype(int)
        quiet = ~record.motion[at]
        around = ecg[at[quiet][:, None] + np.arange(-12, 13)]
        assert np.abs(around.argmax(axis=1) - 12).max() <= 1


def test_the_pulse_is_zero_at_feet_and_one_at_its_highest() -> None:
    who = people(SMALL)[0]
    foot_s = np.array([0.0, 0.8, 1.5, 2.5])
    flow = Circulation(*(np.full(4, x) for x in (0.0, 0.8, 120.0, 70.0, 0.25, 0.2, 0.25)))
    t_s = np.linspace(0, 2.5, 5001)[:-1]
    wave, beat = pulse_wave(t_s, foot_s, volume_shape(who, flow))
    feet, _ = pulse_wave(foot_s[:-1], foot_s, volume_shape(who, flow))
    np.testing.assert_allclose(feet, 0, atol=1e-9)
    for number in range(3):
        assert wave[beat == number].max() == pytest.approx(1, abs=2e-3)


def test_the_echo_comes_sooner_under_higher_pressure() -> None:
    rng = [np.random.default_rng(1) for _ in range(2)]
    who = people(SMALL)[0]
    calm = circulate(rng[0], who, 30)
    tense = circulate(rng[1], replace(who, sbp_mmhg=who.sbp_mmhg + 20, dbp_mmhg=who.dbp_mmhg + 12), 30)
    assert tense.echo_s.mean() < calm.echo_s.mean()
    assert tense.pat_s.mean() < calm.pat_s.mean()


def test_a_wave_of_one_beat_only_is_a_sum_of_gaussians() -> None:
    t_s = np.arange(0, 1, 0.002)
    wave = ecg_wave(t_s, np.array([0.5]), np.array([1.0]), np.array([0.0, 0.0, 1.0, 0.0, 0.0]))
    np.testing.assert_allclose(wave, np.exp(-(((t_s - 0.5) / 0.0115) ** 2) / 2), atol=1e-12)


def test_premature_beats_come_early_and_weak() -> None:
    who = replace(people(SMALL)[0], ectopic_share=0.1)
    flow = circulate(np.random.default_rng(0), who, 300)
    gap = np.diff(flow.r_s)
    early = np.flatnonzero(gap < 0.8 * np.median(gap)) + 1
    assert early.size > 10
    assert np.median(flow.sbp_mmhg[early]) < np.median(flow.sbp_mmhg) - 10


# -------------------------------------------------------------------------------------------------------------- chance
def test_the_same_number_gives_the_same_arrays_whatever_the_size_of_the_cohort() -> None:
    a, b = simulate(SMALL, 1)[0], simulate(replace(SMALL, n_subjects=9), 1)[0]
    for name, x in a.channels.items():
        np.testing.assert_array_equal(x, b.channels[name])


def test_other_files_mean_another_version_of_the_simulator() -> None:
    # Own output of version 1, coarse enough for any machine. If it changes, raise SIMULATOR, or old cohorts are taken for new.
    (record,) = simulate(Cohort(n_subjects=1, records_per_subject=1, record_s=30, fault_share=0), 0)
    found = [round(float(x), 2) for x in (record.truth.sbp_mmhg.mean(), record.truth.dbp_mmhg.mean())]
    waves = [round(float(record.channels[name].std()), 3) for name in ("PLETH", "II")]
    assert (synthetic.SIMULATOR, found, waves) == (1, [110.05, 67.01], [0.315, 0.15])


def test_other_seeds_sessions_and_people_differ() -> None:
    one, two = simulate(SMALL, 0)
    other_seed, other_person = simulate(replace(SMALL, seed=1), 0)[0], simulate(SMALL, 1)[0]
    for record in (two, other_seed, other_person):
        assert not np.allclose(one.channels["ABP"], record.channels["ABP"])


# -------------------------------------------------------------------------------------------------------------- faults
def test_every_declared_fault_is_there() -> None:
    cohort = Cohort(n_subjects=6, records_per_subject=1, record_s=40, fault_share=1)
    assert sorted(faults(cohort).values()) == sorted(FAULTS)
    found = {record.fault: record for number in range(6) for record in simulate(cohort, number)}
    flat = np.diff(found["flat"].channels["PLETH"]) == 0
    assert flat.mean() > 0.4
    ppg = found["clipped"].channels["PLETH"]
    assert 0.13 < (ppg == ppg.max()).mean() < 0.17
    assert all(0.2 < np.isnan(x).mean() < 0.3 for x in found["gap"].channels.values())
    assert set(found["dropped"].channels) == {"II", "ABP"}
    short = found["short"]
    assert short.channels["II"].size == short.motion.size == 625
    assert short.truth.end_s.max() < 5
    assert (found["flushed"].channels["ABP"] == 185).mean() > 0.6


def test_the_share_of_faults_is_kept() -> None:
    cohort = Cohort(n_subjects=50, fault_share=0.08)
    broken = faults(cohort)
    assert len(broken) == 8
    for (number, session), fault in broken.items():
        assert simulate(replace(cohort, record_s=10), number)[session - 1].fault == fault


def test_motion_disturbs_where_it_is_marked() -> None:
    moving = [r for n in range(12) for r in simulate(Cohort(n_subjects=12, fault_share=0, record_s=60), n) if r.motion.any()]
    assert moving
    for record in moving:
        step = np.abs(np.diff(record.channels["PLETH"]))
        assert np.quantile(step[record.motion[1:]], 0.99) > 0.7 * np.quantile(step[~record.motion[1:]], 0.99)


def test_the_second_site_is_slower_fainter_and_late() -> None:
    one, two = (Cohort(n_subjects=1, fault_share=0, second_site_share=share, record_s=30) for share in (0, 1))
    assert (site(one, 0), site(two, 0)) == (1, 2)
    assert people(two)[0].age_years >= people(one)[0].age_years
    who = replace(people(one)[0], motion_per_min=0.0)
    here, there = (synthetic._sensors(np.random.default_rng(0), who, one, second=second) for second in (False, True))
    np.testing.assert_allclose(there[1].pat_s - here[1].pat_s, 0.015, atol=1e-9)
    assert there[0]["PLETH"].std() < 0.7 * here[0]["PLETH"].std()
    np.testing.assert_array_equal(there[0]["ABP"], here[0]["ABP"])


# ---------------------------------------------------------------------------------------------------------------- disk
def test_what_is_written_is_read_back_by_wfdb(tmp_path: Path) -> None:
    import wfdb

    cohort = Cohort(n_subjects=6, records_per_subject=1, record_s=20, fault_share=1)
    folder = write(cohort, tmp_path / "cohort")
    for number in range(6):
        (record,) = simulate(cohort, number)
        read = wfdb.rdrecord(str(folder / record.subject / record.name))
        assert read.comments == [COMMENT]
        assert read.fs == 125
        assert read.sig_name == list(record.channels)
        for position, (name, x) in enumerate(record.channels.items()):
            np.testing.assert_allclose(read.p_signal[:, position], x, atol=0.006 if name == "ABP" else 2e-4)


def test_the_tables_list_what_was_simulated(tmp_path: Path) -> None:
    cohort = replace(SMALL, fault_share=0.34, second_site_share=0.34)
    folder = write(cohort, tmp_path / "cohort")
    rows = table(folder / "records.csv")
    assert [r["record"] for r in rows] == ["s001_1", "s001_2", "s002_1", "s002_2", "s003_1", "s003_2"]
    assert [r["site"] for r in rows] == ["1", "1", "1", "1", "2", "2"]
    assert sum(r["fault"] != "" for r in rows) == 2
    assert all((folder / f"{r['path']}.hea").is_file() for r in rows)
    subjects = table(folder / "subjects.csv")
    assert [s["subject"] for s in subjects] == ["s001", "s002", "s003"]
    truth = table(folder / "truth.csv")
    first = [float(r["sbp_mmhg"]) for r in truth if r["record"] == "s001_1"]
    np.testing.assert_allclose(first, simulate(cohort, 0)[0].truth.sbp_mmhg, atol=1e-4)


def test_the_manifest_finds_every_record(tmp_path: Path) -> None:
    folder = write(SMALL, tmp_path / "cohort")
    facts = manifest.load("simulated_bp")
    listing = manifest.entries(facts, manifest.locate(facts, folder))
    assert (len(listing.entries), listing.rejected) == (6, ())
    assert {e.subject for e in listing.entries} == {"s001", "s002", "s003"}
    assert set(listing.entries[0].demographics) == {"age_years", "sex_male", "height_cm", "weight_kg"}
    assert facts.simulated
    assert facts.subject_level == "person"
    assert "SIMULATED" in facts.title


def test_same_settings_same_bytes(tmp_path: Path) -> None:
    assert contents(write(SMALL, tmp_path / "a")) == contents(write(SMALL, tmp_path / "b"))
    assert contents(write(replace(SMALL, seed=1), tmp_path / "c")) != contents(tmp_path / "a")


def test_a_second_call_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(SMALL, tmp_path / "cohort")
    monkeypatch.setattr(synthetic, "_write_all", lambda *_: pytest.fail("written again"))
    assert write(SMALL, tmp_path / "cohort") == folder


def test_a_damaged_or_other_cohort_is_replaced_and_nothing_is_left_behind(tmp_path: Path) -> None:
    folder = write(SMALL, tmp_path / "cohort")
    whole = contents(folder)
    (folder / "s001" / "s001_1.dat").unlink()
    assert contents(write(SMALL, folder)) == whole
    assert contents(write(replace(SMALL, seed=4), folder)) != whole
    assert [p.name for p in tmp_path.iterdir()] == ["cohort"]


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="something else than a simulated cohort"):
        write(SMALL, tmp_path)
    with pytest.raises(DataError, match="something else"):
        write(SMALL, tmp_path / "thesis.txt")
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_nobody_sees_half_a_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "write_csv", dies)
    with pytest.raises(KeyboardInterrupt):
        write(SMALL, tmp_path / "cohort")
    assert list(tmp_path.iterdir()) == []


def test_of_two_writers_the_faster_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = write(SMALL, tmp_path / "done")
    whole = contents(done)

    def meanwhile(cohort: Cohort, made: Path) -> None:
        del cohort
        (made / "half").touch()
        done.replace(tmp_path / "cohort")

    monkeypatch.setattr(synthetic, "_write_all", meanwhile)
    monkeypatch.setattr(cohort_folder, "_clear", lambda _: None)
    assert contents(write(SMALL, tmp_path / "cohort")) == whole


def test_a_marker_that_is_not_ours_counts_as_no_cohort(tmp_path: Path) -> None:
    folder = write(SMALL, tmp_path / "cohort")
    marker = json.loads((folder / MARKER).read_text())
    assert marker["what"] == COMMENT
    (folder / MARKER).write_text("[]")
    write(SMALL, folder)
    assert json.loads((folder / MARKER).read_text()) == marker
