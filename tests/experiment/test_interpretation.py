"""Laws of what a run shows of itself: what a modality is worth, what the data alone say, and why a feature is never known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.experiment import interpretation
from biosig_mtl.experiment.members import CONTROL, MODEL, Estimated, Job, Result
from biosig_mtl.types import F64, Fold, Head, WindowTable
from tests.experiment.affect import memory_table
from tests.experiment.conftest import fold

SUBJECTS = [s for s in "abcd" for _ in range(6)]
FOLDS = [fold(range(12, 18), range(18, 24), range(12), number=0), fold(range(6), range(6, 12), range(12, 24), number=1)]
HEADS = (Head(), Head("binary", (5.0,)))


def table(heads: tuple[Head, ...] = HEADS) -> WindowTable:
    """Return windows whose F3 follows valence within each person, and whose F4 goes the other way."""
    rng = np.random.default_rng(4)
    person = np.repeat(np.arange(4.0), 6)
    moved = np.tile(np.arange(6.0), 4)
    values = np.stack([100 * person + moved, -50 * person - 2 * moved, rng.normal(size=24)], axis=1).astype(np.float32)
    targets = np.stack([2 + 0.8 * moved + 0.2 * person[::-1], 3 + 4.0 * (moved > 2)], axis=1).astype(np.float32)
    return memory_table(values, targets, SUBJECTS, heads)


def told(made: WindowTable, split: Fold, errors: dict[str, float], variant: str = MODEL, member: int = 0) -> Result:
    """Return the result of a network that is off by 1, with 2 classes wrong, and by so much more without each modality."""
    truth = made.targets[split.test].astype(np.float64)

    def off(by: float) -> Estimated:
        share = np.where(truth[:, [1]] > 5, [[0.2, 0.8]], [[0.8, 0.2]])
        wrong = np.arange(len(share)) < round(2 * by)
        share[wrong] = share[wrong][:, ::-1]
        return Estimated(truth + by, {"arousal": share})

    whole = off(1.0)
    return Result(
        job=Job(variant, split, member, 2, {}, (Path("s"),), Path("out")),
        test=whole.estimate,
        validation_rows=split.validation,
        validation=truth[: split.validation.size],
        fitted_rows=split.train,
        history=[],
        warnings=(),
        split_report={},
        alone=None,
        kernel_share=(),
        shares=whole.shares,
        weights={"modalities": {"eeg": 0.6 + 0.2 * split.number, "eda": 0.4 - 0.2 * split.number}},
        removed={name: off(1.0 + more) for name, more in errors.items()},
    )


def test_what_a_modality_is_worth_is_how_much_the_error_grows_without_it() -> None:
    made = table()
    results = [told(made, split, {"eeg": 1.0, "eda": 0.0}) for split in FOLDS]
    results += [told(made, split, {"eeg": 9.0, "eda": 9.0}, member=1) for split in FOLDS]
    results += [told(made, FOLDS[0], {"eeg": 9.0, "eda": 9.0}, variant=CONTROL)]
    found = interpretation.interpretation(made, FOLDS, results)["modalities"]
    assert found["names"] == ["eeg", "eda"]
    assert found["removal"]["valence"] == pytest.approx({"eeg": 1.0, "eda": 0.0}, abs=1e-5)
    assert found["learned"] == pytest.approx({"eeg": 0.7, "eda": 0.3})
    assert found["removal"]["arousal"] == pytest.approx({"eeg": 1.0, "eda": 0.0}, abs=1e-5)


def test_a_network_without_mistakes_has_no_share_of_them_to_tell() -> None:
    made = table()
    right = [told(made, split, {"eeg": 1.0}) for split in FOLDS]
    right = [replace(r, test=r.test - 1, shares={"arousal": 1.0 * (r.test[:, [1]] > 6) * [-1, 1] + [1, 0]}) for r in right]
    removal = interpretation.interpretation(made, FOLDS, right)["modalities"]["removal"]
    assert np.isnan(removal["valence"]["eeg"])
    assert np.isnan(removal["arousal"]["eeg"])


def test_a_network_without_tracks_tells_no_removal() -> None:
    made = table()
    results = [replace(told(made, split, {}), weights={}) for split in FOLDS]
    assert "modalities" not in interpretation.interpretation(made, FOLDS, results)


def by_hand(x: F64, y: F64) -> float:
    known = np.isfinite(x) & np.isfinite(y)
    return float(np.corrcoef(x[known], y[known])[0, 1])


def test_bands_are_correlated_within_people_and_not_between_them() -> None:
    made = table()
    found = interpretation.interpretation(made, FOLDS, [told(made, split, {}) for split in FOLDS])["electrodes"]
    assert found["names"] == ["F3", "F4"]
    assert found["bands"]["valence, alpha"] == pytest.approx([1.0, -1.0], abs=1e-4)
    assert found["weights"] == {}
    between = by_hand(made.values[:, 0].astype(float), made.targets[:, 0].astype(float))
    assert abs(between) < 0.3


def test_unknown_values_take_no_part_in_a_correlation() -> None:
    made = table()
    values, targets = made.values.copy(), made.targets.copy()
    values[::5, 0], targets[3::7, 0], values[:, 1] = np.nan, np.nan, np.nan
    made = replace(made, values=values, targets=targets)
    found = interpretation.interpretation(made, FOLDS, [told(table(), split, {}) for split in FOLDS])
    f3, f4 = found["electrodes"]["bands"]["valence, alpha"]
    assert 0.9 < f3 <= 1.0
    assert np.isnan(f4)
    assert found["empty"] == ["eeg_de.alpha.F4"]


def test_numbers_beside_what_is_usual_are_no_further_electrodes() -> None:
    made = table()
    twice = replace(
        made,
        values=np.concatenate([made.values, made.values], axis=1),
        names=(*made.names, *(f"{name}.past_z" for name in made.names)),
    )
    found = interpretation.interpretation(twice, FOLDS, [told(made, split, {}) for split in FOLDS])
    assert found["electrodes"]["names"] == ["F3", "F4"]


def test_weights_of_electrodes_stand_beside_bands_by_name() -> None:
    made = table()
    weighted: list[Any] = [replace(told(made, s, {}), weights={"electrodes.eeg": {"F4": 0.75, "Cz": 0.25}}) for s in FOLDS]
    found = interpretation.interpretation(made, FOLDS, weighted)["electrodes"]
    assert found["names"] == ["F4", "Cz", "F3"]
    assert found["weights"] == {"eeg": [0.75, 0.25, None]}
    assert found["bands"]["valence, alpha"][1] is None


def test_a_feature_that_is_never_known_has_a_reason() -> None:
    reasons = {"ppg_prv.rmssd_ms": "30 s are too short", "eeg_de.delta": "the data set has lost it"}
    found = interpretation.with_reasons(
        {"empty": ["ppg_prv.rmssd_ms", "eeg_de.delta.F3", "eda.scl", "ppg_prv.rmssd_ms.past_z"], "modalities": 1}, reasons
    )
    assert found["modalities"] == 1
    assert "empty" not in found
    assert found["reasons"] == {
        "ppg_prv.rmssd_ms": "30 s are too short",
        "eeg_de.delta.F3": "the data set has lost it",
        "eda.scl": "unknown in every window",
        "ppg_prv.rmssd_ms.past_z": "30 s are too short",
    }
    assert interpretation.with_reasons({"modalities": 1}, reasons) == {"modalities": 1}
