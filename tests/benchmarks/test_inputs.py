"""What the detectors are tried on is what it says: counts of the annotators, an hour a level, one kind a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import inputs, peers


@pytest.mark.parametrize(
    ("record", "beats", "length_s"),
    # Beats by the tables of the MIT-BIH Arrhythmia Database (2273 and 2572 in 30:06 min).
    [("100", 2273, 1805.6), ("105", 2572, 1805.6)],
)
def test_the_annotated_leads_have_the_published_number_of_beats(
    data_root: Path, record: str, beats: int, length_s: float
) -> None:
    lead = inputs.mit_bih(data_root, record)
    assert lead.truth_s.size == beats
    assert lead.length_s == pytest.approx(length_s, abs=0.1)
    assert (np.diff(lead.truth_s) > 0).all()


def test_the_noise_stress_record_is_two_minutes_at_360_hz(data_root: Path) -> None:
    lead = inputs.noise_stress(data_root)
    assert (lead.length_s, lead.truth_s.size) == (120.0, 162)
    assert lead.truth_s.max() < lead.length_s


def test_pulses_have_the_truth_of_r_peaks_that_two_peers_agree_on(data_root: Path) -> None:
    if reason := peers.missing("neurokit2") or peers.missing("sleepecg"):
        pytest.skip(reason)
    sets = inputs.real(data_root, "ppg")
    whole, parts = sets["BIDMC 01"][0], sets["BIDMC 01 readable"]
    # 730 R peaks in 8 min, the last one less than 0.8 s before the end.
    assert whole.truth_s.size == 729
    assert sum(part.length_s for part in parts) == pytest.approx(whole.length_s - 12.4)
    assert whole.truth_s.size - sum(part.truth_s.size for part in parts) < 24
    assert len(sets["MIMIC-III"]) >= 20
    for part in sets["MIMIC-III"]:
        assert np.isfinite(part.samples).all()
        assert part.truth_s.max() < part.length_s - 0.8


def test_each_level_is_an_hour_with_the_same_beats() -> None:
    clean, heavy = (inputs.simulated(level) for level in ("clean", "heavy"))
    assert sum(part.length_s for part in clean if part.kind == "ppg") == 3600
    assert {part.kind for part in inputs.every(None, "ecg")["simulated heavy"]} == {"ecg"}
    for one, other in zip(clean, heavy, strict=True):
        np.testing.assert_array_equal(one.truth_s, other.truth_s)
        assert not np.array_equal(one.samples, other.samples)
