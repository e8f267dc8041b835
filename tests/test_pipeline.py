"""Laws of the way from recordings to a store: the same bytes however it is worked, and nothing lost without a word."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import pipeline, store
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.pipeline import preparing, working
from biosig_mtl.recipe import Recipe, load
from biosig_mtl.types import BiosigError, ChannelInfo, DataError, Label, RecipeError

CHANNELS = {
    "ppg": ChannelInfo("ppg", "ppg", "NU", 125.0),
    "ecg": ChannelInfo("ecg", "ecg", "mV", 125.0),
    "abp": ChannelInfo("abp", "abp", "mmHg", 125.0),
}
RUN = """
import sys
from pathlib import Path
from biosig_mtl import pipeline
from biosig_mtl.pipeline import preparing
from biosig_mtl.recipe import load
if __name__ == "__main__":
    preparing.LOT_RECORDS = 1
    print("ready", flush=True)
    print(pipeline.prepare(load("demo_bp"), Path(sys.argv[1]), Path(sys.argv[2]), workers=int(sys.argv[3])))
"""


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load("demo_bp")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(Cohort(n_subjects=3, records_per_subject=2, record_s=30, fault_share=0.5), tmp_path_factory.mktemp("d") / "c")


@pytest.fixture(scope="module")
def small_lots() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparing, "LOT_RECORDS", 1)
        yield


@pytest.fixture(scope="module")
def prepared(recipe: Recipe, cohort: Path, small_lots: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    del small_lots
    return pipeline.prepare(recipe, cohort, tmp_path_factory.mktemp("s"))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ----------------------------------------------------------------------------------------------------------- the same bytes
def test_two_workers_write_what_one_writes(recipe: Recipe, cohort: Path, prepared: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    folder = pipeline.prepare(recipe, cohort, tmp_path, workers=2, progress=lambda done, of: seen.append((done, of)))
    assert folder.name == prepared.name
    assert contents(folder) == contents(prepared)
    assert seen == [(i, 6) for i in range(1, 7)]
    assert store.verify(folder) == []


def test_a_second_prepare_touches_nothing(recipe: Recipe, cohort: Path, prepared: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in prepared.rglob("*")}
    seen: list[object] = []
    assert pipeline.prepare(recipe, cohort, prepared.parent, progress=lambda *now: seen.append(now)) == prepared
    assert {p: p.stat().st_mtime_ns for p in prepared.rglob("*")} == before
    assert seen == []


@pytest.mark.usefixtures("small_lots")
def test_a_copy_of_the_data_elsewhere_gives_the_same_store(
    recipe: Recipe, cohort: Path, prepared: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(cohort, tmp_path / "elsewhere"))
    folder = pipeline.prepare(recipe, moved, tmp_path / "s")
    assert folder.name == prepared.name
    assert contents(folder) == contents(prepared)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX")
def test_a_killed_run_that_is_run_again_gives_the_same_bytes(cohort: Path, prepared: Path, tmp_path: Path) -> None:
    def start() -> subprocess.Popen[str]:
        made = subprocess.Popen(
            [sys.executable, "-c", RUN, str(cohort), str(tmp_path), "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        assert made.stdout is not None
        assert made.stdout.readline() == "ready\n"
        return made

    folder = tmp_path / prepared.name
    rng = random.Random(1)
    for lots in (1, 3):
        process = start()
        until = time.monotonic() + 60
        while len(list(folder.glob("lots/*.json"))) < lots and process.poll() is None and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start()
    out, err = process.communicate(timeout=120)
    assert (out.strip(), err) == (str(folder), "")
    assert contents(folder) == contents(prepared)


@pytest.mark.usefixtures("small_lots")
def test_a_damaged_file_that_is_deleted_comes_back(recipe: Recipe, cohort: Path, prepared: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(prepared, tmp_path / prepared.name))
    for name in ("lots/00000.safetensors", "index.parquet", "rejected.csv", "store.json", "lots/00001.json"):
        (folder / name).unlink()
        assert pipeline.prepare(recipe, cohort, tmp_path) == folder
        assert contents(folder) == contents(prepared)


# ------------------------------------------------------------------------------------------------------ nothing without a word
def told(folder: Path) -> dict[str, set[str]]:
    rows: dict[str, set[str]] = {}
    for record, _, reason in store.read_rejected(folder):
        rows.setdefault(record, set()).add(reason)
    return rows


def every_record_is_accounted_for(folder: Path, expected: set[str]) -> None:
    summary = store.summary(folder)
    used = set(store.read(folder).index["record"]) if summary["windows"] else set()
    rows = told(folder)
    assert used | set(rows) == expected
    assert summary["records"] == len(expected)
    assert summary["records_used"] == len(used)
    assert summary["records_used"] + summary["records_rejected"] == summary["records"]


NAMES = {f"s{i:03d}_{k}" for i in (1, 2, 3) for k in (1, 2)}


def test_records_in_are_records_used_and_records_rejected(prepared: Path) -> None:
    every_record_is_accounted_for(prepared, NAMES)


def poison(root: Path, name: str, how: str) -> None:
    head, data = (root / name[:4] / f"{name}.{kind}" for kind in ("hea", "dat"))
    text = head.read_text()
    if how == "truncated":
        data.write_bytes(data.read_bytes()[: 6 * 125 * 3])
    elif how == "empty":
        data.write_bytes(b"")
    elif how == "no data":
        data.unlink()
    elif how == "no header":
        head.unlink()
    elif how == "garbage header":
        head.write_bytes(b"\x00\xff\xfe garbage\n" * 3)
    elif how == "wrong channel":
        head.write_text(text.replace("PLETH", "RESP"))
    elif how == "no reference":
        head.write_text(text.replace("ABP", "CVP"))


REASONS = {
    "truncated": "",
    "empty": "",
    "no data": "",
    "no header": "the file is missing",
    "garbage header": "",
    "wrong channel": "missing channel 'ppg'",
    "no reference": "missing channel 'abp'",
}


def test_poisoned_records_are_told_and_the_others_survive(recipe: Recipe, tmp_path: Path) -> None:
    root = write(Cohort(n_subjects=8, records_per_subject=1, record_s=30, fault_share=0), tmp_path / "c")
    poisoned = dict(zip([f"s{i:03d}_1" for i in range(1, 8)], REASONS, strict=True))
    for name, how in poisoned.items():
        poison(root, name, how)
    folder = pipeline.prepare(recipe, root, tmp_path / "s")
    every_record_is_accounted_for(folder, {*poisoned, "s008_1"})
    rows = told(folder)
    assert "s008_1" in set(store.read(folder).index["record"])
    for name, how in poisoned.items():
        text = " ".join(rows[name])
        assert REASONS[how] in text
        assert "unexpected" not in text, text
        assert str(tmp_path) not in text


@pytest.mark.usefixtures("small_lots")
def test_what_nobody_foresaw_refuses_the_record_and_not_the_run(
    recipe: Recipe, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = open_source

    def broken(entry: Any) -> Any:
        if entry.record == "s001_1":
            raise ZeroDivisionError(f"{entry.path}:\n no rate")
        return real(entry)

    monkeypatch.setattr(working, "open_source", broken)
    folder = pipeline.prepare(recipe, cohort, tmp_path)
    assert told(folder)["s001_1"] == {"unexpected ZeroDivisionError: s001/s001_1.hea: no rate"}
    every_record_is_accounted_for(folder, NAMES)


def test_records_that_the_recipe_leaves_out_are_counted(recipe: Recipe, cohort: Path, tmp_path: Path) -> None:
    out = replace(recipe, data=replace(recipe.data, exclude={"s001_1": "a test"}))
    folder = pipeline.prepare(out, cohort, tmp_path)
    assert told(folder)["s001_1"] == {"left out by the recipe: a test"}
    every_record_is_accounted_for(folder, NAMES)
    few = pipeline.prepare(replace(recipe, data=replace(recipe.data, limit=2)), cohort, tmp_path)
    assert {e["record"] for e in store.read_examples(few)} <= {"s001_1", "s001_2"}
    assert store.summary(few)["records"] == 2


def test_no_record_at_all_is_one_line(recipe: Recipe, cohort: Path, tmp_path: Path) -> None:
    everything = dict.fromkeys(NAMES, "no")
    with pytest.raises(DataError, match=r"no record of simulated_bp can be used; 6 refused: .*left out by the recipe: no"):
        pipeline.prepare(replace(recipe, data=replace(recipe.data, exclude=everything)), cohort, tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        pipeline.prepare(recipe, tmp_path / "nowhere", tmp_path)


# -------------------------------------------------------------------------------------------------------------------- pieces
@pytest.mark.parametrize(("piece_s", "most"), [(37.0, 1), (64.0, 3)])
def test_a_long_record_in_pieces_gives_what_the_whole_gives(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_s: float, most: int
) -> None:
    root = write(Cohort(n_subjects=7, records_per_subject=1, record_s=150, fault_share=0.9), tmp_path / "c")
    monkeypatch.setattr(preparing, "PIECE_S", 1e9)
    whole = pipeline.prepare(recipe, root, tmp_path / "whole")
    monkeypatch.setattr(preparing, "PIECE_S", piece_s)
    monkeypatch.setattr(preparing, "LOT_RECORDS", most)
    parts = pipeline.prepare(recipe, root, tmp_path / "parts")
    assert store.summary(parts)["lots"] == math.ceil((6 * math.ceil(150 / piece_s) + 1) / most)  # one is short
    assert sorted(store.read_rejected(parts)) == sorted(store.read_rejected(whole))
    a, b = store.read(whole), store.read(parts)
    order = np.argsort(b.index["record"], kind="stable")
    for column in ("record", "onset_s", "n_beats", "lag_samples"):
        assert a.index[column].tolist() == b.index[column][order].tolist()
    np.testing.assert_allclose(b.targets[order], a.targets, atol=1e-5)
    np.testing.assert_allclose(b.index["sqi"][order], a.index["sqi"], atol=1e-5)
    np.testing.assert_allclose(b.waveform[order], a.waveform, atol=1e-5)
    for j, name in enumerate(a.names):
        np.testing.assert_allclose(b.values[order, j], a.values[:, j], rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_pieces_of_a_source_meet_and_cover_it(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entry_for(cohort / "s001" / "s001_1.hea", {"ppg": ("PLETH",)})
    source = open_source(entry)
    (only,) = pipeline.pieces(source, entry)
    assert only.stop_s is None
    monkeypatch.setattr(preparing, "PIECE_S", 8.0)
    made = list(pipeline.pieces(source, entry))
    assert made[0].start_s == 0
    assert [p.stop_s for p in made[:-1]] == [p.start_s for p in made[1:]]
    assert (made[-1].stop_s or 0) >= source.duration_s


def test_a_recording_without_reference_gives_windows_without_targets(recipe: Recipe, cohort: Path) -> None:
    made = pipeline.preparation(recipe)
    entry = entry_for(cohort / "s001" / "s001_1.hea", {"ppg": ("PLETH",), "ecg": ("II",)})
    with pytest.raises(DataError, match="missing channel 'abp'"):
        pipeline.work_piece(made, pipeline.Piece(entry))
    with_abp = replace(entry, channels={**entry.channels, "abp": ("ABP",)})
    _, labelled, known = pipeline.work_piece(made, pipeline.Piece(with_abp))
    _, free, values = pipeline.work_piece(made.unlabelled(), pipeline.Piece(entry))
    assert np.isnan(free.targets).all()
    rows = np.isin(free.onset_s, labelled.onset_s)
    assert rows.sum() == len(labelled)
    np.testing.assert_allclose(values.values[rows], known.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values.waveform[rows], known.waveform, atol=1e-6)


# -------------------------------------------------------------------------------------------------------------------- recipes
def changed(recipe: Recipe, **blocks: Any) -> Recipe:
    return replace(recipe, **blocks)


def step(recipe: Recipe, number: int, **words: Any) -> Recipe:
    steps = [dict(s) for s in recipe.signal]
    steps[number] |= words
    return replace(recipe, signal=tuple(steps))


@pytest.mark.parametrize("name", ["demo_bp", "ppg_bp", "uci_bp", "mimic3_bp", "uci_to_mimic3_bp", "uci_bp_leak_demonstration"])
def test_every_shipped_recipe_passes_the_check(name: str) -> None:
    names, waveform = pipeline.check(load(name), CHANNELS)
    assert len(set(names)) == len(names) > 0
    assert waveform
    assert not any("abp" in n for n in (*names, *waveform))


REFERENCE_IN: dict[str, Callable[[Recipe], Recipe]] = {
    "waveform": lambda r: changed(r, features={**r.features, "waveform": ["ppg_8hz", "abp"]}),
    "pulse": lambda r: changed(r, features={**r.features, "pulse": "abp"}),
    "raw": lambda r: changed(r, features={**r.features, "raw": "abp"}),
    "ecg": lambda r: changed(r, features={**r.features, "ecg": "abp"}),
    "filtered": lambda r: step(r, 2, channel="abp"),
    "filtered twice": lambda r: step(step(r, 1, channel="abp"), 2, channel="ppg_8hz"),
    "in place": lambda r: changed(r, signal=(r.signal[0], {**r.signal[1], "channel": "abp", "name": "ppg"}, *r.signal[1:])),
}


@pytest.mark.parametrize("way", REFERENCE_IN)
def test_the_reference_cannot_reach_the_inputs(recipe: Recipe, cohort: Path, tmp_path: Path, way: str) -> None:
    trick = REFERENCE_IN[way](recipe)
    with pytest.raises(RecipeError, match="barred from the inputs") as error:
        pipeline.check(trick, CHANNELS)
    assert "\n" not in str(error.value)
    with pytest.raises(BiosigError, match=r"barred from the inputs|no window came through"):
        store.read(pipeline.prepare(trick, cohort, tmp_path))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda r: step(r, 0, step="resampel"), r"signal\[0\].*did you mean 'resample'"),
        (lambda r: step(r, 1, low_hz=9), r"signal\[1\] bandpass: need 0 < low_hz < high_hz"),
        (lambda r: step(r, 1, low=9), r"signal\[1\] bandpass.*'low'"),
        (lambda r: step(r, 1, high_hz=80), "80 Hz needs more than 160"),
        (lambda r: step(r, 1, channel="pgp"), "missing channel 'pgp'"),
        (lambda r: changed(r, task="bloodpressure"), "did you mean 'blood_pressure'"),
        (lambda r: changed(r, windows={**r.windows, "channels": ["ppg_9hz"]}), "'ppg_9hz' is not made by any step"),
        (lambda r: changed(r, windows={**r.windows, "reference": "art"}), "there is no channel 'art'"),
        (lambda r: changed(r, windows={**r.windows, "rules": {"min_beat": 1}}), "did you mean 'min_beats'"),
        (lambda r: changed(r, features={**r.features, "families": ["pulse_shap"]}), "did you mean 'pulse_shape'"),
        (lambda r: changed(r, features={**r.features, "waveforms": []}), "did you mean 'waveform'"),
    ],
)
def test_the_check_tells_what_is_wrong_without_data(recipe: Recipe, change: Callable[[Recipe], Recipe], expected: str) -> None:
    with pytest.raises(BiosigError, match=expected) as error:
        pipeline.check(change(recipe), CHANNELS)
    assert "\n" not in str(error.value)


def test_the_store_is_named_by_what_is_upstream_and_by_nothing_else(recipe: Recipe, cohort: Path, tmp_path: Path) -> None:
    def name(made: Recipe, root: Path = cohort) -> str:
        return pipeline.prepare(made, root, tmp_path).name

    few = replace(recipe, data=replace(recipe.data, limit=1))
    first = name(few)
    spelled_out = changed(few, windows={**few.windows, "max_flat": 0.2}, signal=tuple(dict(s) for s in few.signal))
    same = [
        changed(few, training={"lr": 1e-3}),
        changed(few, model={"name": "hard_sharing"}),
        changed(few, split={"folds": 3}),
        changed(few, name="other", title="other"),
        step(few, 0, fs_hz=125.0),
        spelled_out,
    ]
    assert {name(r) for r in same} == {first}
    other = [
        step(few, 1, low_hz=0.6),
        changed(few, windows={**few.windows, "stride_s": 4}),
        changed(few, windows={**few.windows, "rules": {"min_beats": 2}}),
        changed(few, features={**few.features, "waveform": ["ppg_8hz"]}),
        replace(recipe, data=replace(recipe.data, limit=2)),
    ]
    assert len({first, *map(name, other)}) == len(other) + 1


# ------------------------------------------------------------------------------------------- known limits of the conductor
def test_an_example_may_lack_one_target(recipe: Recipe, cohort: Path, tmp_path: Path) -> None:
    free = changed(recipe, windows={**recipe.windows, "label": "record"})
    entry = entry_for(cohort / "s001" / "s001_1.hea", {"ppg": ("PLETH",), "ecg": ("II",), "abp": ("ABP",)})
    half = replace(entry, labels=(Label("sbp", 120.0, "mmHg"),))
    store.write_plan(tmp_path, {})
    job = pipeline.Job(tmp_path, 0, (pipeline.Piece(half),), free.to_dict(), {}, cohort, examples=1)
    pipeline.work(job)
    store.finish(tmp_path, 1)
    (example,) = store.read_examples(tmp_path)
    assert example["y_true"]["sbp"] == 120.0


def test_a_store_is_not_reused_when_what_is_known_of_the_subjects_changes(recipe: Recipe, cohort: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(cohort, tmp_path / "c"))
    few = replace(recipe, data=replace(recipe.data, limit=1))
    first = pipeline.prepare(few, root, tmp_path / "s")
    index = (root / "records.csv").read_text().splitlines()
    row = index[1].split(",")
    row[index[0].split(",").index("age_years")] = "99"
    (root / "records.csv").write_text("\n".join([index[0], ",".join(row), *index[2:]]) + "\n")
    assert pipeline.prepare(few, root, tmp_path / "s") != first


def test_a_finished_store_is_found_again(recipe: Recipe, prepared: Path, tmp_path: Path) -> None:
    assert pipeline.find_store(recipe, prepared.parent, "simulated_bp") == prepared
    with pytest.raises(DataError, match="holds no finished store of simulated_bp for this recipe"):
        pipeline.find_store(step(recipe, 1, low_hz=0.6), prepared.parent, "simulated_bp")
    (shutil.copytree(prepared, tmp_path / "s" / prepared.name) / "store.json").unlink()
    with pytest.raises(DataError, match="run `biosig-mtl prepare`"):
        pipeline.find_store(recipe, tmp_path / "s", "simulated_bp")


def test_a_store_of_a_part_of_the_records_is_not_taken_for_the_whole(recipe: Recipe, cohort: Path, tmp_path: Path) -> None:
    parts = [replace(recipe, data=replace(recipe.data, limit=n)) for n in (1, 2, 3, None)]
    made = [pipeline.prepare(part, cohort, tmp_path) for part in parts]
    assert [pipeline.find_store(part, tmp_path, "simulated_bp") for part in parts] == made
