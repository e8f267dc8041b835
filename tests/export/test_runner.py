"""The folder that runs alone: nothing but onnxruntime, numpy and scipy, and the numbers of `predict`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import pipeline
from biosig_mtl import recipe as recipes
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.export import bare_recipe, run_alone
from biosig_mtl.export.exporting import Written
from biosig_mtl.export.runner import write_runner
from biosig_mtl.export.runtime import Exported
from biosig_mtl.inference import predict_file
from biosig_mtl.pipeline import upstream
from biosig_mtl.types import Channel, DataError, RecipeError, Record
from tests.export.conftest import Commanded

# What the folder must do without: a finder before all others refuses to look for them.
BLOCKED = ("torch", "pandas", "pydantic", "sklearn", "yaml", "wfdb", "mne", "pyarrow", "safetensors", "matplotlib", "typer")
ALONE = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import runpy
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def written(commanded: Commanded) -> Written:
    return commanded.written


@pytest.fixture(scope="module")
def folder(commanded: Commanded) -> Path:
    return commanded.folder


@pytest.fixture(scope="module")
def recording(commanded: Commanded) -> Path:
    entry = entry_for(commanded.recordings / "s001" / "s001_1.hea", {"ppg": ("PLETH",), "ecg": ("II",)})
    record = open_source(entry).read()
    samples = {name: channel.samples for name, channel in record.channels.items()}
    fs = record.channels["ppg"].fs
    path = commanded.run.parent / "rec.csv"
    pd.DataFrame({"time": np.arange(record.channels["ppg"].samples.size) / fs, **samples}).to_csv(path, index=False)
    return path


def predicted(commanded: Commanded, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Return what `predict` says, with the networks that are in the file."""
    from biosig_mtl.training import checkpoint

    load, names = checkpoint.load, Exported.load(commanded.written.model).networks

    def few(folder: Path, make: Any) -> Any:
        ensemble = load(folder, make)
        return replace(ensemble, members=tuple(m for m in ensemble.members if m.name in names))

    monkeypatch.setattr(checkpoint, "load", few)
    predict_file(commanded.run, recording, tmp_path / "p.csv")
    return pd.read_csv(tmp_path / "p.csv")


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found) == list(expected)
    assert len(found) == len(expected) >= 3
    numbers = [name for name in expected if name != "record"]
    # Tables of `predict` are rounded to four places.
    np.testing.assert_allclose(found[numbers], expected[numbers], atol=1.5e-4, rtol=0)


def test_alone_it_says_what_predict_says(
    commanded: Commanded, folder: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "alone.csv"
    words = [sys.executable, "-I", "-c", ALONE, str(folder), str(folder / "run.py"), str(recording), "--out", str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "windows" in done.stdout
    same(pd.read_csv(out), predicted(commanded, recording, tmp_path, monkeypatch))


def test_samples_without_a_heading(
    commanded: Commanded, folder: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.read_csv(recording)
    np.save(tmp_path / "rec.npy", frame[["ppg", "ecg"]].to_numpy(np.float32))
    out = tmp_path / "o.csv"
    words = [str(tmp_path / "rec.npy"), "--out", str(out), "--model", str(folder / "model.onnx"), "--fs", "125"]
    assert run_alone.main([*words, "--names", "ppg,ecg", "--person", "age_years=50"]) == 0
    assert run_alone.main([*words, "--names", "ppg,ecg"]) == 0
    found = pd.read_csv(out)
    same(found, predicted(commanded, recording, tmp_path, monkeypatch))


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["none.csv"], "cannot be read", 3),
        (["rec.csv", "--channel", "ppg"], "write it as NAME=VALUE", 2),
        (["rec.csv", "--person", "age=3"], "choose from age_years", 2),
        (["rec.csv", "--person", "age_years=old"], "not a number", 2),
        (["rec.csv", "--rest", "0:x"], "not a number", 2),
        (["rec.csv", "--model", "none.onnx"], "missing or not readable", 3),
        (["rec.csv", "--channel", "ecg=ecg"], "missing channel 'ppg', which this run needs; it has ecg", 3),
        (["uneven.csv"], "the time stamps are uneven", 3),
        (["still.csv"], "is not later than the first", 3),
        (["blind.csv"], "no time column", 3),
        (["empty.csv"], "needs a heading", 3),
        (["short.csv"], "no usable window", 3),
        (["one.npy", "--names", "a,b"], "--names for each channel", 3),
    ],
)
def test_what_is_wrong_is_one_line(
    folder: Path, recording: Path, tmp_path: Path, words: list[str], said: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(recording)
    frame.to_csv(tmp_path / "rec.csv", index=False)
    frame.assign(time=frame["time"] ** 1.2).to_csv(tmp_path / "uneven.csv", index=False)
    frame.assign(time=1.0).to_csv(tmp_path / "still.csv", index=False)
    frame.drop(columns="time").to_csv(tmp_path / "blind.csv", index=False)
    frame[:0].to_csv(tmp_path / "empty.csv", index=False)
    frame[:300].to_csv(tmp_path / "short.csv", index=False)
    np.save(tmp_path / "one.npy", frame["ppg"].to_numpy())
    given = [str(tmp_path / word) if word.endswith((".csv", ".npy")) or word == "none.onnx" else word for word in words]
    model = [] if "--model" in words else ["--model", str(folder / "model.onnx")]
    with_out = [*given, *model, "--out", str(tmp_path / "o.csv")]
    if "empty.csv" in words:
        with pytest.warns(UserWarning, match="Empty input file"):
            assert run_alone.main(with_out) == code
    else:
        assert run_alone.main(with_out) == code
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not (tmp_path / "o.csv").exists()


def test_the_folder_says_what_it_is(written: Written, folder: Path, tmp_path: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "pip install onnxruntime numpy scipy" in text
    assert "Research use only" in text
    assert "channels it needs: ppg, ecg" in text
    # As it is in the package.
    package = Path(upstream.__file__).parents[1]
    for name in ("pipeline/upstream.py", "signal/filters.py", "windows/cutting.py", "features/extraction.py"):
        assert (folder / "biosig_mtl" / name).read_bytes() == (package / name).read_bytes()
    # Again over itself, but never over something else.
    write_runner(written, folder)
    (tmp_path / "photo.jpg").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="holds something else; choose an empty folder"):
        write_runner(written, tmp_path)


@pytest.mark.parametrize("name", ["uci_bp", "ppg_bp", "mimic3_bp", "demo_bp", "demo_affect", "wesad_stress", "seed_valence"])
def test_settings_are_those_of_the_recipe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = recipes.load(name)
    expected = pipeline.preparation(read)
    told = json.loads(json.dumps(pipeline.resolved(read)))
    monkeypatch.setattr(upstream, "build", bare_recipe.build)
    monkeypatch.setattr(upstream, "choose", bare_recipe.choose)
    blocks: Any = SimpleNamespace(**told)
    assert pipeline.preparation(blocks) == expected


def test_nonsense_is_refused_without_pydantic_too() -> None:
    from biosig_mtl.windows import Windowing

    with pytest.raises(RecipeError, match="windows: need at least one channel"):
        bare_recipe.build(Windowing, {"length_s": 8, "channels": []}, "windows")
    with pytest.raises(RecipeError, match="windows: 'words'"):
        bare_recipe.build(Windowing, {"words": 8}, "windows")
    with pytest.raises(RecipeError, match="unknown task 'bp'; choose from a, b"):
        bare_recipe.choose("bp", {"b", "a"}, "task")
    assert bare_recipe.Recipe("affect", (), {}, {}).model == {}


def test_a_recording_without_a_modality_is_prepared_as_predict_does(recorded: Path) -> None:
    from biosig_mtl.inference import Predictor

    made = upstream.preparation(recipes.load("demo_affect")).unlabelled()
    tracks = Predictor.load(recorded).ensemble.spec
    eda = Channel("eda", "eda", "uS", 4.0, np.zeros(400, np.float32))
    record = Record("r", "r", "1", {"eda": eda})
    with pytest.raises(DataError, match="missing channel"):
        run_alone.fitted(made, tracks, record)
    several: Any = SimpleNamespace(tracks=("eeg", "eda"))
    doing, missed = run_alone.fitted(made, several, record)
    assert doing.cut_on == "eda" or "eda" in doing.windowing.channels
    assert "eda" not in missed
    assert missed
