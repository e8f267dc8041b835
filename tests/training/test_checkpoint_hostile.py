"""A model folder that a stranger made is refused in one line, quickly, and nothing outside of it is read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from biosig_mtl import models
from biosig_mtl.models.split_merge import SplitMergeSettings
from biosig_mtl.training import checkpoint, checkpoint_bounds
from biosig_mtl.training.batches import Scaler, spec_of
from biosig_mtl.training.checkpoint_bounds import Bounded, check_numbers, plain_name
from biosig_mtl.types import BiosigError, DataError, WindowTable


def small_table() -> WindowTable:
    rng = np.random.default_rng(0)
    index = pd.DataFrame({"subject": np.repeat([f"s{i:02d}" for i in range(10)], 4)})
    waveform = rng.normal(size=(40, 2, 64)).astype(np.float32)
    values = rng.normal(size=(40, 3)).astype(np.float32)
    targets = rng.normal(100, 10, (40, 2)).astype(np.float32)
    names = ("pulse.a", "hr.mean", "person.age")
    return WindowTable(index, values, names, waveform, ("ppg", "vpg"), 32.0, targets, ("sbp", "dbp"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = small_table()
    place = tmp_path_factory.mktemp("m")
    torch.manual_seed(0)
    model = models.build("split_merge", SplitMergeSettings(width=8), spec_of(table))
    checkpoint.save(place / "one", "split_merge", model, Scaler.fit(table, np.arange(40)))
    checkpoint.collect(place / "model", {"fold0": place / "one"}, {"name": "test"}, {})
    return place / "model"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "model"))


def change(content: Any, path: str, value: Any) -> Any:
    """Set a value in nested words by its path, ``a.b.0``; ``del`` removes it."""
    *way, last = path.split(".")
    here = content
    for word in way:
        here = here[int(word) if isinstance(here, list) else word]
    if value == "del":
        del here[last]
    else:
        here[int(last) if isinstance(here, list) else last] = value
    return content


BAD: list[tuple[str, Any]] = [
    ("members", []),
    ("members", "x"),
    ("members", None),
    ("members.fold0", 3),
    ("members.fold0.model", "no such network"),
    ("members.fold0.model", ["split_merge"]),
    ("members.fold0.model", "del"),
    ("members.fold0.settings", []),
    ("members.fold0.settings", {"no_such": 1}),
    ("members.fold0.settings.width", 10**12),
    ("members.fold0.settings.width", 40_000),
    ("members.fold0.settings.width", -8),
    ("members.fold0.settings.width", 1e999),
    ("members.fold0.settings.width", "8"),
    ("members.fold0.settings.width", [8]),
    ("members.fold0.sha256", 5),
    ("members.fold0.sha256", "del"),
    ("members.fold0.scaler", None),
    ("members.fold0.scaler.target_mean", "x"),
    ("members.fold0.scaler.target_mean", []),
    ("members.fold0.scaler.target_mean", [1.0] * 50),
    ("members.fold0.scaler.waveform_center", {"a": 1}),
    ("members.fold0.scaler.feature_scale", "del"),
    ("members.fold0.scaler.tracks", [1]),
    ("spec", None),
    ("spec", "del"),
    ("spec.samples", 10**15),
    ("spec.samples", "many"),
    ("spec.targets", 7),
    ("spec.features", "del"),
    ("spec.tracks", [{}]),
    ("spec.heads", [{"kind": "no such", "edges": []}]),
    ("recipe", 3),
    ("extra", "del"),
    ("versions", None),
    ("format", None),
]


@pytest.mark.parametrize(("path", "value"), BAD, ids=lambda v: str(v)[:30])
def test_words_that_cannot_be_are_refused_in_one_line(folder: Path, path: str, value: Any) -> None:
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(change(content, path, value)))
    with pytest.raises(BiosigError) as refused:
        checkpoint.load(folder, models.rebuild)
    assert "\n" not in str(refused.value)
    assert str(refused.value)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "a\\b", "a\nb"])
def test_a_name_that_leads_elsewhere_is_not_followed(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.loads((folder / "model.json").read_text())
    content["members"][name] = content["members"].pop("fold0")
    (folder / "model.json").write_text(json.dumps(content))
    shutil.copy(folder / "fold0.safetensors", folder.parent / "secret.safetensors")
    read: list[Path] = []
    real = checkpoint_bounds.read_whole

    def note(path: Path, *how: int) -> bytes:
        read.append(path)
        return real(path, *how)

    monkeypatch.setattr(checkpoint, "read_whole", note)
    with pytest.raises(DataError, match=r"model\.json: damaged"):
        checkpoint.load(folder, models.rebuild)
    assert read == [folder / "model.json"]


def test_depth_and_size_have_a_bound(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "model.json"
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="not readable as JSON"):
        checkpoint.load(folder, models.rebuild)
    path.write_text("[]")
    with pytest.raises(DataError, match="needs an object, got list"):
        checkpoint.load(folder, models.rebuild)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not readable as JSON"):
        checkpoint.load(folder, models.rebuild)
    path.write_text("{}")
    monkeypatch.setattr(checkpoint, "MOST_WORDS", 1)
    with pytest.raises(DataError, match="missing or not readable"):
        checkpoint.load(folder, models.rebuild)
    path.unlink()
    os.mkfifo(path)  # a pipe would keep a reader waiting for ever
    with pytest.raises(DataError, match="missing or not readable"):
        checkpoint.load(folder, models.rebuild)


def test_weights_are_only_weights(folder: Path) -> None:
    """A file of weights whose digest a stranger made to fit is refused where it is none."""
    import hashlib

    content = json.loads((folder / "model.json").read_text())
    for body in (b"", b"\x80\x04.", b"\xff" * 64, (2**40).to_bytes(8, "little") + b"{}"):
        (folder / "fold0.safetensors").write_bytes(body)
        content["members"]["fold0"]["sha256"] = hashlib.sha256(body).hexdigest()
        (folder / "model.json").write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"model\.json: damaged"):
            checkpoint.load(folder, models.rebuild)


def test_a_member_whose_words_are_damaged_is_not_collected(made: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(made.parent / "one", tmp_path / "one"))
    (place / "member.json").write_text("{}")
    with pytest.raises(DataError, match=r"member\.json: damaged"):
        checkpoint.collect(tmp_path / "model", {"fold0": place}, {}, {})


def test_building_stops_before_memory_is_taken() -> None:
    weights = {"a": torch.zeros(10)}
    with Bounded(weights), pytest.raises(ValueError, match="larger than its weights"):
        torch.nn.Linear(100_000, 100_000)
    with Bounded(weights), pytest.raises(ValueError, match="larger than its weights"):
        torch.arange(10**10)
    with Bounded(weights), pytest.raises(ValueError, match="larger than its weights"):
        torch.zeros(size=(10**6, 10**6))
    with Bounded(weights), pytest.raises(ValueError, match="larger than its weights"):
        [torch.empty(1) for _ in range(10**6)]
    with Bounded(weights):
        assert torch.zeros((2, 3)).sum() == 0
        assert len(torch.arange(0, 4)) == 4


def test_numbers_and_names_that_networks_have_pass() -> None:
    check_numbers({"a": [1, 2.5, {"b": 10**6}], "c": "x", "d": None, "e": True})
    with pytest.raises(ValueError, match="need numbers up to"):
        check_numbers({"a": [{"b": 10**9}]})
    assert plain_name("model-seed0-fold1.safetensors") == "model-seed0-fold1.safetensors"
