"""Model folders: bitwise round trip, several members, and refusal of what was altered."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from biosig_mtl import models
from biosig_mtl.models.hard_sharing import HardSharingSettings
from biosig_mtl.models.split_merge import SplitMergeSettings
from biosig_mtl.training import checkpoint
from biosig_mtl.training.batches import Scaler, spec_of
from biosig_mtl.training.loop import predict
from biosig_mtl.training.prediction import as_network
from biosig_mtl.types import DataError, WindowTable

MakeTable = Callable[..., WindowTable]
RECIPE = {"name": "test", "model": {"name": "split_merge"}}


def saved(table: WindowTable, place: Path) -> list[tuple[nn.Module, Scaler]]:
    """Save three untrained members on different rows and collect them in ``place / model``."""
    parts, made = {}, []
    for i, rows in enumerate((np.arange(40), np.arange(20, 60), np.arange(40, 80))):
        torch.manual_seed(i)
        scaler = Scaler.fit(table, rows)
        model = models.build("split_merge", SplitMergeSettings(width=8, ordered=True), spec_of(table))
        as_network(model).answers.set_target_scale(torch.from_numpy(scaler.target_mean), torch.from_numpy(scaler.target_scale))
        parts[f"fold{i}"] = place / "parts" / str(i)
        checkpoint.save(parts[f"fold{i}"], "split_merge", model, scaler)
        made.append((model.eval(), scaler))
    checkpoint.collect(place / "model", parts, RECIPE, {"half_width": [3.5]})
    return made


def test_members_come_back_bit_by_bit(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table()
    made = saved(table, tmp_path)
    chance = torch.get_rng_state()
    loaded = checkpoint.load(tmp_path / "model", models.rebuild)
    assert torch.equal(torch.get_rng_state(), chance)
    assert loaded.recipe == RECIPE
    assert loaded.extra == {"half_width": [3.5]}
    assert loaded.spec == spec_of(table)
    assert loaded.versions["torch"] == torch.__version__
    rows = np.arange(80)
    for member, (model, scaler) in zip(loaded.members, made, strict=True):
        state = member.model.state_dict()
        assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
        assert np.array_equal(member.scaler.fitted_rows, scaler.fitted_rows)
        assert np.array_equal(predict(member.model, table, rows, member.scaler), predict(model, table, rows, scaler))
    expected = np.mean([predict(model, table, rows, scaler) for model, scaler in made], axis=0)
    assert np.array_equal(loaded.predict(table), expected)


def test_there_is_no_pickle_in_a_model_folder(make_table: MakeTable, tmp_path: Path) -> None:
    saved(make_table(), tmp_path)
    assert {p.suffix for p in (tmp_path / "model").iterdir()} == {".safetensors", ".json"}


def test_altered_and_missing_files_are_refused(make_table: MakeTable, tmp_path: Path) -> None:
    saved(make_table(), tmp_path)
    weights = tmp_path / "model" / "fold1.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DataError, match=r"fold1\.safetensors: was altered"):
        checkpoint.load(tmp_path / "model", models.rebuild)
    weights.unlink()
    with pytest.raises(DataError, match=r"fold1\.safetensors: missing"):
        checkpoint.load(tmp_path / "model", models.rebuild)


def test_words_that_do_not_fit_are_refused(make_table: MakeTable, tmp_path: Path) -> None:
    saved(make_table(), tmp_path)
    path = tmp_path / "model" / "model.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(DataError, match="format 99"):
        checkpoint.load(tmp_path / "model", models.rebuild)
    content["members"]["fold0"]["settings"]["width"] = 16
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="does not hold the weights"):
        checkpoint.load(tmp_path / "model", models.rebuild)
    path.write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        checkpoint.load(tmp_path / "model", models.rebuild)
    path.unlink()
    with pytest.raises(DataError, match=r"model\.json: missing or not readable"):
        checkpoint.load(tmp_path / "model", models.rebuild)


def test_networks_for_different_inputs_do_not_mix(make_table: MakeTable, tmp_path: Path) -> None:
    parts = {}
    for samples in (64, 32):
        table = make_table(samples=samples)
        parts[f"m{samples}"] = tmp_path / str(samples)
        model = models.build("hard_sharing", HardSharingSettings(width=8), spec_of(table))
        checkpoint.save(parts[f"m{samples}"], "hard_sharing", model, Scaler.fit(table, np.arange(80)))
    with pytest.raises(DataError, match="got 2 kinds of inputs"):
        checkpoint.collect(tmp_path / "model", parts, RECIPE, {})


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(checkpoint, "version", absent)
    assert checkpoint._versions()["torch"] == "not installed"
