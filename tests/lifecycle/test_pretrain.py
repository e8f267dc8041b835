"""Folders of pre-training: what they hold, who may start from them, and what is taken."""

from __future__ import annotations

import inspect
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from biosig_mtl import cli, experiment, pipeline, report
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.experiment import answers, members, tables
from biosig_mtl.lifecycle import pretrain as pretraining
from biosig_mtl.lifecycle.pretrain import Pretrained, Start, finetune, keys_of, pretrain, start_from
from biosig_mtl.models import MODELS, build
from biosig_mtl.models.tokens import Tokens
from biosig_mtl.recipe import Recipe, load
from biosig_mtl.training import TrainingSettings, spec_of
from biosig_mtl.training.masking import MaskingSettings, token_makers
from biosig_mtl.types import DataError, Fold, InputSpec, TrackSpec
from tests.lifecycle.conftest import PLAIN, SEVERAL, TINY

FEW = MaskingSettings(epochs=1, batch_size=32)
WAVE = InputSpec(("ppg", "vpg"), 96, ("pulse.a", "pulse.b", "person.age"), ())
WORDS = (*TINY, "features.families=[perfusion, person]", "model.use_waveform=true", "split.negative_control=false")
runs_begin = pytest.mark.skipif(
    "begin" not in inspect.signature(experiment.run).parameters, reason="runs do not take a start yet"
)
folds_pretrain = pytest.mark.skipif(
    "pretrain" not in TrainingSettings.__dataclass_fields__, reason="training has no pre-training inside folds yet"
)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load("demo_bp", WORDS)


@pytest.fixture(scope="module")
def stores(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """Return the stores of two cohorts of other people under the same ids."""
    made = []
    for seed in (0, 1):
        cohort = Cohort(n_subjects=12, records_per_subject=1, record_s=30, fault_share=0.0, seed=seed)
        root = write(cohort, tmp_path_factory.mktemp("d") / "c")
        made.append([pipeline.prepare(recipe, root, tmp_path_factory.mktemp("s"))])
    return made[0], made[1]


@pytest.fixture(scope="module")
def folder(recipe: Recipe, stores: tuple[list[Path], list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("p") / "pre"
    pretrain(recipe, stores[0], out, FEW)
    return out


@pytest.fixture
def strangers(folder: Path, tmp_path: Path) -> Path:
    """Return the folder as if its people had other ids than everybody else."""
    place = tmp_path / "strangers"
    shutil.copytree(folder, place)
    told = json.loads((place / "pretrained.json").read_text(encoding="utf-8"))
    told["people"] = ["0" * 16]
    (place / "pretrained.json").write_text(json.dumps(told), encoding="utf-8")
    return place


def network(spec: InputSpec, name: str = "hard_sharing", seed: int = 0, **words: Any) -> torch.nn.Module:
    torch.manual_seed(seed)
    full = replace(spec, targets=spec.targets or ("sbp", "dbp"))
    return build(name, MODELS[name].settings(**{"width": 8, **words}), full)


def kept(model: torch.nn.Module, name: str = "pre", fs: float = 32.0) -> Pretrained:
    """Return a network's tokens as if they had been pre-trained."""
    maker = token_makers(model)[0]
    assert isinstance(maker, Tokens)
    state = {key: value.clone() for key, value in maker.state_dict().items()}
    none = np.empty((0, 16), np.uint64)
    return Pretrained(name, "0" * 64, state, maker.spec, fs, frozenset(), none, np.empty(0, np.int64))


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return token_makers(model)[0].state_dict()


# ------------------------------------------------------------------------------------------------------------- the folder
def test_the_folder_holds_numbers_and_words_and_no_id(
    recipe: Recipe, folder: Path, stores: tuple[list[Path], list[Path]]
) -> None:
    assert {path.name for path in folder.iterdir()} == {"weights.safetensors", "pretrained.json"}
    told = json.loads((folder / "pretrained.json").read_text(encoding="utf-8"))
    table = answers.table_of(recipe, stores[0])
    assert (told["windows"], len(told["people"]), told["simulated"]) == (len(table), 12, True)
    assert len(told["losses"]) == 1
    words = (folder / "pretrained.json").read_text(encoding="utf-8")
    assert not any(f'"{one}"' in words or f"/{one}" in words for one in np.unique(table.subject))
    assert "targets" not in told["spec"]


def test_the_same_seed_writes_the_same_bytes_whatever_the_labels(
    recipe: Recipe, stores: tuple[list[Path], list[Path]], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tables.read

    def unlabelled(folders: Any) -> Any:
        table = real(folders)
        return replace(table, targets=np.full_like(table.targets, np.nan))

    monkeypatch.setattr(tables, "read", unlabelled)
    pretrain(recipe, stores[0], tmp_path / "again", FEW)
    for name in ("weights.safetensors", "pretrained.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    pretrain(recipe, stores[0], tmp_path / "other", FEW, seed=1)
    assert (tmp_path / "other" / "weights.safetensors").read_bytes() != (folder / "weights.safetensors").read_bytes()


def test_the_test_side_of_a_transfer_is_not_read(
    recipe: Recipe, stores: tuple[list[Path], list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tables.read(stores[0])
    is_test = np.isin(table.subject, np.unique(table.subject)[:4])
    split = replace(table, index=table.index.assign(transfer_test=is_test))
    values = np.where(is_test[:, None], 3.0, table.values).astype(np.float32)
    made: list[str] = []
    for one in (split, replace(split, values=values)):
        monkeypatch.setattr(tables, "read", lambda _, one=one: one)
        told = pretrain(recipe, stores[0], tmp_path / str(len(made)), FEW)
        made.append(told["sha256"])
    assert made[0] == made[1]
    assert (told["windows"], len(told["people"])) == (int((~is_test).sum()), 8)


@pytest.mark.parametrize("harm", ["no words", "no weights", "not words", "weights", "newer", "other"])
def test_a_damaged_folder_is_refused(folder: Path, tmp_path: Path, harm: str) -> None:
    place = tmp_path / "pre"
    shutil.copytree(folder, place)
    words, weights = place / "pretrained.json", place / "weights.safetensors"
    if harm == "weights":
        content = weights.read_bytes()
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == "newer":
        words.write_text(words.read_text(encoding="utf-8").replace('"format": 1', '"format": 2'), encoding="utf-8")
    elif harm == "not words":
        words.write_text("{", encoding="utf-8")
    elif harm != "other":
        (words if harm == "no words" else weights).unlink()
    with pytest.raises(DataError, match=r"pre-train again|this version reads 1"):
        Pretrained.read(place, "f" * 64 if harm == "other" else "")


# ---------------------------------------------------------------------------------------------------------- what is taken
@pytest.mark.parametrize("spec", [PLAIN, SEVERAL])
@pytest.mark.parametrize("montage", [False, True])
@pytest.mark.parametrize("encoder", ["conv", "patch"])
def test_the_same_network_takes_everything(spec: InputSpec, encoder: str, *, montage: bool) -> None:
    old, new = (network(spec, seed=seed, montage=montage, encoder=encoder) for seed in (1, 2))
    said = start_from(new, kept(old), 32.0)
    assert len(said) == 1
    assert all(torch.equal(a, b) for a, b in zip(state(new).values(), state(old).values(), strict=True))


def test_channels_and_features_are_matched_by_name() -> None:
    old = network(WAVE, seed=1)
    spec = InputSpec(("ecg", "ppg"), 128, ("hr.mean", "pulse.b", "pulse.c"), ("sbp",))
    new, before = network(spec, seed=2), network(spec, seed=2)
    said = start_from(new, kept(old), 32.0)
    assert "waveform (ppg)" in said[0]
    assert "pulse (1 of 2)" in said[0]
    assert said[1].endswith(": hr")
    was, had, now = state(before), state(old), state(new)
    stem = "waveform.encoder.stem.0.weight"
    assert torch.equal(now[stem][:, 1], had[stem][:, 0])
    assert torch.equal(now[stem][:, 0], was[stem][:, 0])
    # Columns of a family's map: its values, then its missing flags.
    assert torch.equal(now["features.maps.1.weight"][:, [0, 2]], had["features.maps.0.weight"][:, [1, 3]])
    assert torch.equal(now["features.maps.1.weight"][:, [1, 3]], was["features.maps.1.weight"][:, [1, 3]])
    assert torch.equal(now["features.maps.0.weight"], was["features.maps.0.weight"])
    assert torch.equal(now["features.embedding"][1], had["features.embedding"][0])
    assert torch.equal(now["features.embedding"][0], was["features.embedding"][0])
    assert torch.equal(now["waveform.encoder.blocks.0.body.0.weight"], had["waveform.encoder.blocks.0.body.0.weight"])


def test_nothing_but_tokens_is_touched_and_every_task_gets_its_own() -> None:
    new, before = (network(PLAIN, "single_task", seed=2) for _ in range(2))
    start_from(new, kept(network(PLAIN, seed=1)), 32.0)
    first, second = (maker.state_dict() for maker in token_makers(new))
    assert all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))
    was, now = before.state_dict(), new.state_dict()
    moved = [name for name, value in was.items() if not torch.equal(value, now[name])]
    assert moved
    assert all(".tokens." in name for name in moved)


@pytest.mark.parametrize(
    ("words", "fs", "channels"),
    [({}, 64.0, ("ppg", "vpg")), ({"encoder": "patch"}, 32.0, ("ppg", "vpg")), ({"stride": 64}, 32.0, ("ppg", "vpg")),
     ({}, 32.0, ("ecg",)), ({"encoder": "montage"}, 32.0, ("ppg", "vpg"))],
)  # fmt: skip
def test_an_encoder_of_another_make_or_rate_is_left(words: dict[str, Any], fs: float, channels: tuple[str, ...]) -> None:
    spec = replace(WAVE, waveform_channels=channels)
    new, before = (network(spec, seed=2, **words) for _ in range(2))
    said = start_from(new, kept(network(WAVE, seed=1)), fs)
    assert "waveform" in said[1]
    same = [torch.equal(state(new)[k], v) for k, v in state(before).items() if k.startswith("waveform.")]
    assert all(same)


def test_patches_of_another_length_are_left() -> None:
    said = start_from(network(WAVE, encoder="patch", stride=16), kept(network(WAVE, encoder="patch", stride=32)), 32.0)
    assert "waveform" in said[1]


def test_an_eeg_of_other_electrodes_is_taken_at_its_rate() -> None:
    more = (TrackSpec("eeg", ("O1", "O2"), 128, 64.0), TrackSpec("eda", ("eda",), 80, 8.0), TrackSpec("bvp", ("bvp",), 80, 8.0))
    spec = InputSpec((), 0, ("eeg_de.alpha.O2", "eeg_de.alpha.Fz"), ("valence",), more)
    old, new = network(SEVERAL, seed=1, montage=True), network(spec, seed=2, montage=True)
    said = start_from(new, kept(old), 1.0)
    assert "taken: eeg, eeg_de" in said[0]
    assert said[1].endswith("eda (eda), bvp")
    assert torch.equal(state(new)["tracks.eeg.encoder.pool.out.weight"], state(old)["tracks.eeg.encoder.pool.out.weight"])
    other = replace(spec, features=("eeg_de.beta.O2", "eeg_de.beta.Fz"))
    assert "eeg_de" in start_from(network(other, montage=True), kept(old), 1.0)[1]
    none = replace(spec, features=(), tracks=more[1:])
    with pytest.raises(DataError, match="nothing of it fits"):
        start_from(network(none), kept(old), 1.0)


def test_networks_without_tokens_or_of_another_width_are_refused() -> None:
    with pytest.raises(DataError, match=r"width 8, the network has 16: --set model\.width=8"):
        start_from(network(PLAIN, width=16), kept(network(PLAIN)), 32.0)
    with pytest.raises(DataError, match="no tokens to start"):
        start_from(torch.nn.Linear(1, 1), kept(network(PLAIN)), 32.0)


# ----------------------------------------------------------------------------------------------------------- who may start
def test_people_that_were_seen_are_not_tested(recipe: Recipe, stores: tuple[list[Path], list[Path]], folder: Path) -> None:
    table = answers.table_of(recipe, stores[0])
    half = np.flatnonzero(np.isin(table.subject, np.unique(table.subject)[:6]))
    rest = np.setdiff1d(np.arange(len(table)), half)
    name, made, _ = members.settings(recipe)
    model = members.fresh(name, made, spec_of(table), 0)
    start = Start(folder, Pretrained.read(folder).sha256)
    with pytest.raises(DataError, match=r"has seen 6 of the people to be tested.*training\.pretrain\.epochs"):
        start(model, table, Fold(rest, rest, half))
    strange = replace(table, index=table.index.assign(dataset="elsewhere"))
    assert "the network starts from pre" in start(model, strange, Fold(rest, rest, half))[0]


def test_the_set_is_named_with_the_person_once(recipe: Recipe, stores: tuple[list[Path], list[Path]]) -> None:
    table = answers.table_of(recipe, stores[0])
    rows = np.arange(3)
    named = keys_of(table, rows)
    joined = replace(table, index=table.index.assign(subject=table.index["dataset"] + "/" + table.index["subject"]))
    assert all(one.startswith("simulated_bp/") for one in named)
    np.testing.assert_array_equal(keys_of(joined, rows), named)
    nameless = replace(table, index=table.index.drop(columns="dataset"))
    np.testing.assert_array_equal(keys_of(nameless, rows), table.subject[rows])


def test_a_run_on_people_that_were_seen_is_refused(
    recipe: Recipe, stores: tuple[list[Path], list[Path]], folder: Path, strangers: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="has seen 12 of the people"):
        finetune(recipe, stores[0], folder, tmp_path / "run")
    # The same waveforms under other ids.
    with pytest.raises(DataError, match="under other ids: tested/"):
        finetune(recipe, stores[0], strangers, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@runs_begin
def test_a_run_starts_from_the_folder(
    recipe: Recipe, stores: tuple[list[Path], list[Path]], strangers: Path, tmp_path: Path
) -> None:
    scores, said = finetune(recipe, stores[1], strangers, tmp_path / "run")
    assert scores.audit_passed
    assert "taken: " in said[0]
    assert any("the network starts from strangers" in one for one in scores.content["warnings"])
    digest = Pretrained.read(strangers).sha256[:12]
    assert f"start from strangers, {digest}" in (tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8")
    with pytest.raises(DataError, match="another recipe"):
        experiment.run(recipe, stores[1], tmp_path / "run")


@folds_pretrain
def test_inside_a_fold_the_tested_windows_change_nothing(
    stores: tuple[list[Path], list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load("demo_bp", (*WORDS, "training.pretrain.epochs=1"))
    table = answers.table_of(recipe, stores[0])
    people = np.unique(table.subject)
    test, rest = (np.flatnonzero(np.isin(table.subject, some)) for some in (people[:4], people[4:]))
    other = table.values.copy()
    other[test] += 5
    waveform = np.asarray(table.waveform[np.arange(len(table))]).copy()
    waveform[test] *= -3
    changed = replace(table, values=other, waveform=waveform)
    written = []
    for number, one in enumerate((table, changed)):
        monkeypatch.setattr(members, "table_for", lambda *_, one=one: one)
        fold = Fold(rest, rest[:0], test)
        job = members.Job(members.MODEL, fold, 0, 1, recipe.to_dict(), tuple(stores[0]), tmp_path / str(number))
        members.work(job)
        written.append((job.place / "model" / "weights.safetensors").read_bytes())
    assert written[0] == written[1]
    plain = members.Job(
        members.MODEL, Fold(rest, rest[:0], test), 0, 1, load("demo_bp", WORDS).to_dict(), tuple(stores[0]), tmp_path / "plain"
    )
    members.work(plain)
    assert (plain.place / "model" / "weights.safetensors").read_bytes() != written[0]


# -------------------------------------------------------------------------------------------------------- the command line
def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


@pytest.fixture
def _verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from biosig_mtl.cli import pretraining as verbs

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    verbs.register(app)
    monkeypatch.setattr(cli, "app", app)


@pytest.mark.usefixtures("_verbs")
def test_the_verb_pretrain(capsys: pytest.CaptureFixture[str], stores: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    changes = [word for setting in WORDS for word in ("--set", setting)]
    given = ["pretrain", "demo_bp", "--store", stores[0][0].parent, "--out", tmp_path / "pre", *changes]
    code, out, _ = called(capsys, *given, "--epochs", 1)
    assert code == 0
    assert "of 12 people without a label" in out
    assert Pretrained.read(tmp_path / "pre").spec.waveform_channels
    for wrong in ("half", "0.5,0.2", "0.1"):
        code, _, err = called(capsys, *given, "--keep", wrong)
        assert (code, err.count("\n")) == (2, 1)
        assert "write two shares with a comma" in err


@pytest.mark.usefixtures("_verbs")
def test_the_verb_finetune_refuses_whom_was_seen(
    capsys: pytest.CaptureFixture[str], stores: tuple[list[Path], list[Path]], folder: Path, tmp_path: Path
) -> None:
    changes = [word for setting in WORDS for word in ("--set", setting)]
    place = stores[0][0].parent
    code, _, err = called(capsys, "finetune", "demo_bp", "--from", folder, "--store", place, "--out", tmp_path / "r", *changes)
    assert code == DataError.exit_code
    assert "has seen 12 of the people" in err


@pytest.mark.parametrize("passed", [True, False])
@pytest.mark.usefixtures("_verbs")
def test_the_verb_finetune_tells_what_was_taken_and_what_came_of_it(
    capsys: pytest.CaptureFixture[str], stores: tuple[list[Path], list[Path]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, *, passed: bool,
) -> None:  # fmt: skip
    checks = [{"name": "leak", "passed": passed, "detail": "told"}]

    def run(_recipe: Recipe, given: list[Path], start: Path, out: Path, crew: experiment.Crew) -> Any:
        assert (given, start, out, crew.workers) == (stores[0], tmp_path / "pre", tmp_path / "r", 1)
        assert len(crew.facts) == 1
        return SimpleNamespace(audit_passed=passed, content={"audit": {"checks": checks}}), ("taken: pulse",)

    monkeypatch.setattr(pretraining, "finetune", run)
    monkeypatch.setattr(report, "render", lambda out: out / "report.html")
    monkeypatch.setattr(report, "verdict_lines", lambda _: ["as good as the median"])
    changes = [word for setting in WORDS for word in ("--set", setting)]
    words = ["--from", tmp_path / "pre", "--store", stores[0][0].parent, "--out", tmp_path / "r", "--workers", 1]
    code, said, err = called(capsys, "finetune", "demo_bp", *words, *changes)
    assert (code, "leak: told" in err) == ((0, False) if passed else (4, True))
    assert [line.partition(":")[0] for line in said.splitlines()] == ["taken", "report", "as good as the median"]
