"""Laws of the page to pan and zoom: what it holds is the recording, however long, and it loads nothing."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import cli, looking_browse
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.looking_browse import UNKNOWN, browse
from biosig_mtl.types import DataError, RecipeError


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cohort = Cohort(n_subjects=1, records_per_subject=1, record_s=200, fault_share=0)
    return next(write(cohort, tmp_path_factory.mktemp("d") / "c").rglob("*.hea"))


def content(page: str) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def values(channel: dict[str, Any]) -> np.ndarray:
    whole = numbers(channel["data"], "<i2")
    return np.where(whole == UNKNOWN, np.nan, channel["low"] + channel["step"] * whole.astype(np.float64))


def test_every_sample_is_there(recording: Path) -> None:
    held = content(browse(recording).html)
    record = open_source(entry_for(recording)).read()
    assert [c["name"] for c in held["channels"]] == list(record.channels)
    for one in held["channels"]:
        samples = record.channels[one["name"]].samples
        assert one["factor"] == 1
        np.testing.assert_array_equal(np.isnan(values(one)), np.isnan(samples))
        assert np.nanmax(abs(values(one) - samples)) <= 0.51 * one["step"] + 1e-6


def test_a_long_recording_is_drawn_by_least_and_largest_values(recording: Path) -> None:
    record = open_source(entry_for(recording)).read()
    for one in content(browse(recording, most=3000).html)["channels"]:
        samples, factor = record.channels[one["name"]].samples, one["factor"]
        assert factor > 1
        assert values(one).size <= 1100
        lower, upper = values(one).reshape(-1, 2).T
        for k in (0, 7, lower.size - 1):
            part = samples[k * factor : (k + 1) * factor]
            assert lower[k] == pytest.approx(part.min(), abs=2 * one["step"])
            assert upper[k] == pytest.approx(part.max(), abs=2 * one["step"])


def test_pieces_leave_no_seam(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = content(browse(recording).html)
    monkeypatch.setattr(looking_browse, "PIECE_S", 64.0)
    pieces = content(browse(recording).html)
    for one, other in zip(whole["channels"], pieces["channels"], strict=True):
        assert one["data"] == other["data"]
        assert one["beats"] == other["beats"]
        assert one["refused"] == other["refused"]
        np.testing.assert_allclose(numbers(one["quality"], "u1"), numbers(other["quality"], "u1"), atol=1)


def test_a_refused_stretch_over_a_seam_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time = np.arange(0, 60, 0.02)
    pulse = np.where((time > 15) & (time < 25), 1.0, np.sin(7 * time))
    path = tmp_path / "x.csv"
    path.write_text("time,ppg\n" + "".join(f"{t:.2f},{v:.4f}\n" for t, v in zip(time, pulse, strict=True)), encoding="utf-8")
    monkeypatch.setattr(looking_browse, "PIECE_S", 20.0)
    (channel,) = content(browse(path).html)["channels"]
    flat = [stretch for stretch in channel["refused"] if "flat" in stretch[2]]
    assert len(flat) == 1
    assert flat[0][0] < 20 < flat[0][1]


def test_gaps_stay_gaps_and_nothing_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "gap.csv"
    rows = [f"{t:.2f},{'' if 3 < t < 5 else t},\n" for t in np.arange(0, 9, 0.02)]
    path.write_text("time,eda,ppg\n" + "".join(rows), encoding="utf-8")
    eda, ppg = sorted(content(browse(path).html)["channels"], key=lambda one: one["name"])
    assert np.isnan(values(eda)).mean() == pytest.approx(2 / 9, abs=0.01)
    assert np.isnan(values(ppg)).all()
    assert eda["quality"] == eda["beats"] == ""


def test_a_name_cannot_leave_its_place(recording: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    entry = entry_for(recording)
    page = browse(type(entry)(**{**{f: getattr(entry, f) for f in entry.__slots__}, "record": evil}))
    assert evil not in page.html
    assert content(page.html)["title"] == evil
    frame = page._repr_html_()
    assert evil not in frame
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == page.html  # type: ignore[index]
    assert "default-src 'none'" in page.html


def test_the_command_writes_the_page(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "page.html"
    with pytest.raises(SystemExit) as left:
        cli.main(["look", str(recording), "--browse", "--out", str(out), "--recipe", "demo_bp"])
    assert left.value.code == 0
    assert str(out) in capsys.readouterr().out
    assert content(out.read_text(encoding="utf-8"))["length"] == pytest.approx(200, abs=1)


def test_wrong_words_are_told(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecipeError, match="1000 numbers"):
        browse(recording, most=5)
    page = browse(recording)
    with pytest.raises(RecipeError, match=r"written as \.html"):
        page.write(tmp_path / "x.png")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be written"):
        page.write(tmp_path / "file" / "x.html")
    with pytest.raises(SystemExit) as left:
        cli.main(["look", str(recording), "--browse", "--start", "3"])
    assert left.value.code == 2
    assert "--browse" in capsys.readouterr().err
    empty = tmp_path / "empty.csv"
    empty.write_text("time,ppg\n", encoding="utf-8")
    with pytest.raises(DataError):
        browse(empty)
