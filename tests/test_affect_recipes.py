"""Every recipe of feelings and stress, from files as the data sets have them to a graded run and its report."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import cli, experiment, features, pipeline, recipe, report, store
from biosig_mtl.data import manifest
from biosig_mtl.data.readers import open_source
from biosig_mtl.models import baselines
from biosig_mtl.types import Record, Windows
from tests.affect_cases import CASES, TINY, WHOLE, Prepared, preparer
from tests.affect_sets import SETS

SHIPPED = sorted(p.stem for p in (Path(__file__).parents[1] / "pipelines").glob("*.yaml"))
QUICK = ("case_affect", "stress_predict")
# Hearts beat 60 to 85 times a minute, chests move 15 times, skins conduct 4 µS and more.
PLAUSIBLE = {
    "ecg_hrv.rate_per_min": (55, 90),
    "ppg_prv.rate_per_min": (55, 90),
    "resp.rate_per_min": (14, 17),
    "eda.scl_mean_us": (3, 12),
    "temp.mean_degc": (32, 36),
}
WITH_REST = ("deap_affect", "dreamer_affect", "amigos_affect", "mahnob_affect")


@pytest.fixture(scope="module")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Prepared]]:
    yield from preparer(tmp_path_factory)


@pytest.fixture(scope="module", params=list(CASES))
def prepared(request: pytest.FixtureRequest, prepare: Callable[[str], Prepared]) -> Prepared:
    return prepare(request.param)


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int | str | None, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


# ------------------------------------------------------------------------------------------------------- without any data
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_checks(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "check", name)
    assert (code, err) == (0, "")
    assert "features: " in out


def test_every_recipe_of_feelings_and_stress_is_tried_here() -> None:
    read = {name: recipe.load(name) for name in SHIPPED}
    assert {n for n, r in read.items() if r.task in {"affect", "stress"} and not n.startswith("demo")} == set(CASES)
    assert {r.data.dataset for n, r in read.items() if n in CASES} == set(SETS)


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("seed_valence", ["model.answers={arousal: {}}"], "seed has no arousal (valence: class of the clip"),
        ("seed_valence", ["model.answers={valence: {}, arousal: {}}"], "seed has no arousal .*; answer valence alone"),
        ("seed_valence", ["data.dataset=seed_iv"], "seed_iv has no valence .*; choose another data set"),
        ("dasps_affect", ["data.dataset=gameemo"], "gameemo has no valence (no labels at all)"),
        ("deap_affect", ["data.dataset=faced"], "faced has no arousal .*; answer valence alone"),
        ("stress_predict", ["data.dataset=deap"], "deap has no stress"),
        ("wesad_stress", ["task=affect"], "unknown target (model.answers) 'stress'"),
    ],
)
@pytest.mark.parametrize("verb", ["check", "prepare"])
def test_a_target_that_a_set_does_not_have_is_refused_in_one_line(
    verb: str, name: str, overrides: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for override in overrides for word in ("--set", override)]
    place = ["--store", tmp_path / "s", "--data", tmp_path] if verb == "prepare" else []
    code, out, err = call(capsys, verb, name, *place, *words)
    assert (code, out) == (2, "")
    assert re.search(re.escape(said).replace(re.escape(".*"), ".*"), err)
    assert err.count("\n") == 1
    assert not (tmp_path / "s").exists()


# --------------------------------------------------------------------------------------------------- from files to windows
def test_every_record_is_used_or_refused_with_its_reason(prepared: Prepared) -> None:
    told = store.summary(prepared.folder)
    used = set(prepared.table.index["record"])
    rows = store.read_rejected(prepared.folder)
    whole = {record: reason for record, onset, reason in rows if onset == WHOLE}
    assert told["records"] == prepared.made.records
    # A record may lose all its windows, each for a reason of its own.
    emptied = {record for record, _, _ in rows} - used - set(whole)
    assert len(used) + len(whole) + len(emptied) == prepared.made.records
    assert set(whole) == set(prepared.made.refused)
    for record, reason in whole.items():
        assert prepared.made.refused[record] in reason
        assert str(prepared.root) not in reason
    reasons = [reason for _, onset, reason in rows if onset != WHOLE]
    assert {reason: reasons.count(reason) for reason in reasons} == prepared.case.refused
    assert len(prepared.table) == told["windows"] == prepared.case.windows


def test_a_copy_of_the_data_elsewhere_gives_the_same_store(prepared: Prepared, tmp_path: Path) -> None:
    moved = shutil.copytree(prepared.root, tmp_path / "elsewhere")
    folder = pipeline.prepare(prepared.recipe, moved, tmp_path / "stores")
    assert folder.name == prepared.folder.name
    for name in ("store.json", "rejected.csv", "plan.json"):
        assert (folder / name).read_bytes() == (prepared.folder / name).read_bytes()
    assert store.verify(folder) == []


def test_windows_have_the_ratings_that_were_written(prepared: Prepared) -> None:
    index, table = prepared.table.index, prepared.table
    rated = [prepared.made.rated(*row) for row in zip(index["record"], index["onset_s"], strict=True)]
    wanted = np.array(rated)[:, -1:] if prepared.recipe.task == "stress" else np.array(rated)[:, :2]
    np.testing.assert_allclose(table.targets, wanted, atol=1e-4)
    assert table.target_names == (("stress",) if prepared.recipe.task == "stress" else ("valence", "arousal"))
    # Nothing is rated alike on both, or by all: a swap would show.
    assert np.unique(wanted[np.isfinite(wanted[:, 0])][:, 0]).size > 1
    if prepared.name == "kemocon_affect":
        # Means of two neighbouring ratings of 1, 3, 5, 7 or 9.
        np.testing.assert_array_equal(table.targets, np.round(table.targets))
    if np.isfinite(wanted).all() and wanted.shape[1] == 2:
        assert np.abs(wanted[:, 0] - wanted[:, 1]).mean() > 0.5


def test_trials_are_what_was_shown_to_one_person(prepared: Prepared) -> None:
    table = prepared.table
    assert np.unique(table.subject).size == 4
    assert np.unique(table.trial).size == prepared.case.trials
    if not prepared.case.refused and prepared.name != "case_affect":
        # One trial has one rating.
        assert np.unique(np.column_stack([table.trial, table.targets[:, 0]]), axis=0).shape[0] == prepared.case.trials


def test_features_are_those_that_the_recipe_names(prepared: Prepared) -> None:
    names, channels = pipeline.check(prepared.recipe, manifest.load(prepared.recipe.data.dataset).channel_infos())
    assert prepared.table.names == names
    assert prepared.table.waveform_channels == channels
    assert {name.partition(".")[0] for name in names} == set(prepared.recipe.features["families"])
    tracks = prepared.recipe.features["tracks"]
    assert set(prepared.table.tracks) == set(tracks)
    for name, track in prepared.table.tracks.items():
        assert list(track.channels) == list(tracks[name]["channels"])


def test_a_feature_is_known_wherever_its_trail_is_long_enough_and_nowhere_else(prepared: Prepared) -> None:
    made = pipeline.preparation(prepared.recipe)
    behind_s = prepared.table.index["onset_s"].to_numpy() + made.windowing.length_s
    why = pipeline.reasons(prepared.recipe, manifest.load(prepared.recipe.data.dataset).channel_infos())
    for name, values in zip(prepared.table.names, np.asarray(prepared.table.values).T, strict=True):
        least_s = np.inf if name in why else features.least_length_s.get(name, 0.0)
        lacking = {record for record, family in prepared.made.unknown.items() if name.startswith(f"{family}.")}
        there = ~np.isin(prepared.table.index["record"].to_numpy(dtype=str), list(lacking))
        np.testing.assert_array_equal(np.isfinite(values), (behind_s >= least_s) & there, err_msg=name)
    for name, values in zip(prepared.table.names, np.asarray(prepared.table.values).T, strict=True):
        low, high = PLAUSIBLE.get(name, (-np.inf, np.inf))
        assert np.nanmin(values, initial=high) >= low, name
        assert np.nanmax(values, initial=low) <= high, name


# ------------------------------------------------------------------------------------------------- the rest before a stimulus
def rests(prepared: Prepared, made: pipeline.Preparation) -> Iterator[tuple[str, Record, Windows]]:
    """Yield each record with the windows of its rest, cut by hand: they end with the rest, half a window apart."""
    entries = manifest.entries(manifest.load(prepared.recipe.data.dataset), prepared.root).entries
    for entry in entries:
        record = open_source(entry).read()
        described = record
        for step in made.steps:
            described = step(described)
        assert record.baseline_s is not None
        start_s, stop_s = record.baseline_s
        length_s = min(made.windowing.length_s, stop_s - start_s)
        onsets = np.arange(stop_s - length_s, start_s - 1e-9, -length_s / 2)[::-1]
        channels = made.windowing.channels
        fs = described.channel(channels[0]).fs
        parts = [[described.channel(c).samples[round(t * fs) : round((t + length_s) * fs)] for c in channels] for t in onsets]
        nothing = np.full((len(parts), 2), np.nan, np.float32)
        yield (
            entry.record,
            record,
            Windows(
                record=entry.record,
                subject=entry.subject,
                session="",
                fs=fs,
                onset_s=onsets,
                signal=np.array(parts, np.float32),
                channels=channels,
                kinds=("eeg",) * len(channels),
                sqi=np.ones((len(parts), len(channels)), np.float32),
                targets=nothing,
                target_names=("valence", "arousal"),
            ),
        )


@pytest.mark.parametrize("name", WITH_REST)
def test_the_mean_of_the_rest_is_taken_from_features_of_the_eeg_alone(name: str, prepare: Callable[[str], Prepared]) -> None:
    ready = prepare(name)
    assert ready.recipe.features["baseline"] == "subtract"
    made = pipeline.preparation(ready.recipe)
    plain = replace(made, features=replace(made.features, baseline="none"))
    families = tuple(f for f in made.features.families if f.startswith("eeg"))
    at_rest = replace(made.features, baseline="none", families=families, tracks={})
    brain = [j for j, n in enumerate(ready.table.names) if n.startswith("eeg")]
    others = [j for j in range(len(ready.table.names)) if j not in brain]
    records = ready.table.index["record"].to_numpy()
    compared = 0
    for record, raw, rest in rests(ready, made):
        if compared == 3:
            break
        _, _, given = plain.apply(raw)
        values = np.asarray(ready.table.values)[records == record]
        usual = features.extract(rest, at_rest, made.task)
        assert usual.names == tuple(ready.table.names[j] for j in brain)
        wanted = given.values[:, brain] - usual.values.mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(values[:, brain], wanted, atol=2e-4)
        np.testing.assert_array_equal(values[:, others], given.values[:, others])
        assert np.abs(usual.values.mean(axis=0)).max() > 0.5
        compared += 1
    assert compared == 3


# ------------------------------------------------------------------------------------------------ from windows to the report
@pytest.fixture(
    scope="module", params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def run(
    request: pytest.FixtureRequest, prepare: Callable[[str], Prepared], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Prepared, Path]:
    """Return what was prepared and the run folder that `biosig-mtl train` makes of it."""
    ready = prepare(request.param)
    out = tmp_path_factory.mktemp("runs") / request.param
    words = [word for override in TINY for word in ("--set", override)]
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", request.param, "--store", str(ready.stores), "--out", str(out), "--workers", "1", *words])
    assert stop.value.code == 0
    return ready, out


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_target_is_graded_beside_all_its_baselines(run: tuple[Prepared, Path]) -> None:
    ready, out = run
    scores = read_json(out / "scores.json")
    answers = ready.recipe.model["answers"]
    assert scores["audit"]["passed"]
    assert list(scores["targets"]) == list(answers)
    assert scores["n_windows"] == ready.case.windows
    assert scores["n_subjects"] == 4
    assert scores["protocol_guarantee"]["subject_independent"]
    assert {"subject", "trial"} <= set(scores["protocol_guarantee"]["disjoint"])
    # Where nobody knows when a trial was seen, a person's whole recording is looked at, and that is told.
    whole = ready.recipe.training["per_subject"] == "whole"
    assert scores["stamps"] == (["features scaled by each person's whole recording"] if whole else [])
    classes = {name for name, head in answers.items() if head["kind"] != "regression"}
    for name, figures in scores["targets"].items():
        wanted = {"balanced_accuracy", "macro_f1", "kappa", "confusion"} if name in classes else {"ccc", "rmse", "mae", "r"}
        assert wanted <= set(figures)
        assert figures["head" if name in classes else "unit"] == (answers[name]["kind"] if name in classes else "points")
        main = "balanced_accuracy" if name in classes else "ccc"
        assert len(figures[f"{main}_ci95"]) == 2
        assert main in figures["pooled"]
        assert figures["paired"]["best_baseline"] in scores["baselines"]
        assert "trial_level" in figures
        assert sum(figures.get("class_windows", {"all": ready.case.windows}).values()) == ready.case.windows
    assert set(wanted_baselines(classes, set(answers))) <= set(scores["baselines"])
    for name, row in scores["baselines"].items():
        assert set(row) == set(answers) or "unavailable" in row, name
        # Only where all were shown the same can the stimulus tell anything.
        assert ("unavailable" in row) == (name == "stimulus_mean" and ready.case.trials == 4)


def wanted_baselines(classes: set[str], answers: set[str]) -> list[str]:
    found = list(baselines.CLASSES) if classes else []
    return found + (list(baselines.NUMBERS) if answers - classes else [])


def test_what_the_run_shows_of_itself_is_about_its_own_inputs(run: tuple[Prepared, Path]) -> None:
    ready, out = run
    shown = read_json(out / "interpretation.json")
    families = ready.recipe.features["families"]
    modalities = {name.partition("_")[0] for name in families} | set(ready.recipe.features["tracks"])
    if len(modalities) > 1:
        assert set(shown["modalities"]["names"]) == modalities
        for target in ready.recipe.model["answers"]:
            removal = shown["modalities"]["removal"][target]
            assert set(removal) == modalities
            assert all(np.isfinite(value) for value in removal.values())
    assert ("electrodes" in shown) == ("eeg" in modalities)
    if "eeg" in modalities:
        assert shown["electrodes"]["names"] == list(ready.recipe.features["eeg"])
        bands = shown["electrodes"]["bands"]
        names = [name.split(".")[1] for name in ready.table.names if name.startswith("eeg_de.")]
        assert set(bands) == {f"{target}, {band}" for target in ready.recipe.model["answers"] for band in names}
        assert {len(one) for one in bands.values()} == {len(ready.recipe.features["eeg"])}
    never = {n for n, x in zip(ready.table.names, np.asarray(ready.table.values).T, strict=True) if not np.isfinite(x).any()}
    assert set(shown.get("reasons", {})) == never
    assert all("too short" in why for why in shown.get("reasons", {}).values())


def test_the_report_tells_of_every_target(run: tuple[Prepared, Path]) -> None:
    ready, out = run
    page = (out / "report.html").read_text(encoding="utf-8")
    assert str(recipe.load(ready.name).title) in page
    for target in ready.recipe.model["answers"]:
        assert target in page.lower()
    assert "mmHg" not in page
    assert report.verdict_lines(read_json(out / "scores.json"))


@pytest.mark.slow
def test_taking_a_waveform_away_is_warned_of(prepare: Callable[[str], Prepared], tmp_path: Path) -> None:
    root = prepare("deap_affect").root
    few = ["features.families=[eeg_de]", "features.tracks={}", "features.baseline=torcheeg", "model.use_waveform=false"]
    read = recipe.load("deap_affect", [*TINY, *few])
    folder = pipeline.prepare(read, root, tmp_path)
    result = experiment.run(read, [folder], tmp_path / "run")
    # Features alone are enough for an audit.
    assert result.audit_passed, result.content["audit"]
    assert [w for w in result.content["warnings"] if w.startswith(features.COMPATIBILITY_WARNING) and "14 more" in w]


# -------------------------------------------------------------------------------------------------------------- real data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "limit", "refused"),
    [
        ("dasps_affect", 48, {}),
        ("stress_predict", 4, {"S01": "no labels"}),
    ],
)
def test_real_people_go_all_the_way(data_root: Path, tmp_path: Path, name: str, limit: int, refused: dict[str, str]) -> None:
    read = recipe.load(name, [*TINY, f"data.limit={limit}"])
    folder = pipeline.prepare(read, data_root / "emotion" / read.data.dataset, tmp_path)
    rows = store.read_rejected(folder)
    assert not [reason for _, _, reason in rows if "unexpected" in reason]
    assert {r: refused[r] in reason for r, onset, reason in rows if onset == WHOLE} == dict.fromkeys(refused, True)
    table = store.read(folder)
    assert np.unique(table.subject).size == 4
    low, high = (0, 1) if read.task == "stress" else (1, 9)
    assert np.isfinite(table.targets).all()
    assert low == table.targets.min()
    assert table.targets.max() <= high
    scores = experiment.run(read, [folder], tmp_path / "run")
    assert scores.audit_passed, scores.content["audit"]
    assert set(scores.content["targets"]) == set(read.model["answers"])
    assert report.render(tmp_path / "run").is_file()
