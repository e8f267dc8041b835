"""Nobody's name gets out of a recording: every format with words in every free text, and everything that is written of it."""

from __future__ import annotations

import base64
import io
import json
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from biosig_mtl import cli, store
from tests.privacy import broken, searching, seeded

# Ways to break a file by which words become names of files or columns: these are what a user and a file call a thing, and
# messages show them by design (docs/privacy.md).
BECOME_NAMES = {
    ("wfdb", "word in the head"),
    *((name, way) for name in ("csv", "tsv") for way in ("word in front", "words alone")),
    ("ppg_bp", "words alone"),
}
RECIPE: dict[str, Any] = {
    "name": "seeded",
    "title": "seeded",
    "task": "blood_pressure",
    "signal": [
        {"step": "resample", "fs_hz": 125},
        {"step": "bandpass", "channel": "ppg", "name": "ppg_12hz", "low_hz": 0.5, "high_hz": 12},
        {"step": "detect_beats", "channel": "ppg_12hz"},
        {"step": "assess_quality", "channel": "ppg_12hz", "raw": "ppg"},
    ],
    "windows": {"length_s": 2, "channels": ["ppg", "ppg_12hz"], "label": "record", "require_label": False, "min_sqi": 0},
    "features": {"families": ["rate", "person"], "waveform": ["ppg_12hz"]},
    "split": {"scheme": "subject_kfold", "folds": 2, "seeds": [0]},
    "model": {"name": "split_merge"},
    "training": {},
}


def call(*words: object) -> tuple[int, str]:
    """Run a verb; return its exit code and all that it said: output, errors, warnings, log."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)
    code: object = None
    with redirect_stdout(said), redirect_stderr(said), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            cli.main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
        finally:
            logging.getLogger().removeHandler(handler)
    assert isinstance(code, int)
    return code, "\n".join([said.getvalue(), *(str(w.message) for w in warned)])


def manifest(folder: Path, one: seeded.Seeded) -> Path:
    content: dict[str, Any] = {
        "name": "seeded",
        "title": "x",
        "version": "1",
        "licence": "x",
        "citation": "x",
        "access": {"kind": "simulated"},
        "format": one.form,
        "channels": {"ppg": {"names": ["PLETH", "PPG", "BVP"], "unit": "NU"}},
        "labels": {"sbp": "x", "dbp": "x"},
        "subject_level": "person",
        "timing_reliable": True,
        "timing_reason": "x",
    }
    if one.pattern:
        content["pattern"] = one.pattern
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def prepared(folder: Path, one: seeded.Seeded, out: Path) -> tuple[int, str]:
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE | {"data": {"dataset": str(manifest(folder, one))}}), encoding="utf-8")
    return call("prepare", recipe, "--data", one.path.parent, "--store", out, "--workers", "1")


def test_the_search_finds_a_word_however_it_is_written(tmp_path: Path) -> None:
    import gzip
    import zipfile

    word = "KanariPlanted"
    places: dict[str, bytes] = {form: b"\0\1x" + packed + b"y\0" for form, packed in searching.forms(word).items()}
    places["small.txt"] = word.lower().encode()
    places["page.html"] = b"<script>'" + base64.b64encode(gzip.compress(b".." + word.encode() * 9)) + b"'</script>"
    for name, content in places.items():
        (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", word * 5)
    pd.DataFrame({"who": [word]}).to_parquet(tmp_path / "a.parquet")
    _picture(tmp_path / "a.png", word)
    (tmp_path / f"{word}.dat").write_bytes(b"")
    told = "\n".join(searching.search(tmp_path, [word]))
    for name in [*places, "a.zip", "a.parquet", "a.png", f"{word}.dat"]:
        assert f"{name}: " in told, name
    assert searching.search(tmp_path, ["KanariNowhere"]) == []


def _picture(path: Path, word: str) -> None:
    from PIL import Image, PngImagePlugin

    about = PngImagePlugin.PngInfo()
    about.add_itxt("Author", word * 20, zip=True)
    Image.new("L", (4, 4)).save(path, pnginfo=about)


@pytest.mark.parametrize("name", list(seeded.MAKERS))
def test_every_word_is_in_the_recording(tmp_path: Path, name: str) -> None:
    # Else nothing below would prove anything.
    one = seeded.made(tmp_path, name)
    found = "\n".join(searching.search(one.path.parent, one.words))
    assert [word for word in one.words if word not in found] == []


@pytest.mark.parametrize("name", list(seeded.MAKERS))
def test_no_word_of_a_recording_gets_into_a_store_or_a_picture(tmp_path: Path, name: str) -> None:
    one = seeded.made(tmp_path / "in", name)
    out = tmp_path / "out"
    out.mkdir()
    said = [prepared(tmp_path / "in", one, out / "stores")]
    said.append(call("look", one.path, "--out", out / "look.png", "--start", "0", "--length", "2"))
    said.append(call("look", one.path, "--browse", "--out", out / "browse.html"))
    assert [code for code, _ in said] == [0, 0, 0], said
    (out / "said.txt").write_text("\n".join(text for _, text in said), encoding="utf-8")
    assert searching.search(out, seeded.everywhere(one)) == []
    (folder,) = (out / "stores").iterdir()
    table = store.read(folder)
    assert len(table) > 0
    _no_clock(folder)


def _no_clock(folder: Path) -> None:
    """No number of a store is so large that it could be a time since 1970, or a day."""
    frame = pd.read_parquet(folder / "index.parquet")
    numbers = frame.select_dtypes("number")
    assert float(np.nanmax(np.abs(numbers.to_numpy(np.float64)))) < 1e6
    told = json.loads((folder / "store.json").read_text(encoding="utf-8"))
    assert "date" not in json.dumps(told["about"])


@pytest.mark.parametrize("name", list(seeded.MAKERS))
def test_no_word_of_a_broken_recording_is_quoted(tmp_path: Path, name: str) -> None:
    one = seeded.made(tmp_path / "in", name)
    words = [*seeded.everywhere(one), broken.WORD]
    leaks = []
    for way in broken.variants(one.path):
        if (name, way) in BECOME_NAMES:
            continue
        out = tmp_path / way.replace(" ", "_")
        out.mkdir()
        said = call("look", one.path, "--out", out / "look.png", "--start", "0", "--length", "2")[1]
        (out / "said.txt").write_text(said, encoding="utf-8")
        leaks += [f"{way}: {line}" for line in searching.search(out, words)]
    assert leaks == []
