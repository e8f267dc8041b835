"""Laws of fitted methods on disk: what is read is what was written, and whatever is wrong is told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.training.calibration import keeping
from biosig_mtl.training.calibration.keeping import Fitted, Keeping, Standard
from biosig_mtl.training.calibration.offset import Offset
from biosig_mtl.training.calibration.shrink import Shrink
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.types import DataError

HALF = np.array([12.5, np.nan])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "model" / "model.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    return path


def kept() -> Keeping:
    standard = Standard(("a", "b"), np.array([1.0, 2.0]), np.array([0.5, 0.0]))
    slopes = np.random.default_rng(0).normal(size=(2, 8))
    fitted = (
        Fitted("offset", 1, Offset(np.array([1.0, 0.25])), HALF),
        Fitted("shrink", 1, Shrink(slopes), HALF),
        Fitted("shrink", 3, Shrink(2 * slopes), HALF),
    )
    return Keeping(("sbp", "dbp"), standard, fitted, {1: "shrink", 3: "offset"})


def test_what_is_read_is_what_was_written_bit_by_bit(tmp_path: Path, model: Path) -> None:
    before = kept()
    keeping.save(tmp_path / "p", before, model)
    after = keeping.load(tmp_path / "p", model)
    assert (after.targets, after.standard.names, dict(after.chosen)) == (("sbp", "dbp"), ("a", "b"), {1: "shrink", 3: "offset"})
    for old, new in zip(before.fitted, after.fitted, strict=True):
        assert (old.method, old.count) == (new.method, new.count)
        np.testing.assert_array_equal(old.half_width, new.half_width)
        for name, x in old.calibrator.kept().numbers.items():
            np.testing.assert_array_equal(x, new.calibrator.kept().numbers[name])
    first = {p.name: p.read_bytes() for p in (tmp_path / "p").iterdir()}
    keeping.save(tmp_path / "p", after, model)
    assert {p.name: p.read_bytes() for p in (tmp_path / "p").iterdir()} == first


def test_a_method_is_found_for_as_many_readings_or_fewer() -> None:
    own = kept()
    found = {count: own.find("shrink", count) for count in (1, 2, 3, 9)}
    assert {count: one and one.count for count, one in found.items()} == {1: 1, 2: 1, 3: 3, 9: 3}
    later = Keeping(own.targets, own.standard, own.fitted[2:], {3: "shrink"})
    one = later.find("shrink", 1)
    assert one is not None
    assert one.count == 3
    assert own.find("last_split", 1) is None
    assert [own.best(count) for count in (1, 2, 3, 5)] == ["shrink", "shrink", "offset", "offset"]
    assert later.best(1) == "shrink"
    assert Keeping(own.targets, own.standard, ()).best(1) is None


def test_features_are_scaled_as_the_scaler_does() -> None:
    rng = np.random.default_rng(0)
    center, scale = rng.normal(size=3), np.array([1.5, 0.0, 0.2])
    scaler = Scaler(center, scale, np.zeros(0), np.ones(0), np.zeros(1), np.ones(1), np.zeros(1, int))
    raw = rng.normal(0, 3, (50, 3)).astype(np.float32)
    raw[::7, 0] = np.nan
    standard = Standard.of(("a", "b", "c"), scaler)
    np.testing.assert_allclose(standard.values(raw), scaler.values(raw)[0], atol=1e-6)


def test_whatever_is_wrong_is_told(tmp_path: Path, model: Path) -> None:
    place = tmp_path / "p"
    with pytest.raises(DataError, match="run calibrate for this run first"):
        keeping.load(place, model)
    keeping.save(place, kept(), model)
    words, numbers = place / keeping.WORDS_FILE, place / keeping.NUMBERS_FILE
    good, raw = words.read_text(), numbers.read_bytes()

    def told(**changes: object) -> None:
        words.write_text(json.dumps({**json.loads(good), **changes}))

    cases: list[tuple[dict[str, object], str]] = [
        ({"format": 9}, "has format 9"),
        ({"model_sha256": "0"}, "networks of another run"),
        ({"sha256": "0"}, "was altered"),
        ({"fitted": [{"method": "magic", "words": {}, "readings": 1, "half_width": []}]}, "method 'magic'"),
        ({"fitted": [{}]}, "not readable as fitted methods"),
        ({"chosen": 3}, "not readable as fitted methods"),
    ]
    for changes, message in cases:
        told(**changes)
        with pytest.raises(DataError, match=message):
            keeping.load(place, model)
    words.write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        keeping.load(place, model)
    words.write_text("[]")
    with pytest.raises(DataError, match="has format None"):
        keeping.load(place, model)
    words.write_text(good)
    numbers.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(DataError, match="was altered"):
        keeping.load(place, model)
    numbers.unlink()
    with pytest.raises(DataError, match="not readable as fitted methods"):
        keeping.load(place, model)
    model.unlink()
    with pytest.raises(DataError, match=r"model.json: missing or not readable: is .*run a run folder"):
        keeping.load(place, model)
