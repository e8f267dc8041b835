"""Sets with other montages share one model: what one has and the other has not is absent, never zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biosig_mtl import experiment, pipeline, store
from biosig_mtl.data.affect_cohort import AffectCohort, write
from biosig_mtl.data.affect_eeg import MONTAGES
from biosig_mtl.recipe import find_shipped, from_dict, load

GENEVA = list(MONTAGES["geneva"])
EMOTIV = list(MONTAGES["emotiv"])


@pytest.mark.slow
def test_a_network_learns_on_14_electrodes_and_answers_on_32(tmp_path: Path) -> None:
    cohorts = {
        "simulated_affect": AffectCohort(n_subjects=5, n_stimuli=4, clip_s=12, montage="emotiv"),
        "simulated_geneva": AffectCohort(n_subjects=3, n_stimuli=4, clip_s=12, montage="geneva", seed=9),
    }
    other = tmp_path / "simulated_geneva.yaml"
    text = find_shipped("simulated_affect", "data_manifests", "manifest").read_text(encoding="utf-8")
    other.write_text(text.replace("name: simulated_affect", "name: simulated_geneva", 1), encoding="utf-8")
    named = {"simulated_affect": "simulated_affect", "simulated_geneva": str(other)}
    content = load("demo_affect").to_dict()
    eeg = [*EMOTIV, *(name for name in GENEVA if name not in EMOTIV)]
    content["data"] = {"dataset": "simulated_affect", "test_dataset": "simulated_geneva"}
    content["windows"] |= {"optional": eeg[len(EMOTIV) :], "trails": {"eda": 20}}
    content["features"] |= {
        "eeg": eeg, "families": ["eeg_de", "eda"],
        "tracks": {"eeg": {"channels": eeg, "hz": 64}, "eda": {"channels": ["eda"], "hz": 4}},
    }  # fmt: skip
    content["split"] = {"scheme": "transfer", "negative_control": False}
    content["model"] |= {"width": 8, "heads": 2, "montage": True, "linear_skip": False}
    content["training"] = {"epochs": 1, "batch_size": 32}
    recipe = from_dict(content)
    stores = []
    for name, cohort in cohorts.items():
        root = write(cohort, tmp_path / name)
        stores.append(pipeline.prepare(recipe, root, tmp_path / "stores", dataset=named[name]))
    there = [np.asarray(np.isfinite(np.asarray(store.read(s).tracks["eeg"].signal)).all(axis=2)) for s in stores]
    assert there[0][:, : len(EMOTIV)].all()
    assert not there[0][:, len(EMOTIV) :].any()
    assert there[1].all()
    table = store.read(stores[0])
    lacking = [n.endswith(tuple(f".{e}" for e in eeg[len(EMOTIV) :])) for n in table.names]
    assert np.isnan(np.asarray(table.values)[:, lacking]).all()
    scores = experiment.run(recipe, stores, tmp_path / "run")
    assert scores.content["n_subjects"] == 3
    assert np.isfinite([scores.content["targets"][t]["mae"] for t in ("valence", "arousal")]).all()
    assert scores.audit_passed
