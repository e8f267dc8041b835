"""Laws of joint training: what a joint table holds, whom its folds keep apart, and that it goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer

from biosig_mtl.cli import joint as verb
from biosig_mtl.cli.joint import _lines, _weights
from biosig_mtl.experiment import baseline_jobs, folder, joint_jobs, joint_page, members
from biosig_mtl.experiment import joint as conductor
from biosig_mtl.experiment.joint import ALONE, JOINT, MATCHED, JointTerms, joint, pairs_of
from biosig_mtl.experiment.joint_tables import JointTable, Part, join, joint_folds
from biosig_mtl.recipe import Recipe
from biosig_mtl.training import Scaler, TrainingData, TrainingSettings, fit, spec_of
from biosig_mtl.training.hooks import Hooks
from biosig_mtl.training.losses import Objective
from biosig_mtl.training.sampling import OneSetBatches, Sampling
from biosig_mtl.types import AuditError, DataError, Fold, Head, RecipeError, Track, WindowTable
from tests.experiment.affect import answering, memory_table, recipe, write_store

FEW = ("train_mean", "majority")
N = 8


# ------------------------------------------------------------------------------------------------------------ joint tables
def part(
    name: str, target: str, marks: int, tracks: dict[str, Track] | None = None, head: Head | None = None, **more: Any
) -> Part:
    """Return a set of four people with two windows each, and one target; ``marks`` seeds its fingerprints."""
    rng = np.random.default_rng(marks)
    values = rng.normal(size=(N, 2)).astype(np.float32)
    targets = rng.uniform(2, 8, (N, 1)).astype(np.float32)
    subjects = [f"p{i // 2}" for i in range(N)]
    made = memory_table(values, np.repeat(targets, 2, axis=1), subjects, names=("hr.mean", f"{name}.own"))
    index = made.index.assign(dataset=f"set_{name}", store_row=np.arange(N), **{f"only_{name}": 1})
    table = replace(
        made, index=index, targets=targets, target_names=(target,), heads=(head or Head(),), tracks=tracks or {}, **more
    )
    return Part(name, table, rng.integers(1, 2**63, (N, 4), dtype=np.uint64))


def wave(channels: Sequence[str], samples: int, fs: float = 10.0) -> Track:
    rng = np.random.default_rng(len(channels))
    return Track(tuple(channels), fs, rng.normal(size=(N, len(channels), samples)).astype(np.float32))


def test_what_a_set_lacks_is_unknown_and_what_it_has_stays() -> None:
    one, two = part("a", "valence", 1), part("b", "stress", 2, head=Head("binary", (5.0,)))
    made = join([one, two])
    assert made.table.names == ("hr.mean", "a.own", "b.own")
    assert made.table.target_names == ("valence", "stress")
    assert made.table.head == (Head(), Head("binary", (5.0,)))
    assert made.table.values[:N, :2].tolist() == one.table.values.tolist()
    assert np.isnan(made.table.values[:N, 2]).all()
    assert made.table.targets[N:, 1].tolist() == two.table.targets[:, 0].tolist()
    assert np.isnan(made.table.targets[N:, 0]).all()
    assert made.table.index["set"].tolist() == ["a"] * N + ["b"] * N
    assert not {"only_a", "only_b"} & set(made.table.index)
    assert made.notes == ()


def test_one_target_of_two_sets_is_one_target_and_needs_one_head() -> None:
    made = join([part("a", "valence", 1), part("b", "valence", 2)])
    assert made.table.target_names == ("valence",)
    assert np.isfinite(made.table.targets).all()
    with pytest.raises(RecipeError, match="target 'valence': a and b answer it by different heads"):
        join([part("a", "valence", 1), part("b", "valence", 2, head=Head("binary", (5.0,)))])


@pytest.mark.parametrize("names", [("a",), ("a", "a")])
def test_two_sets_of_different_names_are_needed(names: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="two or more recipes of different names"):
        join([part(name, "valence", i) for i, name in enumerate(names)])


def test_ids_are_prefixed_and_those_that_share_waveform_are_one_person() -> None:
    one, two = part("a", "valence", 1), part("b", "stress", 2)
    assert np.unique(join([one, two]).table.subject).size == 8
    marks = two.fingerprints.copy()
    marks[2:4] = one.fingerprints[:2]  # p1 of b is p0 of a
    made = join([one, replace(two, fingerprints=marks)])
    assert made.linked == (("set_a/p0", "set_b/p1"),)
    assert np.unique(made.table.subject).size == 7
    assert made.parts[1].table.subject[2] == "set_a/p0"


def test_one_data_set_in_two_recipes_has_one_set_of_people() -> None:
    one, two = part("a", "valence", 1), part("b", "stress", 2)
    same = replace(two, table=replace(two.table, index=two.table.index.assign(dataset="set_a")))
    assert np.unique(join([one, same]).table.subject).size == 4


def test_tracks_of_one_form_are_one_with_the_channels_of_both() -> None:
    left, right = wave(("F3", "F4"), 20), wave(("F4", "Cz", "O1"), 20)
    made = join([part("a", "valence", 1, {"eeg": left}), part("b", "stress", 2, {"eeg": right})]).table
    track = made.tracks["eeg"]
    assert track.channels == ("F3", "F4", "Cz", "O1")
    assert track.signal.shape == (2 * N, 4, 20)
    whole = np.asarray(track.signal)
    assert whole[:N, :2].tolist() == left.signal.tolist()
    assert whole[N:, 1:].tolist() == right.signal.tolist()
    assert np.isnan(whole[:N, 2:]).all()
    assert np.isnan(whole[N:, 0]).all()


def test_rows_are_read_as_from_an_array() -> None:
    made = join([part("a", "valence", 1, {"eda": wave(("eda",), 6)}), part("b", "stress", 2)]).table.tracks["eda"].signal
    whole = np.asarray(made)
    rng = np.random.default_rng(0)
    for rows in (rng.integers(0, 2 * N, 7), 3, slice(2, 12, 3), np.arange(2 * N) % 3 == 0):
        np.testing.assert_array_equal(made[rows], whole[rows])
    np.testing.assert_array_equal(made[np.arange(4), 0], whole[np.arange(4), 0])
    np.testing.assert_array_equal(made[5, 0], whole[5, 0])
    assert len(made) == 2 * N
    assert np.isnan(whole[N:]).all()


def test_tracks_of_two_forms_get_two_names_and_a_sentence() -> None:
    made = join([part("a", "valence", 1, {"ppg": wave(("ppg",), 20)}), part("b", "stress", 2, {"ppg": wave(("ppg",), 30)})])
    assert {name: track.signal.shape[2] for name, track in made.table.tracks.items()} == {"ppg": 20, "ppg2": 30}
    assert made.notes == (
        "b: its track 'ppg' (30 samples at 10 Hz) has another form than that of the sets before: it is 'ppg2'",
    )


def with_wave(name: str, target: str, seed: int, samples: int, **more: Any) -> Part:
    shape: dict[str, Any] = {
        "waveform": wave(("ppg_8hz", "vpg"), samples).signal,
        "waveform_channels": ("ppg_8hz", "vpg"),
        "fs": 10.0,
    }
    return part(name, target, seed, **shape, **more)


def test_a_waveform_stays_one_where_all_sets_have_it_and_is_a_track_elsewhere() -> None:
    same = join([with_wave("a", "valence", 1, 20), with_wave("b", "stress", 2, 20)]).table
    assert same.waveform.shape == (2 * N, 2, 20)
    assert not same.tracks
    other = join([with_wave("a", "valence", 1, 20), with_wave("b", "stress", 2, 30), part("c", "arousal", 3)]).table
    assert other.waveform.shape == (3 * N, 0, 0)
    assert list(other.tracks) == ["ppg", "ppg2"]


def test_a_waveform_does_not_replace_a_track_of_its_name() -> None:
    made = join([with_wave("a", "valence", 1, 20, tracks={"ppg": wave(("ppg_8hz",), 5)}), part("b", "stress", 2)])
    assert {name: t.signal.shape[1:] for name, t in made.table.tracks.items()} == {"ppg": (1, 5), "ppg2": (2, 20)}


def test_waveforms_of_references_are_left_out_with_a_sentence() -> None:
    made = join([part("a", "valence", 1, reference=wave(("abp",), 20)), part("b", "stress", 2)])
    assert made.table.reference is None
    assert made.notes == ("a: the waveform of the reference is left out",)


# ------------------------------------------------------------------------------------------------------------------- folds
def folds_of(table: WindowTable, many: int, seed: int = 0) -> list[Fold]:
    """Test person after person: person j is tested in fold j, the next one is stopped on."""
    row = np.arange(len(table))
    number = row // 2
    return [
        Fold(row[~np.isin(number, [j, (j + 1) % 4])], row[number == (j + 1) % 4], row[number == j], number=j, seed=seed)
        for j in range(many)
    ]


def linked_pair() -> JointTable:
    """Return two sets of which the first person of a is the third of b."""
    one, two = part("a", "valence", 1), part("b", "stress", 2)
    marks = two.fingerprints.copy()
    marks[4:6] = one.fingerprints[:2]
    return join([one, replace(two, fingerprints=marks)])


def test_nobody_is_in_two_parts_of_a_joint_fold_whatever_the_set() -> None:
    made = linked_pair()
    own = [folds_of(p.table, 4) for p in made.parts]
    for fold in joint_folds(made, own):
        people = [set(made.table.subject[rows]) for rows in (fold.train, fold.validation, fold.test)]
        assert sum(len(one) for one in people) == len(set.union(*people))
    first, second = joint_folds(made, own)[:2]
    # In fold 0 the person is tested in a, so b may not learn from him, as it would; in fold 1 b stops on him.
    assert own[1][0].train.tolist() == [4, 5, 6, 7]
    assert made.own(1, first.train).tolist() == [6, 7]
    assert made.own(0, first.test).tolist() == [0, 1]
    assert own[0][1].train.tolist() == [0, 1, 6, 7]
    assert made.own(0, second.train).tolist() == [6, 7]


def test_whoever_is_tested_in_one_set_is_not_stopped_on_in_another() -> None:
    made = linked_pair()
    row = np.arange(N)
    both = [Fold(row[4:], row[2:4], row[:2]), Fold(row[6:], row[2:6], row[:2])]
    fold = joint_folds(made, [[both[0]], [both[1]]])[0]
    assert made.own(1, fold.validation).tolist() == [2, 3]


def test_every_set_is_tested_in_its_own_folds_once() -> None:
    made = join([part("a", "valence", 1), part("b", "stress", 2)])
    own = [folds_of(made.parts[0].table, 4), folds_of(made.parts[1].table, 2)]
    folds = joint_folds(made, own)
    assert [made.own(1, fold.test).size for fold in folds] == [2, 2, 0, 0]
    assert [made.own(1, fold.train).tolist() for fold in folds] == [own[1][j % 2].train.tolist() for j in range(4)]
    assert np.sort(np.concatenate([made.own(0, fold.test) for fold in folds])).tolist() == list(range(N))
    assert made.own_fold(0, folds[1]).test.tolist() == own[0][1].test.tolist()


def test_a_fold_without_anybody_to_learn_from_is_refused() -> None:
    one, two = part("a", "valence", 1), part("b", "stress", 2)
    same = replace(two, table=replace(two.table, index=two.table.index.assign(dataset="set_a")))
    made = join([one, same])
    row = np.arange(N)
    left, right = Fold(row[:4], row[4:6], row[6:]), Fold(row[6:], row[4:6], row[:4])
    with pytest.raises(DataError, match="a: nobody is left to learn from in fold 0"):
        joint_folds(made, [[left], [right]])


# ----------------------------------------------------------------------------------------------------- what is learned from
def test_a_set_does_not_move_the_heads_of_targets_that_it_lacks() -> None:
    """The loss of a batch of one set has no gradient for the answers to what that set has no label of."""
    table = join([part("a", "valence", 1), part("b", "arousal", 2)]).table
    scaler = Scaler.fit(table, np.arange(2 * N))
    targets = torch.from_numpy(scaler.targets(table.targets))
    objective = Objective.fit(table.head, "huber", scaler.targets(table.targets), np.ones(2 * N, np.float32))
    said = torch.zeros(N, 2, requires_grad=True)
    objective(said, None, targets[:N], torch.ones(N))[0].sum().backward()  # type: ignore[no-untyped-call]
    assert said.grad is not None
    assert bool((said.grad[:, 0] != 0).any())
    assert bool((said.grad[:, 1] == 0).all())


# --------------------------------------------------------------------------------------------------------------- conductor
PAIRS = "[{given: valence, told: arousal, edges: {valence: [5]}, table: [[0.8, 0.2], [0.3, 0.7]]}]"


@dataclass(frozen=True)
class Made:
    recipes: tuple[Recipe, Recipe]
    stores: tuple[Path, Path]
    out: Path
    content: dict[str, Any]
    told: list[tuple[int, int]]


def two_recipes(*more: str) -> tuple[Recipe, Recipe]:
    shown = ("model.use_waveform=false", *more)
    first = recipe(answering("{}"), *shown)
    second = recipe("model.answers={arousal: {kind: binary, edges: [5]}}", *shown)
    return replace(first, name="calm"), replace(second, name="wild")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return stores of two sets; the person p5 is in both."""
    place = tmp_path_factory.mktemp("s")
    return write_store(place / "one", count=2), write_store(place / "two", people=range(5, 11), count=2, dataset="other_affect")


@pytest.fixture(scope="module")
def made(stores: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Made:
    out = tmp_path_factory.mktemp("j") / "out"
    recipes = two_recipes(f"training.cooccurrence={PAIRS}")
    told: list[tuple[int, int]] = []
    content = joint(recipes, stores, out, JointTerms(baselines=FEW), 1, lambda *one: told.append(one))
    return Made(recipes, stores, out, content, told)


def test_every_target_is_graded_on_its_own_set_beside_the_set_alone_and_baselines(made: Made) -> None:
    targets = {one["name"]: one["targets"] for one in made.content["sets"]}
    assert {name: list(told) for name, told in targets.items()} == {"calm": ["valence"], "wild": ["arousal"]}
    assert set(targets["calm"]["valence"]["errors"]) == {ALONE, JOINT, MATCHED, "train_mean"}
    assert set(targets["wild"]["arousal"]["errors"]) == {ALONE, JOINT, MATCHED, "majority"}
    assert set(targets["calm"]["valence"]["gains"]) == {JOINT, MATCHED}
    for told in (targets["calm"]["valence"], targets["wild"]["arousal"]):
        alone, other, gain = (told["errors"][ALONE]["value"], told["errors"][JOINT]["value"], told["gains"][JOINT])
        assert gain["value"] == pytest.approx(100 * (alone - other) / alone)
        assert gain["ci95"][0] <= gain["ci95"][1]
        assert told["errors"]["majority" if "majority" in told["errors"] else "train_mean"]["value"] > 0


def test_a_person_of_both_sets_is_found_and_the_audit_looks_across_sets(made: Made) -> None:
    assert made.content["people_in_several_sets"] == [["other_affect/p5", "simulated_affect/p5"]]
    checks = {check["name"]: check for check in made.content["audit"]["checks"]}
    assert {"calm: subject_overlap", "wild: predictions_complete", "all sets: subject_overlap"} <= set(checks)
    assert checks["all sets: subject_overlap"]["detail"].startswith("0 of 11 subjects")
    assert made.content["audit"]["passed"], [check for check in checks.values() if not check["passed"]]


def test_progress_counts_all_jobs(made: Made) -> None:
    jobs = 2 * 2 + 2 * 2 + 2 * 2  # two sets alone, two joint networks, a baseline for each set; two folds
    assert made.told == [(i, jobs) for i in range(1, jobs + 1)]


def test_pages_say_what_the_file_says(made: Made) -> None:
    assert json.loads((made.out / "joint.json").read_text(encoding="utf-8")) == made.content
    page = (made.out / "joint.md").read_text(encoding="utf-8")
    assert made.content["headline"] in page
    assert "1 pairs of ids of different sets share waveform" in page
    assert "| arousal | joint, matched |" in page
    assert len([line for line in _lines(made.content) if line.startswith(("calm valence", "wild arousal"))]) == 4


def test_a_joint_training_goes_on_from_what_is_there(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(job: Any) -> None:
        raise AssertionError(job)

    monkeypatch.setattr(conductor, "work", refuse)
    monkeypatch.setattr(baseline_jobs, "work", refuse)
    again = joint(made.recipes, made.stores, made.out, JointTerms(baselines=FEW))
    assert again == made.content


def test_other_terms_train_joint_networks_anew_and_only_those(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    def note(job: joint_jobs.JointJob) -> None:
        done.append(job.number)
        joint_jobs.work(job)

    monkeypatch.setattr(conductor, "work", note)
    recipes = two_recipes()
    content = joint(recipes, made.stores, made.out, JointTerms(baselines=FEW, sampling=Sampling(mixed=True)))
    assert done == [-1, -1]
    assert not any("epoch 0" in note for note in content["notes"])
    assert set(content["sets"][0]["targets"]["valence"]["gains"]) == {JOINT}


def test_the_page_says_where_the_pairs_cannot_have_done_anything(made: Made) -> None:
    """One epoch is trained here, in which the weight of the pairs is 0: both joint networks are the same."""
    assert made.content["best_epochs"][MATCHED] == [0, 0]
    assert any("2 of 2 networks were best in epoch 0" in note for note in made.content["notes"])
    told = made.content["sets"][0]["targets"]["valence"]["errors"]
    assert told[JOINT] == told[MATCHED]


def test_more_seeds_leave_what_the_first_one_trained(made: Made) -> None:
    def places(seeds: int) -> set[Path]:
        held = conductor._hold(made.recipes, made.stores, made.out, JointTerms(seeds))
        alone = [conductor._job(held, number, fold).place for number, fold in conductor._tested(held)]
        beside = [job.place for own in conductor._baseline_jobs(held) for job in own]
        found = [*alone, *(job.place for job in conductor._joint_jobs(held, ())), *beside]
        assert len(set(found)) == len(found)
        return set(found)

    assert places(1) < places(2)


def test_both_networks_of_a_fold_learn_from_the_same_windows_of_a_set(made: Made) -> None:
    found = {path.name.rpartition("-")[0]: json.loads((path / "result.json").read_text()) for path in _places(made.out)}
    whole = joint_jobs.read([conductor._cleared(r, made.recipes[0], JointTerms()) for r in made.recipes], made.stores)
    for number in (0, 1):
        own = np.array(found[f"set{number}-seed0-fold0"]["fitted_rows"])
        assert whole.own(number, np.array(found["joint-seed0-fold0"]["fitted_rows"])).tolist() == own.tolist()


def _places(out: Path) -> list[Path]:
    return sorted((out / "networks").iterdir())


def test_all_networks_have_the_settings_of_the_first_recipe(made: Made) -> None:
    one, two = made.recipes
    other = replace(two, model={**two.model, "width": 99, "kernel_landmarks": 7}, training={"ensemble": 4, "epochs": 77})
    cleared = conductor._cleared(other, one, JointTerms(seeds=2, folds=3))
    assert cleared.model["width"] == 8
    assert cleared.model["answers"] == two.model["answers"]
    assert "kernel_landmarks" not in cleared.model
    assert (cleared.training["epochs"], cleared.training["ensemble"]) == (1, 1)
    assert "cooccurrence" not in cleared.training
    assert (cleared.split["folds"], cleared.split["seeds"], cleared.split["scheme"]) == (3, (0, 1), "subject_kfold")


def test_a_split_that_is_not_by_people_is_refused(made: Made) -> None:
    odd = replace(made.recipes[1], split={"scheme": "trial_kfold"})
    with pytest.raises(RecipeError, match="wild: a joint training needs a split by people"):
        joint([made.recipes[0], odd], made.stores, made.out, JointTerms())


def test_pairs_are_read_strictly(made: Made) -> None:
    one = made.recipes[0]
    assert pairs_of(one)[0].edges == {"valence": (5.0,)}
    assert pairs_of(replace(one, training={})) == ()
    for told, said in (("stress", "need a list"), ([{"given": "a", "told": "a"}], "two targets")):
        with pytest.raises(RecipeError, match=said):
            pairs_of(replace(one, training={"cooccurrence": told}))


@pytest.mark.parametrize("words", [{"seeds": 0}, {"folds": 1}, {"baselines": ("guess",)}])
def test_odd_terms_are_refused(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        JointTerms(**words)


def test_the_verb_reads_recipes_finds_their_stores_and_tells(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from biosig_mtl import pipeline

    app = typer.Typer()
    verb.register(app)
    files = []
    for one in made.recipes:
        folder.write_recipe(tmp_path / one.name, one)
        files.append(str(tmp_path / one.name / "recipe.yaml"))
    given = dict(zip(("calm", "wild"), made.stores, strict=True))
    monkeypatch.setattr(pipeline, "find_store", lambda one, _into, _dataset: given[one.name])
    words = [*files, "--store", str(tmp_path), "--out", str(made.out), "--baselines", ",".join(FEW), "--workers", "1"]
    app(words, standalone_mode=False)
    assert made.content["headline"] in capsys.readouterr().out
    for more, said in (
        (["--set", "data.dataset=x"], "only model and training"),
        (["--alpha", "3"], "joint: need 0 <= alpha"),
        (["--weights", "calm=1"], "need one for each of calm, wild, got calm"),
    ):
        with pytest.raises(RecipeError, match=said):
            app([*words, *more], standalone_mode=False)
    broken = made.content | {"audit": {"passed": False, "checks": [{"name": "x", "passed": False, "detail": "why"}]}}
    monkeypatch.setattr(conductor, "joint", lambda *_: broken)
    with pytest.raises(AuditError, match="x: why"):
        app(words, standalone_mode=False)


def test_weights_are_read_strictly() -> None:
    assert _weights("a=1, b=0.5") == {"a": 1.0, "b": 0.5}
    assert _weights("") == {}
    with pytest.raises(RecipeError, match="NAME=NUMBER"):
        _weights("a:1")


def test_the_headline_counts_help_and_harm() -> None:
    def target(verdict: str) -> dict[str, Any]:
        return {"gains": {JOINT: {"verdict": verdict}}}

    made = {"sets": [{"name": "a", "targets": {"x": target("better"), "y": target("worse")}}]}
    assert joint_page.headline(made) == "joint: helps with 1 of 2 targets: x (a); it does harm to 1: y (a)."
    none = {"sets": [{"name": "a", "targets": {"x": target("not distinguishable")}}]}
    assert joint_page.headline(none).startswith("joint: helps with no target")


def test_verdicts_follow_the_interval() -> None:
    ends = {(1.0, 2.0): "better", (-2.0, -1.0): "worse", (-1.0, 1.0): "not distinguishable"}
    for ci95, verdict in ends.items():
        assert conductor._gain(0.0, ci95)["verdict"] == verdict
    unknown = conductor._gain(float("nan"), (float("nan"), float("nan")))
    assert unknown["verdict"] == "not distinguishable"


def test_a_network_of_many_sets_learns_through_the_loop() -> None:
    """One set has the label of one target, the other of the other: both are learned on windows of their own."""
    rng = np.random.default_rng(0)
    parts = []
    for number, (name, target) in enumerate((("a", "valence"), ("b", "arousal"))):
        values = rng.normal(size=(60, 2)).astype(np.float32)
        truth = (5 + 2 * values[:, number : number + 1]).astype(np.float32)
        made = memory_table(values, np.repeat(truth, 2, axis=1), [f"p{i // 4}" for i in range(60)], names=("hr.a", "hr.b"))
        table = replace(made, index=made.index.assign(dataset=name), targets=truth, target_names=(target,))
        parts.append(Part(name, table, rng.integers(1, 2**63, (60, 4), dtype=np.uint64)))
    whole = join(parts)
    row = np.arange(60)
    fold = joint_folds(whole, [[Fold(row[:40], row[40:48], row[48:])]] * 2)[0]
    scaler = Scaler.fit(whole.table, fold.train)
    model = members.fresh(*members.settings(small())[:2], spec_of(whole.table), 0)
    code = whole.code(fold.train)
    order = OneSetBatches(code, Sampling().shares(("a", "b"), np.bincount(code).tolist()))
    hooks = Hooks(order=order)
    settings = TrainingSettings(epochs=3, batch_size=16, lr=0.01, average=0.0)
    row_of = fit(model, TrainingData(whole.table, fold, scaler, hooks), settings, 0).history[-1]
    assert row_of["validation_valence"] < 0.3
    assert row_of["validation_arousal"] < 0.3


def small() -> Recipe:
    one = two_recipes()[0]
    return replace(one, model={"name": "hard_sharing", "width": 8, "use_waveform": False})
